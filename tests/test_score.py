"""Scores against brute force, and the arithmetic of their totals."""

import itertools
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from examples import MODELS, classes_of, countable, draw_context, draw_symbols, ngram, rnn
from scoring import follow
from torch.distributions import Distribution

import seqgen.inference.score
from seqgen import Pipeline
from seqgen.codecs import Chars
from seqgen.inference.score import Total, score, score_symbols
from seqgen.inference.scorer import rows
from seqgen.model import Batch
from seqgen.outputs import Categorical, DiscretizedLogistics

TEXT = "abcabbaccabcbabcccaabc" * 15


def pipeline(end: bool = True) -> Pipeline:
    return Pipeline(rnn(Categorical(3 + end), layers=2).double(), Chars("abc", end=end))


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("behind", [0, 1])
def test_rows_of_a_batch(before: int, behind: int) -> None:
    """Each item behind the same symbols and before the same end, padded with zeros that the mask leaves out."""
    items = [[5, 6, 7], [8], [9, 10], [11, 12, 13, 14]] + [[]] * (before + behind > 0)
    symbols, counts = torch.tensor(list(itertools.chain(*items))), torch.tensor(list(map(len, items)))
    first, last = torch.arange(before) + 90, torch.arange(behind) + 80
    chosen = torch.tensor([2, 0, 3, *range(4, len(items))])
    x, mask = rows(symbols, (counts.cumsum(0) - counts)[chosen], counts[chosen], first, last)
    assert x.shape == mask.shape == (len(chosen), before + 4 + behind)
    for row, kept, item in zip(x, mask, [items[place] for place in chosen], strict=True):
        assert row[kept].tolist() == [*first.tolist(), *item, *last.tolist()]
        assert row[~kept].tolist() == [0] * int((~kept).sum())
        assert kept.tolist() == sorted(kept.tolist(), reverse=True)


@pytest.mark.parametrize("name", MODELS)
def test_columns_equal_brute_force(name: str) -> None:
    """log p of the symbol, how many symbols are likelier, and -sum p log p, one place at a time."""
    model, generator = MODELS[name](), torch.Generator().manual_seed(1)
    x, context = draw_symbols(model, 3, 6, generator), draw_context(model, 3, generator)
    parameters = model(x, context).detach()
    got = score_symbols(model.output, parameters, x)
    if not countable(model.output):
        assert got.ranks is got.entropies is None
        torch.testing.assert_close(got.log_probs, model.output(parameters.double()).log_prob(x), rtol=0, atol=1e-12)
        return
    for row, t in itertools.product(range(3), range(6)):
        distribution = model.output(parameters[row, t].double())
        log_probs = [distribution.log_prob(torch.tensor(k)).item() for k in range(classes_of(model.output))]
        mine = log_probs[x[row, t]]
        assert got.log_probs[row, t].item() == pytest.approx(mine, abs=1e-12)
        assert got.ranks[row, t].item() == 1 + sum(other > mine for other in log_probs)
        entropy = -sum(math.exp(other) * other for other in log_probs)
        assert got.entropies[row, t].item() == pytest.approx(entropy, abs=1e-12)
    assert got.log_probs.dtype == torch.float64


def test_classes_of_probability_zero_have_a_rank_and_leave_a_finite_entropy() -> None:
    logits = torch.tensor([[[0.0, -math.inf, 0.0, -1e4]]])
    got = score_symbols(Categorical(4), logits.expand(1, 4, -1), torch.arange(4).unsqueeze(0))
    assert got.ranks.tolist() == [[1, 4, 1, 3]]
    assert got.log_probs[0, 1] < -1e30
    torch.testing.assert_close(got.entropies, torch.full((1, 4), math.log(2), dtype=torch.float64))


def test_too_many_classes_have_no_ranks() -> None:
    output = DiscretizedLogistics(levels=65536, mixtures=2)
    got = score_symbols(output, torch.zeros(1, 3, output.size), torch.tensor([[0, 300, 65535]]))
    assert got.ranks is got.entropies is None
    assert got.log_probs.shape == (1, 3)


CUTS = [[], [1], [len(TEXT) - 1], [0, 0, 300, 300], list(range(0, len(TEXT), 7)), list(range(len(TEXT)))]


@pytest.mark.parametrize("chunk", [1, 2, 100, 1024])
@pytest.mark.parametrize("cuts", CUTS, ids=range(len(CUTS)))
def test_a_long_text_scores_the_same_in_pieces(chunk: int, cuts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pieces and the chunks, symbol by symbol and in total."""
    scorer = pipeline()
    expected = scorer.score(TEXT)
    monkeypatch.setattr(seqgen.inference.score, "CHUNK", chunk)
    pieces = [TEXT[a:b] for a, b in itertools.pairwise([0, *cuts, len(TEXT)])]
    parts = list(scorer.score_pieces(pieces))
    torch.testing.assert_close(torch.cat([part.log_probs for part in parts]), expected.log_probs, rtol=0, atol=1e-9)
    assert torch.cat([part.ranks for part in parts]).tolist() == expected.ranks.tolist()
    assert [name for part in parts for name in part.names] == expected.names
    assert [part.end_counted for part in parts] == [False] * (len(parts) - 1) + [True]
    total = sum((part.total for part in parts), Total())
    assert total.nats == pytest.approx(expected.total.nats, abs=1e-9)
    assert (total.symbols, total.units, total.unit) == (len(TEXT) + 1, len(TEXT), "character")
    again = scorer.score(TEXT)
    assert again.log_prob == pytest.approx(expected.log_prob, abs=1e-9)


def test_no_more_than_a_chunk_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = rnn(Categorical(3)), []
    advance = model.advance
    monkeypatch.setattr(model, "advance", lambda x, *rest: (seen.append(x.shape[1]), advance(x, *rest))[1])
    monkeypatch.setattr(seqgen.inference.score, "CHUNK", 10)
    follow(model, [torch.zeros(2, 25, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.int64)])
    assert seen == [10, 10, 5]


def test_pieces_are_read_as_they_are_scored() -> None:
    read = []

    def source() -> Iterator[str]:
        for place in range(5):
            read.append(place)
            yield "abc"

    parts = pipeline().score_pieces(source())
    next(parts)
    assert read == [0]


def test_a_table_scores_in_pieces_too(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Pipeline(ngram(Categorical(4), order=3), Chars("abc", end=True))
    monkeypatch.setattr(seqgen.inference.score, "CHUNK", 5)
    total = sum((part.total.nats for part in scorer.score_pieces(["ab", TEXT])), 0.0)
    monkeypatch.setattr(seqgen.inference.score, "CHUNK", 1024)
    assert total == pytest.approx(scorer.score("ab" + TEXT).total.nats, abs=1e-9)


def test_the_arithmetic_of_a_total() -> None:
    total = Total(nats=8 * math.log(2), symbols=4, units=2)
    assert total.bits == pytest.approx(8)
    assert total.nats_per_symbol == pytest.approx(2 * math.log(2))
    assert total.bits_per_symbol == pytest.approx(2)
    assert total.bits_per_unit == pytest.approx(4)
    assert total.perplexity == pytest.approx(4)
    assert total + Total(1.0, 2, 3) == Total(total.nats + 1, 6, 5)
    assert total.as_dict()["characters"] == 2
    assert total.as_dict()["bits_per_character"] == pytest.approx(4)
    assert Total(unit="sample").as_dict()["samples"] == 0


def test_a_total_of_nothing_and_one_that_overflows() -> None:
    nothing = Total()
    assert all(map(math.isnan, (nothing.nats_per_symbol, nothing.bits_per_symbol, nothing.bits_per_unit)))
    assert math.isnan(nothing.perplexity)
    assert {key for key, value in nothing.as_dict().items() if value is None} == {
        "nats_per_symbol",
        "bits_per_symbol",
        "bits_per_character",
        "nats_per_character",
        "perplexity",
    }
    assert Total(1e5, 1).perplexity == math.inf
    assert Total(1e5, 1).as_dict()["perplexity"] is None
    assert Total(709.5, 1).perplexity > 1e307


MEMORY = """
from pathlib import Path
import numpy as np, torch
from seqgen import Pipeline
from seqgen.codecs import Pixels
from seqgen.models import MADE
from seqgen.outputs import Categorical

model = MADE(Categorical(256), dimensions=784, hidden=[32], orders=0, masks=0)
pipeline = Pipeline(model, Pixels(28, 28, levels=256))
images = [np.random.default_rng(seed).integers(0, 256, (28, 28), np.uint8) for seed in range(24)]
assert len(pipeline.totals(images, orders=32)) == len(pipeline.score(images)) == 24
status = Path("/proc/self/status").read_text()  # the peak of this program; getrusage tells that of its parent, too
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_many_levels_and_orders_fit_into_memory() -> None:
    """Images of 28 x 28 pixels of 256 levels under 32 orders, in MB: all parameters at once would be 1.2 GB a copy."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1500


def test_an_impossible_symbol_behind_an_end_is_not_counted() -> None:
    """Masked log-probabilities of -inf are filled: times 0 they would be no numbers."""

    class Impossible(Distribution):
        has_enumerate_support = False

        def log_prob(self, x: torch.Tensor) -> torch.Tensor:
            return torch.where(x == 0, -1.0, -math.inf).double()

    class Certain(Categorical):
        def __call__(self, parameters: torch.Tensor, sampling: Any = None) -> Any:
            return Impossible(validate_args=False)

    model = rnn(Categorical(3))
    model.output = Certain(3)
    x, mask = torch.tensor([[0, 0, 2], [0, 0, 0]]), torch.tensor([[True, True, False], [True, True, True]])
    (scored,) = score(model, [Batch(x, mask, weight=torch.tensor([1.0, 0.0]))])
    assert scored.totals.tolist() == [-2, -3]
    assert scored.total(Chars("abc")).nats == 2
