"""Orders of the variables: densities of all of a small space, mixtures over orders, completion, training."""

import functools
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import fvsbn, made, nade
from PIL import Image
from scoring import ensemble
from torch import Tensor

from seqgen.codecs import Chars, Pixels, Table
from seqgen.inference.generate import draw_noise, sample
from seqgen.model import Context, Model, Order, arranged
from seqgen.models import NADE, PixelCNN
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians
from seqgen.pipeline import Pipeline

relu = functools.partial(nade, activation="relu", scaled=True, hidden=9)
KINDS = {
    "FVSBN": functools.partial(fvsbn, orders=0),
    "NADE": functools.partial(nade, orders=0),
    "RNADE": functools.partial(relu, orders=0),
    "MADE": functools.partial(made, orders=0, masks=0),
    "MADE-orders": functools.partial(made, orders=3, masks=1),
    "MADE-masks": functools.partial(made, orders=1, masks=5, direct=True),
    "MADE-deep": functools.partial(made, orders=0, masks=0, hidden=[30, 30], order="random"),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def exact(model: Model) -> Model:
    return model.double().requires_grad_(False)


def everything(classes: int, dimensions: int) -> Tensor:
    """All vectors (K^D, D)."""
    return torch.tensor(list(itertools.product(range(classes), repeat=dimensions)))


@every_kind
@pytest.mark.parametrize(
    ("output", "classes", "dimensions"),
    [
        (Bernoulli(), 2, 7),
        (Categorical(3), 3, 4),
        (Categorical(4), 4, 3),
        (DiscretizedLogistics(levels=4, mixtures=2), 4, 3),
        (Categorical(3), 3, 1),
    ],
)
def test_all_vectors_have_probability_one(kind: Any, output: Any, classes: int, dimensions: int) -> None:
    """In each of several factorisations, and in the mixture of them; labels said or not."""
    model, x = exact(kind(output, dimensions=dimensions, labels=[2])), everything(classes, dimensions)
    for label in (0, 2):
        said = Context(torch.full((len(x), 1), label))
        for number in range(5):
            y, context = arranged(x, said, model.order_number(number))
            assert abs(model.log_prob(y, context).sum(1).exp().sum().item() - 1) < 1e-10
        for orders in (1, model.orders or 4):
            assert abs(ensemble(model, x, said, orders).exp().sum().item() - 1) < 1e-10


@every_kind
@pytest.mark.parametrize("output", [Gaussians(), Gaussians(3)])
def test_densities_of_two_numbers_integrate_to_one(kind: Any, output: Any) -> None:
    """Over the plane, in each order; and over the line for the first."""
    model = exact(kind(output, dimensions=2))
    for parameter in model.parameters():
        parameter.mul_(0.5)  # tails within the plane
    line, step = torch.linspace(-14, 14, 281, dtype=torch.float64), 28 / 280
    plane = torch.cartesian_prod(line, line)
    for number in range(3):
        y, context = arranged(plane, None, model.order_number(number))
        log_probs = model.log_prob(y, context)
        assert abs(log_probs.sum(1).exp().sum().item() * step**2 - 1) < 1e-6
        y, context = arranged(torch.zeros(len(line), 2).double(), None, model.order_number(number))
        y[:, 0] = line
        assert abs(model.log_prob(y, context)[:, 0].exp().sum().item() * step - 1) < 1e-6


@every_kind
def test_conditionals_depend_on_what_comes_before_in_the_order(kind: Any) -> None:
    """In an item's own places: changing variable i changes the conditional of j if and only if i comes before j."""
    model = exact(kind(Categorical(3), dimensions=6))
    x = torch.randint(3, (40, 6), generator=torch.Generator().manual_seed(1))
    for number in range(4):
        order = model.order_number(number)
        before = order.ranks.unsqueeze(0) < order.ranks.unsqueeze(1)  # [j, i]: i comes before j
        rows = model(*arranged(x, None, order))[:, order.ranks]
        for variable in range(6):
            changed = x.clone()
            changed[:, variable] = (x[:, variable] + 1) % 3
            moved = (model(*arranged(changed, None, order))[:, order.ranks] != rows).any(-1).any(0)
            assert torch.equal(moved, before[:, variable])


def test_a_mixture_averages_probabilities() -> None:
    """An average of logits lets every variable see every other, and its "probabilities" sum to more than 1."""
    model, x, steep = exact(fvsbn(Bernoulli(), dimensions=2, orders=0)), everything(2, 2), 20.0
    with torch.no_grad():  # the second of either order copies the first
        model.weight.fill_(2 * steep)
        model.bias.fill_(-steep)
    orders = [Order(torch.tensor([0, 1])), Order(torch.tensor([1, 0]))]
    model.order_number = orders.__getitem__
    each = torch.stack([model.log_prob(*arranged(x, None, order)).sum(1) for order in orders])
    averaged = ensemble(model, x, None, 2)
    torch.testing.assert_close(averaged, each.exp().mean(0).log(), rtol=0, atol=1e-12)
    assert averaged.exp().sum().item() == pytest.approx(1)
    rows = [model(*arranged(x, None, order))[:, order.ranks] for order in orders]
    leaking = Bernoulli()(torch.stack(rows).mean(0)).log_prob(x).sum(1)
    assert leaking.exp().sum() > 1.2


def test_a_mixture_has_no_more_orders_than_the_model_was_made_for() -> None:
    x = everything(2, 3)
    for arguments, most in (
        ({}, 1),
        ({"orders": 3}, 3),
        ({"masks": 4}, 4),
        ({"masks": 4, "orders": 2}, 4),
        ({"masks": 3, "orders": 2}, 6),
    ):
        model = made(Bernoulli(), dimensions=3, **arguments)
        ensemble(model, x, None, most)
        for orders in (0, most + 1):
            with pytest.raises(ValueError, match=f"orders is {orders}, expected 1 to {most}"):
                ensemble(model, x, None, orders)
    ensemble(made(Bernoulli(), dimensions=3, masks=0), x, None, 50)


@pytest.mark.parametrize(("orders", "masks", "count"), [(2, 3, 6), (3, 2, 6), (4, 6, 12), (2, 4, 4), (3, 3, 3)])
def test_made_has_as_many_factorisations_as_the_least_common_multiple(orders: int, masks: int, count: int) -> None:
    """All of them differ, the next one is the first again, and their ensemble is the mixture of all."""
    model, x = exact(made(Bernoulli(), dimensions=7, hidden=[30], orders=orders, masks=masks)), everything(2, 7)
    assert model.orders == count
    factorisations = [model.order_number(number) for number in range(count)]
    structures = {
        (*order.permutation.tolist(), *model.degrees(order.connectivity)[0].tolist()) for order in factorisations
    }
    assert len(structures) == count
    each = torch.stack([model.log_prob(*arranged(x, None, order)).sum(1) for order in factorisations])
    assert all((one - other).abs().max() > 1e-3 for one, other in itertools.combinations(each, 2))
    again = model.order_number(count)
    assert torch.equal(again.permutation, factorisations[0].permutation)
    assert again.connectivity == factorisations[0].connectivity
    averaged = ensemble(model, x, None, count)
    torch.testing.assert_close(averaged, each.exp().mean(0).log(), rtol=0, atol=1e-12)
    assert abs(averaged.exp().sum().item() - 1) < 1e-10


def test_orders_are_those_of_their_numbers() -> None:
    """The same in every process; the first is natural unless it is to be random; a count repeats."""
    model = nade(Bernoulli(), dimensions=6, orders=0)
    assert model.order_number(0).natural
    assert model.order_number(1).permutation.tolist() == [1, 4, 0, 3, 2, 5]
    assert not torch.equal(model.order_number(2).permutation, model.order_number(3).permutation)
    three = nade(Bernoulli(), dimensions=6, orders=3, order="random")
    assert not three.order_number(0).natural
    assert torch.equal(three.order_number(4).permutation, three.order_number(1).permutation)
    assert made(Bernoulli(), masks=5).order_number(7).connectivity == 2


# -- sampling and completion


@every_kind
@pytest.mark.parametrize("output", [Categorical(3), Gaussians(2)])
def test_completion_keeps_what_is_given_and_draws_the_rest(kind: Any, output: Any) -> None:
    """The rest is what teacher forcing gives at the same noise, in the order that begins with what is given."""
    model = exact(kind(output, dimensions=7))
    order = model.order_number(1).starting_with(torch.tensor([5, 2]))
    assert set(order.permutation[:2].tolist()) == {2, 5}
    context, noise = Context(order=order), draw_noise(4, 5, seed=2)
    known = torch.ones(4, 2, dtype=output.dtype)
    drawn = torch.cat([known, sample(model, noise, context=context, prompt=known)], 1)
    rows = model(drawn, context)
    for place in range(5):
        expected = output.draw(rows[:, 2 + place], noise[:, place])
        torch.testing.assert_close(drawn[:, 2 + place], expected, rtol=0, atol=1e-5 * output.dtype.is_floating_point)
    assert (order.restore(drawn)[:, [2, 5]] == 1).all()


def test_completions_have_the_conditional_distribution() -> None:
    """Of one variable given the two others, by enumeration, in a random order: chi-square by hand at a fixed seed."""
    model = exact(nade(Bernoulli(), dimensions=3, order="random"))
    order = Order(torch.tensor([1, 2, 0]))
    x = torch.tensor([[0, 1, 0], [1, 1, 0]])  # x_1 = 1 and x_2 = 0 are given
    log_probs = model.log_prob(*arranged(x, None, order)).sum(1)
    expected = log_probs.softmax(0)[1].item()
    known = torch.tensor([[1, 0]]).expand(4000, -1)
    drawn = sample(model, draw_noise(4000, 1, seed=5), context=Context(order=order), prompt=known)
    assert abs(drawn.double().mean().item() - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000)


def table() -> Table:
    return Table(["a", "b", "c", "d"], [1.0, 2, 3, 4], [1.0, 10, 0.1, 2])


def test_a_pipeline_completes_any_part_of_a_row() -> None:
    for model in (relu(Gaussians(2), dimensions=4, orders=0), made(Gaussians(2), dimensions=4, orders=0)):
        pipeline = Pipeline(model, table())
        rows = pipeline.sample(3, prompt={"c": 3.25, "a": -1}, seed=1)
        assert [list(row) for row in rows] == 3 * [["a", "b", "c", "d"]]
        assert all(row["c"] == pytest.approx(3.25) and row["a"] == pytest.approx(-1) for row in rows)
        assert len({row["b"] for row in rows}) == 3
        assert rows == pipeline.sample(3, prompt="-1,,3.25,", seed=1)


def test_what_is_transparent_is_completed(tmp_path: Path) -> None:
    """As the program is given a part of a picture."""
    generator = np.random.default_rng(0)
    for channels in (1, 3):
        pipeline = Pipeline(made(Categorical(5), dimensions=4 * 3 * channels, orders=0), Pixels(4, 3, channels, 5))
        (item,) = pipeline.sample(1, seed=1)
        hidden = generator.random((4, 3)) < 0.5
        colours = item if channels == 3 else np.repeat(item[:, :, None], 3, 2)
        part = np.concatenate([colours, np.where(hidden, 0, 255)[:, :, None]], 2).astype(np.uint8)
        Image.fromarray(part).save(tmp_path / "part.png")
        found = pipeline.sample(9, prompt=tmp_path / "part.png", seed=2)
        masked = np.ma.masked_array(item, hidden if channels == 1 else np.repeat(hidden[:, :, None], 3, 2))
        assert all(map(np.array_equal, found, pipeline.sample(9, prompt=masked, seed=2)))
        assert all(np.array_equal(one[~hidden], item[~hidden]) for one in found)
        assert len({one.tobytes() for one in found}) > 1


def test_a_pipeline_completes_any_part_of_a_picture() -> None:
    model = made(Bernoulli(), dimensions=6, orders=0)
    pipeline = Pipeline(model, Pixels(2, 3, levels=2))
    known = np.ma.masked_array([[0, 255, 0], [255, 0, 255]], mask=[[1, 1, 0], [1, 0, 0]])
    drawn = pipeline.sample(20, prompt=known, seed=1)
    assert all(picture.shape == (2, 3) and picture.dtype == np.uint8 for picture in drawn)
    assert all((picture[~known.mask] == known.data[~known.mask]).all() for picture in drawn)
    assert len({picture.tobytes() for picture in drawn}) > 3
    upper = pipeline.sample(5, prompt=np.array([[255, 0, 255]], np.uint8), seed=1)
    assert all((picture[0] == [255, 0, 255]).all() for picture in upper)
    with pytest.raises(ValueError, match="length is 3, expected 6"):
        pipeline.sample(length=3)


@pytest.mark.parametrize("kind", [fvsbn, nade, made], ids=["FVSBN", "NADE", "MADE"])
def test_no_part_is_completed_in_an_order_that_was_not_trained(kind: Any) -> None:
    """The parameters of any other are near where they began, so that the rest would be noise."""
    lower = np.ma.masked_array([[9, 9, 9], [255, 0, 255]], mask=[[1, 1, 1], [0, 0, 0]])
    pipeline = Pipeline(kind(Bernoulli(), dimensions=6, orders=1), Pixels(2, 3, levels=2))
    with pytest.raises(
        ValueError, match=r"these 3 variables come first in none of the \d orders that the model was trained for"
    ):
        pipeline.sample(prompt=lower)
    assert (pipeline.sample(prompt=np.array([[255, 0, 255]], np.uint8), seed=1)[0][0] == [255, 0, 255]).all()
    several = Pipeline(kind(Bernoulli(), dimensions=6, orders=3), Pixels(2, 3, levels=2))
    first = several.model.order_number(2).permutation[:3]
    known = np.ma.masked_array(np.zeros(6, int), mask=~np.isin(np.arange(6), first)).reshape(2, 3)
    assert several.model.order_starting_with(first).permutation.equal(several.model.order_number(2).permutation)
    assert (several.sample(prompt=known, seed=1)[0][~known.mask] == 0).all()
    for place in range(6):
        if not any(int(several.model.order_number(number).permutation[0]) == place for number in range(3)):
            with pytest.raises(ValueError, match=r"in none of the \d orders"):
                several.model.order_starting_with(torch.tensor([place]))


def test_connectivities_without_number_are_no_orders() -> None:
    model = made(Bernoulli(), dimensions=6, orders=1, masks=0)
    assert model.order_starting_with(torch.tensor([0, 1])).natural
    with pytest.raises(ValueError, match="in none of the 1 orders"):
        model.order_starting_with(torch.tensor([5]))


@pytest.mark.parametrize("kind", [fvsbn, nade, made], ids=["FVSBN", "NADE", "MADE"])
def test_a_whole_item_is_its_own_completion(kind: Any) -> None:
    pipeline = Pipeline(kind(Bernoulli(), dimensions=6), Pixels(2, 3, levels=2))
    whole = np.array([[255, 0, 255], [0, 0, 255]], np.uint8)
    assert (pipeline.sample(2, prompt=whole)[1] == whole).all()
    assert np.concatenate(list(pipeline.stream(prompt=whole))).tolist() == whole.tolist()


def test_a_model_of_sequences_completes_beginnings_alone() -> None:
    from examples import rnn

    pipeline = Pipeline(rnn(Bernoulli()), Pixels(2, 2, levels=2))
    assert (pipeline.sample(prompt=np.array([[255, 0]], np.uint8), seed=1)[0][0] == [255, 0]).all()
    with pytest.raises(ValueError, match="another part"):
        pipeline.sample(prompt=np.ma.masked_array([[0, 0], [0, 0]], mask=[[1, 0], [0, 0]]))


@pytest.mark.parametrize("order", ["natural", "random"])
def test_scores_and_samples_are_in_an_items_own_places(order: Any) -> None:
    """Sampling in the permutation and not its inverse would scramble the columns."""
    model = exact(relu(Gaussians(), dimensions=4, order=order))
    with torch.no_grad():  # each variable near its own number, whatever the others
        model.readout.zero_()
        model.readout_bias[:, 0] = torch.tensor([-3.0, -1, 1, 3])
        model.readout_bias[:, 1] = -4
    pipeline = Pipeline(model, table())
    for row in pipeline.sample(5, seed=1):
        z = table().encode(row)
        assert (z - torch.tensor([-3.0, -1, 1, 3])).abs().max() < 0.2
    scores = pipeline.score({"a": -2.0, "b": -8.0, "c": 3.1, "d": 50.0})
    assert scores.names == ["a=-2", "b=-8", "c=3.1", "d=50"]
    assert (scores.log_probs[:3] > -4).all()
    assert scores.log_probs[3] < -1000


def test_log_densities_are_in_original_units() -> None:
    """p(x) = p(z) / scale; the sum is reported for rows and for mixtures over orders alike."""
    model, row = exact(relu(Gaussians(2), dimensions=4, orders=3)), {"a": 1.5, "b": 3.0, "c": 2.9, "d": 1.0}
    pipeline, z = Pipeline(model, table()), table().encode(row).unsqueeze(0)
    shift = math.log(1 * 10 * 0.1 * 2)
    assert pipeline.score(row).log_prob == pytest.approx(model.log_prob(z).sum().item() - shift, abs=1e-9)
    (total,) = pipeline.totals([row], orders=3)
    assert -total.nats == pytest.approx(ensemble(model, z, None, 3).item() - shift, abs=1e-9)
    assert (total.symbols, total.units, total.unit) == (4, 1, "row")


def test_scoring_many_is_scoring_each() -> None:
    model = exact(made(Gaussians(2), dimensions=4, order="random"))
    pipeline = Pipeline(model, table())
    rows = pipeline.sample(70, seed=3)
    for row, scores in zip(rows[::23], pipeline.score(rows)[::23], strict=True):
        torch.testing.assert_close(scores.log_probs, pipeline.score(row).log_probs, rtol=0, atol=1e-9)
    assert [-total.nats for total in pipeline.totals(rows)] == pytest.approx(
        [scores.log_prob for scores in pipeline.score(rows)], abs=1e-9
    )


def test_what_has_no_order_in_time_is_not_scored_in_pieces_and_streams_at_the_end() -> None:
    random = Pipeline(nade(Categorical(3), order="random"), Chars("abc"))
    with pytest.raises(ValueError, match="scored whole"):
        list(random.score_pieces(["ab", "c"]))
    assert "".join(random.stream(length=13, seed=1)) == random.sample(length=13, seed=1)[0]
    rows = Pipeline(relu(Gaussians(), dimensions=4), table())
    with pytest.raises(ValueError, match="scored whole"):
        list(rows.score_pieces(["1,2,3,4"]))
    with pytest.raises(ValueError, match="no prefix"):
        rows.score("1,2,3,4", prefix="1,2,3,4")
    assert list(rows.stream(seed=1)) == rows.sample(seed=1)


PICTURES = {
    "PixelCNN": lambda: PixelCNN(Bernoulli(), [3], height=5, width=4, gated=True, filters=8, depth=2, end=8),
    "NADE": lambda: NADE(Bernoulli(), [3], dimensions=20, hidden=8),
    "another order": lambda: NADE(Bernoulli(), [3], dimensions=20, hidden=8, orders=0, order="random"),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("label", [None, "a", ["a", "b", "c"]], ids=str)
def test_several_pictures_stream_row_by_row(name: str, label: Any) -> None:
    """Joined, the rows are what `sample` gives, the prompt first."""
    pipeline = Pipeline(exact(PICTURES[name]()), Pixels(5, 4, levels=2), {"kind": ["a", "b", "c"]})
    prompt = np.array([[0, 255, 0, 255], [255, 255, 0, 0]], np.uint8)
    rows = list(pipeline.stream(3, prompt=prompt, label=label, seed=1))
    assert [[part.shape for part in row] for row in rows] == [[(1, 4)] * 3] * 5
    sampled = pipeline.sample(3, prompt=prompt, label=label, seed=1)
    assert np.array_equal([np.concatenate(parts) for parts in zip(*rows, strict=True)], sampled)
    assert len({picture.tobytes() for picture in sampled}) > 1
    (alone,) = pipeline.sample(seed=1)
    assert np.array_equal(np.concatenate(list(pipeline.stream(seed=1))), alone)


def test_pixels_are_drawn_when_their_row_is_asked_for() -> None:
    pipeline = Pipeline(exact(PICTURES["PixelCNN"]()), Pixels(5, 4, levels=2), {"kind": ["a", "b", "c"]})
    drawn: list[int] = []
    step = pipeline.model.step

    def spy(x: Any, *rest: Any) -> Any:
        drawn.append(x.shape[1])
        return step(x, *rest)

    pipeline.model.step = spy  # type: ignore[method-assign]
    rows = pipeline.stream(2, seed=1)
    assert [(next(rows)[0].shape, sum(drawn)) for _ in range(3)] == [((1, 4), count) for count in (3, 7, 11)]


def test_texts_stream_one_by_one() -> None:
    with pytest.raises(ValueError, match="n is 2, expected None"):
        Pipeline(nade(Categorical(3)), Chars("abc")).stream(2)


def test_a_model_of_other_variables_is_refused() -> None:
    with pytest.raises(ValueError, match="items have 4 symbols and the model 5 variables"):
        Pipeline(relu(Gaussians(), dimensions=5), table())


def test_an_order_must_hold_the_item() -> None:
    with pytest.raises(ValueError, match="an item has 2 symbols, expected 3"):
        Order(torch.tensor([2, 0, 1])).arrange(torch.zeros(1, 2))
    assert Order(torch.tensor([1, 0, 2])).arrange(torch.tensor([[5, 6]])).tolist() == [[6, 5]]


@pytest.mark.parametrize(
    "arguments",
    [{"dimensions": 0}, {"dimensions": True}, {"orders": -1}, {"orders": 1.5}, {"order": "raster"}, {"labels": [0]}],
    ids=str,
)
@pytest.mark.parametrize("kind", [fvsbn, nade, made])
def test_constructors_refuse(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        kind(Bernoulli(), **arguments)
