"""The n-gram equals a slow dictionary of counts, smoothed by the formula of Witten & Bell."""

import math
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from seqgen.model import Batch, Carry, Context
from seqgen.models import NGram
from seqgen.outputs import Bernoulli, Categorical

K = 4
START = "^"


class Slow:
    """p_n(x | h) = (c(h x) + u(h) p_n-1(x | h')) / (c(h) + u(h)), one history at a time."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.counts: dict[tuple, Counter] = {}

    def count(self, text: Sequence[int], label: int = 0, weight: float = 1.0) -> None:
        for said in {0, label}:
            known = [START] * (self.order - 1) + list(text)
            for place in range(self.order - 1, len(known)):
                for n in range(self.order):
                    history = (said, *known[place - n : place])
                    self.counts.setdefault(history, Counter())[known[place]] += weight

    def prob(self, x: int, history: Sequence, label: int) -> float:
        seen = self.counts.get((label, *history), Counter())
        shorter = self.prob(x, history[1:], label) if history else 1 / K
        if not seen:
            return shorter
        return (seen[x] + len(seen) * shorter) / (seen.total() + len(seen))

    def rows(self, text: Sequence[int], label: int = 0) -> Tensor:
        known = [START] * (self.order - 1) + list(text)
        histories = [known[place : place + self.order - 1] for place in range(len(text))]
        return torch.tensor([[self.prob(x, h, label) for x in range(K)] for h in histories], dtype=torch.float64)


def texts(batch: int = 12, length: int = 9, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Symbols that are far from uniform, a mask of different lengths, labels 0 .. 2 and whole weights."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(batch, length, generator=generator) ** 2 * K).long()
    mask = torch.arange(length) < torch.randint(1, length + 1, (batch, 1), generator=generator)
    labels = torch.randint(3, (batch, 1), generator=generator)
    return x, mask, labels, torch.randint(1, 5, (batch,), generator=generator).double()


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_a_dictionary_of_counts(order: int, labelled: bool, weighted: bool) -> None:
    """Whatever the order, the weights and the labels, those of label "not said" and of unseen histories too."""
    model, slow = NGram(Categorical(K), [2] if labelled else [], order), Slow(order)
    x, mask, labels, weight = texts()
    weight = weight + 0.5 if weighted else None
    for half in (slice(5), slice(5, None)):
        context = Context(labels[half]) if labelled else None
        model.count(Batch(x[half], mask[half], context, None if weight is None else weight[half]))
    for row in range(len(x)):
        label = int(labels[row]) if labelled else 0
        slow.count(x[row][mask[row]].tolist(), label, 1.0 if weight is None else weight[row].item())
    test = torch.randint(K, (6, 12), generator=torch.Generator().manual_seed(3))
    for label in range(3 if labelled else 1):
        context = Context(torch.full((6, 1), label)) if labelled else None
        expected = torch.stack([slow.rows(one, label) for one in test.tolist()])
        torch.testing.assert_close(model(test, context).exp(), expected, rtol=1e-10, atol=1e-12)
        if not label:
            torch.testing.assert_close(model(test).exp(), expected, rtol=1e-10, atol=1e-12)


def test_two_labels_count_for_each_and_for_neither() -> None:
    """p(x | sex), p(x | year), p(x | both) and p(x) all come from one count; no sequence counts twice."""
    model = NGram(Categorical(K), [2, 2], order=1)
    x, labels = torch.tensor([[0], [1], [2], [3]]), torch.tensor([[1, 1], [1, 2], [2, 0], [0, 0]])
    model.count(Batch(x, torch.ones_like(x, dtype=torch.bool), Context(labels)))

    def likelihoods(*label: int) -> list[float]:
        return model(torch.zeros(1, 1, dtype=torch.int64), Context(torch.tensor([label])))[0, 0].exp().tolist()

    assert likelihoods(0, 0) == pytest.approx([0.25] * 4)
    assert likelihoods(1, 0) == pytest.approx([1.5 / 4, 1.5 / 4, 0.5 / 4, 0.5 / 4])
    assert likelihoods(1, 2) == pytest.approx([0.25 / 2, 1.25 / 2, 0.25 / 2, 0.25 / 2])
    assert likelihoods(2, 0) == pytest.approx([0.25 / 2, 0.25 / 2, 1.25 / 2, 0.25 / 2])
    assert likelihoods(2, 2) == pytest.approx([0.25] * 4)  # never seen: uniform


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("sizes", [[1] * 20, [3, 2, 15], [19, 1], [20]])
def test_windows_with_the_carry_count_the_same_as_the_whole(order: int, sizes: list[int]) -> None:
    """However a long text is cut, its n-grams across the cuts are counted, and none twice."""
    whole, cut = NGram(Categorical(K), order=order), NGram(Categorical(K), order=order)
    x = torch.randint(K, (3, 20), generator=torch.Generator().manual_seed(5))
    whole.count(Batch(x, torch.ones_like(x, dtype=torch.bool)))
    carry: Carry | None = None
    for window, piece in enumerate(x.split(sizes, 1)):
        cut.count(Batch(piece, torch.ones_like(piece, dtype=torch.bool), window=window), carry)
        _, carry = cut.advance(piece, carry)
    for name, table in whole.state_dict().items():
        assert torch.equal(cut.state_dict()[name], table), name


@pytest.mark.parametrize("labels", [[], [3]])
def test_many_symbols_and_a_high_order_stay_exact(labels: list[int]) -> None:
    """Codes are whole numbers of 64 bits; as float32 those beyond 2^24 would run into each other."""
    model = NGram(Categorical(1000), labels, order=5)
    x = torch.randint(1000, (1, 200), generator=torch.Generator().manual_seed(6))
    model.count(Batch(x, torch.ones_like(x, dtype=torch.bool)))
    assert all(model.get_buffer(f"codes_{n}").dtype == torch.int64 for n in range(1, 6))
    assert len(model.codes_5) == 200
    x[0, 100] = (x[0, 100] + 1) % 1000
    seen = model(x).exp()[0].gather(1, x[0].unsqueeze(1))[:, 0]
    assert (seen[:100] > 0.4).all()
    assert seen[100] < 0.01


def test_a_fresh_table_is_uniform_and_none_ever_gives_zero() -> None:
    fresh = NGram(Categorical(K))
    x = torch.zeros(1, 5, dtype=torch.int64)
    torch.testing.assert_close(fresh.log_prob(x), torch.full((1, 5), -math.log(K), dtype=torch.float64))
    fresh.count(Batch(x.expand(1000, -1), torch.ones(1000, 5, dtype=torch.bool)))
    assert fresh(torch.tensor([[0, 3, 3, 0, 0]])).isfinite().all()


@pytest.mark.parametrize("order", [0, -1, 1.5, True, "3", None])
def test_refuses_an_order(order: object) -> None:
    with pytest.raises(ValueError, match="order is"):
        NGram(Categorical(3), order=order)


def test_refuses_outputs_without_a_parameter_a_class() -> None:
    with pytest.raises(ValueError, match="output is Bernoulli, expected an output with one parameter for each class"):
        NGram(Bernoulli())


def test_refuses_more_n_grams_than_there_are_numbers() -> None:
    NGram(Categorical(255), order=7)
    with pytest.raises(ValueError, match="order is 8, expected fewer than 2\\^63 possible n-grams"):
        NGram(Categorical(255), order=8)


def damages() -> dict[str, dict[str, Tensor]]:
    codes, counts = torch.tensor([0, 5, 9]), torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    return {
        "unsorted": {"codes_2": codes.flip(0)},
        "twice the same": {"codes_2": torch.tensor([0, 5, 5])},
        "beyond the last n-gram": {"codes_2": torch.tensor([0, 5, (K + 1) ** 2])},
        "negative code": {"codes_2": torch.tensor([-1, 5, 9])},
        "fractions": {"codes_2": codes.float()},
        "shorter": {"codes_2": codes[:2]},
        "matrix": {"codes_2": codes.unsqueeze(0), "counts_2": counts.unsqueeze(0)},
        "negative count": {"counts_2": -counts},
        "NaN": {"counts_2": counts * math.nan},
        "infinity": {"counts_2": counts / 0},
        "complex": {"counts_2": counts.cfloat()},
        "text of another order": {"codes_3": codes},
    }


@pytest.mark.parametrize("damage", damages())
def test_damaged_tables_are_refused(damage: str) -> None:
    model = NGram(Categorical(K), order=2)
    x, mask, *_ = texts()
    model.count(Batch(x, mask))
    good = {**model.state_dict(), "codes_2": torch.tensor([0, 5, 9]), "counts_2": torch.ones(3, dtype=torch.float64)}
    NGram(Categorical(K), order=2).load_state_dict(good)
    with pytest.raises(RuntimeError, match="loading state_dict for NGram"):
        NGram(Categorical(K), order=2).load_state_dict({**good, **damages()[damage]})


@pytest.mark.parametrize("name", ["codes_1", "counts_2"])
def test_a_missing_table_is_refused(name: str) -> None:
    tables = NGram(Categorical(K), order=2).state_dict()
    del tables[name]
    with pytest.raises(RuntimeError, match=name):
        NGram(Categorical(K), order=2).load_state_dict(tables)
