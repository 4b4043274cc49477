"""Ranks among held-out items, likelihood ratios, purification, and calibrations on disk."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from examples import COLOUR, PIXELS, made, rnn
from tiny import settings, train
from torch import Tensor

import seqgen
from seqgen.checkpoints.folder import CheckpointError
from seqgen.cli.main import main
from seqgen.codecs import Chars, Pixels
from seqgen.data.text import Text
from seqgen.inference.detect import Calibration, Side, calibrate, likelihood_ratio, p_value, purify
from seqgen.inference.generate import draw_noise, sample
from seqgen.model import Batch, Context, Model
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians
from seqgen.pipeline import Pipeline

# -- ranks


def test_ranks() -> None:
    """(1 + #{held out <= score}) / (N + 1), ties counted, never 0, never above 1."""
    held_out = torch.tensor([-4.0, -3.0, -2.0, -1.0])
    for score, low, both in ((-5, 1, 2), (-4, 2, 4), (-2.5, 3, 5), (-1, 5, 4), (0, 5, 2), (-math.inf, 1, 2)):
        assert p_value(score, held_out) == low / 5
        assert p_value(score, held_out, "both") == both / 5


def test_scores_that_differ_by_rounding_are_ties() -> None:
    held_out = torch.tensor([-9.708043513, -1.5], dtype=torch.float64)
    for score in (-9.708044421, -9.708042202):
        assert p_value(score, held_out) == 2 / 3
        assert p_value(score, held_out, "both") == 1
    assert p_value(-9.7081, held_out) == 1 / 3


def test_p_values_of_the_data_are_uniform() -> None:
    generator = torch.Generator().manual_seed(1)
    for side in ("low", "both"):
        scores = torch.randn(400, 100, generator=generator)
        ranks = torch.tensor([p_value(float(row[0]), row[1:], side) for row in scores])  # type: ignore[arg-type]
        for level in (0.05, 0.2, 0.5):
            assert (ranks <= level).double().mean() <= level + 3 * math.sqrt(level * (1 - level) / 400)


def test_refuses() -> None:
    with pytest.raises(ValueError, match="not a number"):
        p_value(math.nan, torch.zeros(3))
    with pytest.raises(ValueError, match="side is 'high', expected low or both"):
        p_value(0, torch.zeros(3), "high")  # type: ignore[arg-type]
    for scores, symbols in ((torch.zeros(3), torch.ones(3)), (torch.zeros(1, 0), torch.ones(0))):
        with pytest.raises(ValueError, match="expected"):
            Calibration(scores, symbols)
    for scores, symbols in ((torch.full((1, 2), torch.nan), torch.ones(2)), (torch.zeros(1, 2), torch.zeros(2))):
        with pytest.raises(ValueError, match="not numbers"):
            Calibration(scores, symbols)


# -- p-values at every length


def drawn(symbols: Tensor, seed: int) -> Tensor:
    """Scores whose mean, spread and skewness are those of names and texts: (N,) for lengths (N,)."""
    noise = torch.randn(len(symbols), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    skewed = torch.where(noise < 0, 1.3 * noise, 0.8 * noise)
    return -1.5 - 10 / symbols + 2.5 * symbols**-0.5 * skewed


def lengths_of(kind: str, count: int) -> Tensor:
    """Lengths of many items: of names, 3 to 12; of texts, 1 to 256; of images, 784."""
    u = torch.rand(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    if kind == "names":
        share = torch.tensor([4, 26, 150, 350, 500, 360, 170, 60, 16, 6], dtype=torch.float64).cumsum(0)
        return 3.0 + torch.searchsorted(share / share[-1], u)
    return (256**u).round() if kind == "texts" else torch.full((count,), 784.0, dtype=torch.float64)


def ranked(calibration: Calibration, symbols: float, scores: Tensor, side: Side = "low") -> Tensor:
    """p-values (N,) of scores (N,) of one length, as `Calibration.p_value` gives them one by one."""
    held_out, weights = calibration.peers(symbols)
    order = held_out.argsort()
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), weights[order].cumsum(0)])
    low = sums[torch.searchsorted(held_out[order], scores, right=True)]
    high = sums[-1] - sums[torch.searchsorted(held_out[order], scores)]
    found = (1 + (low if side == "low" else torch.minimum(low, high))) / (1 + sums[-1])
    found = found if side == "low" else (2 * found).clamp(max=1)
    some = slice(0, len(scores), max(1, len(scores) // 20))
    single = [calibration.p_value(score, symbols, side=side) for score in scores[some].tolist()]
    assert found[some].tolist() == pytest.approx(single, abs=3e-3)  # ties: scores within rounding
    return found


@pytest.mark.parametrize(
    ("kind", "symbols"),
    [*(("names", n) for n in range(4, 13)), *(("texts", 2**n) for n in range(9)), ("texts", 100), ("images", 784)],
)
def test_p_values_are_uniform_at_every_length(kind: str, symbols: int) -> None:
    lengths = lengths_of(kind, 60_000)
    calibration = Calibration(drawn(lengths, 2)[None], lengths)
    scores = drawn(torch.full((10_000,), float(symbols), dtype=torch.float64), 3)
    for side in ("low", "both"):
        found = ranked(calibration, symbols, scores, side)  # type: ignore[arg-type]
        assert 0.03 < (found <= 0.05).double().mean() < 0.07
        for level in (0.2, 0.5, 0.8):
            assert float((found <= level).double().mean()) == pytest.approx(level, abs=0.06)


def test_p_values_of_the_bundled_names() -> None:
    """Each twentieth of the calibration set is ranked in the others: at every length 5 % are below 0.05, give or take
    two standard deviations of a count."""
    pipeline = seqgen.load("names")
    assert pipeline.calibration is not None
    scores, symbols = pipeline.calibration.scores, pipeline.calibration.symbols
    fold = torch.randperm(len(symbols), generator=torch.Generator().manual_seed(1)) % 20
    lengths, counts = symbols.unique(return_counts=True)
    assert 4 in lengths[counts >= 12]
    for version in range(2):
        found = torch.ones(len(symbols))
        for number in range(20):
            others = Calibration(scores[:, fold != number], symbols[fold != number])
            for place in (fold == number).nonzero()[:, 0].tolist():
                p = others.p_value(float(scores[version, place]), float(symbols[place]), bool(version))
                found[place] = p
        small = found <= 0.05
        assert 0.03 < small.double().mean() < 0.07
        for length, count in zip(lengths.tolist(), counts.tolist(), strict=True):
            excess = int(small[symbols == length].sum()) - 0.05 * count
            assert count < 12 or abs(excess) <= 2 * math.sqrt(0.05 * 0.95 * count), (length, excess)


def test_one_length_is_ranked_exactly() -> None:
    """Whether all items have it, or more than are asked for."""
    lengths = torch.cat([torch.full((300,), 9.0), torch.full((700,), 20.0)]).double()
    calibration = Calibration(drawn(lengths, 1)[None], lengths)
    single = Calibration(calibration.scores[:, :300], lengths[:300])
    for score in (*calibration.scores[0, :300:9].tolist(), -9.0, 9.0, -math.inf):
        for side in ("low", "both"):
            expected = p_value(score, calibration.scores[0, :300], side)  # type: ignore[arg-type]
            assert single.p_value(score, 9, side=side) == expected  # type: ignore[arg-type]
            assert calibration.p_value(score, 9, side=side) == expected  # type: ignore[arg-type]


def test_scores_move_along_lines() -> None:
    """Where mean and spread are straight lines in log length, items of all lengths have the same scores once moved."""
    lengths = torch.tensor([5.0, 7.0, 11.0, 14.0]).double().repeat(50)
    z = torch.linspace(-1, 1, 50, dtype=torch.float64).repeat_interleave(4)
    calibration = Calibration((2 * lengths.log() - 8 + (3 - lengths.log()) * z)[None], lengths)
    for symbols in (5, 8, 14):
        moved, weights = calibration.peers(symbols)
        of = torch.isin(lengths, lengths[(lengths / symbols).log().abs().argsort()][:100])  # 100 items, 2 lengths
        assert len(moved) == 100
        torch.testing.assert_close(moved, 2 * math.log(symbols) - 8 + (3 - math.log(symbols)) * z[of])
        assert weights.max() == 1
        assert weights.min() > 0
        assert moved.isfinite().all()


@pytest.mark.parametrize("count", [1, 2, 20, 300])
def test_p_values_rise_with_the_score_and_stay_within_bounds(count: int) -> None:
    lengths = lengths_of("texts", count)
    calibration = Calibration(drawn(lengths, 1)[None], lengths)
    for symbols in (1, 5, 40, 1000):
        found = ranked(calibration, symbols, torch.linspace(-30, 5, 50))
        assert (found.diff() >= 0).all()
        assert 1 / (count + 1) <= found[0] <= found[-1] == 1
        assert ranked(calibration, symbols, torch.tensor([-math.inf]))[0] == found[0]


def test_lengths_beyond_the_held_out_ones_are_ranked_at_the_nearest() -> None:
    lengths = lengths_of("names", 500)
    calibration = Calibration(drawn(lengths, 1)[None], lengths)
    for score in (-4.0, -3.0, -2.0):
        assert calibration.p_value(score, 1) == calibration.p_value(score, 3)
        assert calibration.p_value(score, 400) == calibration.p_value(score, 12)


def test_twenty_items_are_all_ranked_among() -> None:
    lengths = torch.arange(5, 25).double()
    moved, weights = Calibration(drawn(lengths, 1)[None], lengths).peers(9)
    assert weights.tolist() == [1] * 20
    assert moved[4] == drawn(lengths, 1)[4]


@pytest.mark.parametrize("lengths", [torch.arange(1, 31), torch.full((30,), 7)])
def test_equal_scores_are_ties(lengths: Tensor) -> None:
    calibration = Calibration(torch.full((1, 30), -2.0, dtype=torch.float64), lengths.double())
    assert calibration.p_value(-2, 7) == calibration.p_value(-2, 7, side="both") == 1
    assert calibration.p_value(-2.1, 7) == 1 / 31
    assert calibration.p_value(-1.9, 7, side="both") == 2 / 31


def test_impossible_held_out_items_stay_impossible() -> None:
    lengths = lengths_of("names", 48)  # so few that all weigh alike
    scores = drawn(lengths, 1)
    scores[::3] = -math.inf
    calibration = Calibration(scores[None], lengths)
    assert calibration.p_value(-math.inf, 7) == 17 / 49
    assert calibration.p_value(-9, 7) == 17 / 49
    assert calibration.p_value(9, 7) == 1
    assert Calibration(torch.full((1, 3), -math.inf), torch.arange(1.0, 4)).p_value(0, 2) == 1


def test_weighted_ranks() -> None:
    held_out, weights = torch.tensor([-3.0, -2.0, -1.0]), torch.tensor([0.5, 1.0, 0.25], dtype=torch.float64)
    assert p_value(-2, held_out, weights=weights) == 2.5 / 2.75
    assert p_value(-2.5, held_out, weights=weights) == 1.5 / 2.75
    assert p_value(-1, held_out, "both", weights) == 2 * 1.25 / 2.75


def test_ratio() -> None:
    assert likelihood_ratio(-10, -30, 5) == 4
    with pytest.raises(ValueError, match="units"):
        likelihood_ratio(-10, -30, 0)


# -- calibration


def items(model: Model, count: int, lengths: list[int]) -> list[Batch]:
    """Batches of 4, 3, 2 and 1 items."""
    generator, batches = torch.Generator().manual_seed(3), []
    for size in (4, 3, 2, 1):
        length = torch.tensor(lengths)[torch.randint(len(lengths), (size,), generator=generator)]
        x = torch.randint(count, (size, max(lengths)), generator=generator)
        labels = torch.randint(3, (size, 1), generator=generator)
        batches.append(Batch(x, torch.arange(max(lengths)) < length[:, None], Context(labels)))
    return batches


@pytest.mark.parametrize("stride", [1, 3])
def test_calibration_scores_items_one_by_one(stride: int) -> None:
    model = rnn(Categorical(3), labels=[2]).double()
    batches = items(model, 3, [2, 5, 7])
    got = calibrate(model, batches, 0.5, stride)
    expected = []
    for batch in batches:
        for x, mask, label in zip(batch.x, batch.mask, batch.context.labels, strict=True):  # type: ignore[union-attr]
            x = x[mask][None]
            both = (model.log_prob(x), model.log_prob(x, Context(label[None])))
            expected.append([0.5 + one.mean().item() for one in both] + [x.shape[1]])
    expected = torch.tensor(expected, dtype=torch.float64)[::stride]
    torch.testing.assert_close(torch.cat([got.scores, got.symbols[None]]).T, expected)


def test_windows_that_continue_one_another_are_one_item() -> None:
    model = rnn(Categorical(3)).double()
    x = torch.randint(3, (2, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    windows = [Batch(x[:, a:b], mask[:, a:b], window=n) for n, (a, b) in enumerate([(0, 5), (5, 9)])]
    got = calibrate(model, [*windows, *windows])
    assert got.symbols.tolist() == [9, 4, 9, 4]
    assert got.scores[0, 1].item() == pytest.approx(model.log_prob(x[1:, :4]).mean().item())
    assert got.scores[0, 2].item() == pytest.approx(model.log_prob(x[:1]).mean().item())


def text_of(path: Path, text: str, val: float) -> Text:
    """The data of a text whose end is held out."""
    path.write_text(text)
    data = Text(path=str(path), val=val, test=0, batch_size=2)
    data.setup()
    return data


@pytest.mark.parametrize("lines", [True, False])
def test_a_long_text_is_cut_where_lines_begin(lines: bool, tmp_path: Path) -> None:
    """As what people write does, with a capital; where there are no lines, anywhere. Lengths are log-uniform."""
    text = "".join(f"Line {number} of many, and no two are alike.\n\n" for number in range(100, 180))
    text = text if lines else text.replace("\n", " ")
    data = text_of(tmp_path / "t.txt", text, 0.5)
    batches = list(data._stretches())
    cut = [
        data.codec.decode(row[kept])
        for x, kept in (batch[:2] for batch in batches)
        for row, kept in zip(x, kept, strict=True)
    ]
    held_out = text[len(text) - len(text) // 4 :]  # the second half of the held-out half
    assert len(cut) == len(held_out)
    assert all(piece in held_out for piece in cut)
    begins = {piece[:6] for piece in cut if len(piece) >= 6}
    assert (begins == {"Line 1"}) if lines else (len(begins) > 40)
    octaves = np.histogram(np.log2([len(piece) for piece in cut]), bins=np.arange(9) - 0.1)[0] / len(cut)
    assert [len(cut[0]), len(cut[-1])] == [256, 1]
    assert (abs(octaves - 1 / 8) < 0.06).all()  # the shortest lengths are rounded
    model = rnn(Categorical(data.codec.size)).double()
    got = data.calibration(model)
    assert got.symbols.tolist() == [len(piece) for piece in cut]
    expected = [model.log_prob(data.codec.encode(piece)[None]).mean().item() for piece in cut[::50]]
    assert got.scores[0, ::50].tolist() == pytest.approx(expected)


def test_a_short_text_has_as_many_stretches_as_symbols(tmp_path: Path) -> None:
    data = text_of(tmp_path / "t.txt", "to be or not to be", 10)
    model = rnn(Categorical(data.codec.size)).double()
    got = data.calibration(model)
    assert got.symbols.tolist() == [5, 3, 2, 1, 1]
    assert got.scores[0, 0].item() == pytest.approx(model.log_prob(data.codec.encode("to be")[None]).mean().item())


def test_nothing_to_calibrate_on() -> None:
    with pytest.raises(ValueError, match="no held-out items"):
        calibrate(rnn(Categorical(3)), [])


# -- purification


def test_purified_images_stay_near_and_are_the_likeliest_step_by_step() -> None:
    model = PIXELS["PixelCNN-gated"](Categorical(256), **COLOUR, labels=[2]).double()
    context = Context(torch.tensor([[1], [2], [0]]))
    x = torch.randint(256, (3, 18), generator=torch.Generator().manual_seed(1))
    x[0, :6] = torch.tensor([0, 1, 255, 254, 250, 5])
    found = purify(model, x.to(torch.uint8), 10, context)  # 250 + 10 is 4 in uint8
    assert found.dtype == torch.int64
    assert int((found - x).abs().max()) == 10
    assert 0 <= int(found.min()) <= int(found.max()) <= 255
    rows = model(found, context)  # of what is purified already, not of the input
    for row, place in np.ndindex(3, 18):
        near = range(max(0, int(x[row, place]) - 10), min(255, int(x[row, place]) + 10) + 1)
        logits = rows[row, place, near.start : near.stop]
        assert rows[row, place, found[row, place]] == logits.max()


def test_purifying_once_from_the_input_is_another_thing() -> None:
    """The error of other implementations."""
    model = PIXELS["PixelCNN-gated"](Categorical(16)).double()
    x = torch.randint(16, (8, 15), generator=torch.Generator().manual_seed(1))
    found, rows = purify(model, x, 3), model(x)
    near = (torch.arange(16) - x.unsqueeze(-1)).abs() <= 3
    once = rows.masked_fill(~near, -torch.inf).argmax(-1)
    assert torch.equal(found[:, 0], once[:, 0])
    assert not torch.equal(found, once)


def test_purification_in_an_order_of_its_own() -> None:
    model = made(Categorical(5), order="random").double()
    x = torch.randint(5, (4, 13), generator=torch.Generator().manual_seed(1))
    order = model.order_number(0)
    assert order is not None
    found = purify(model, x, 1)
    assert int((found - x).abs().max()) == 1
    rows = model(order.arrange(found), Context(order=order))
    near = (torch.arange(5) - order.arrange(x).unsqueeze(-1)).abs() <= 1
    assert torch.equal(rows.masked_fill(~near, -torch.inf).argmax(-1), order.arrange(found))


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(9), DiscretizedLogistics(9, 2)])
def test_radius_0_and_a_radius_over_all(output: Any) -> None:
    model = PIXELS["PixelCNN"](output)
    levels = 2 if isinstance(output, Bernoulli) else 9
    x = torch.randint(levels, (3, 15), generator=torch.Generator().manual_seed(1))
    assert torch.equal(purify(model, x, 0), x)
    if not isinstance(output, DiscretizedLogistics):  # whose temperature 0 is the heaviest component's middle
        mode = sample(model, draw_noise(3, 15, 1), seqgen.Sampling(temperature=0))
        assert torch.equal(purify(model, x, 300), mode)


def test_purify_refuses() -> None:
    model, x = PIXELS["PixelCNN"](Categorical(4)), torch.zeros(1, 15, dtype=torch.int64)
    for wrong in (x.float(), x - 1, x + 4):
        with pytest.raises(ValueError, match="expected whole symbols from 0 to 3"):
            purify(model, wrong, 1)
    for radius in (-1, 0.5, True):
        with pytest.raises(ValueError, match="expected a whole number of levels"):
            purify(model, x, radius)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has numbers"):
        purify(PIXELS["PixelCNN"](Gaussians()), x, 1)


# -- pipelines


def pictures() -> tuple[Pipeline, list[np.ndarray]]:
    """A model of small pictures with 300 of its own samples as held-out ones, and ten others."""
    codec = Pixels(5, 3, levels=4)
    pipeline = Pipeline(PIXELS["PixelCNN-gated"](Categorical(4)), codec)
    drawn = pipeline.sample(310, seed=1)
    x = torch.stack([codec.encode(one) for one in drawn[:300]])
    pipeline.calibration = calibrate(pipeline.model, [Batch(x, torch.ones_like(x, dtype=torch.bool))])
    return pipeline, drawn[300:]


def test_pictures_are_ranked_and_purified(tmp_path: Path) -> None:
    pipeline, own = pictures()
    noise = list(np.random.default_rng(1).integers(0, 4, (20, 5, 3)).astype(np.uint8) * 85)
    ranked = pipeline.score(own + noise, p_value="low")
    p_values = [one.p_value for one in ranked]
    assert np.mean(p_values[:10]) > 0.25 > 0.1 > np.mean(p_values[10:])  # type: ignore[arg-type]
    log_probs = [one.log_prob for one in pipeline.score(own)]
    held_out = pipeline.calibration.scores[0] * 15  # type: ignore[union-attr]
    assert p_values[:10] == [(1 + int((held_out <= one + 1e-9).sum())) / 301 for one in log_probs]
    pipeline.save_pretrained(tmp_path / "model")
    loaded = seqgen.load(tmp_path)
    assert [one.p_value for one in loaded.score(own + noise, p_value="low")] == p_values
    assert loaded.score(noise[0], p_value="both").as_dict()["p_value"] <= 2 * p_values[10]  # type: ignore[operator]
    assert min(p_values[:10]) < 0.3 < max(p_values[:10])  # type: ignore[type-var, operator]
    some = pipeline.purify(own, 3, below=0.3)
    moved = [bool((a != b).any()) for a, b in zip(some, own, strict=True)]
    assert moved == [p < 0.3 for p in p_values[:10]]  # type: ignore[operator]
    better = pipeline.purify(noise, 1, below=0.1)
    assert all(int(np.abs(a.astype(int) - b.astype(int)).max()) <= 85 for a, b in zip(better, noise, strict=True))
    again = pipeline.score(better, p_value="low")
    assert all(a.log_prob >= b.log_prob for a, b in zip(again, ranked[10:], strict=True))
    assert pipeline.purify([], 1) == []


def test_ratios() -> None:
    pipeline, own = pictures()
    background = Pipeline(PIXELS["PixelCNN"](Categorical(4)), pipeline.codec)
    got = pipeline.ratios(own, background)
    expected = [(pipeline.score(one).log_prob - background.score(one).log_prob) / 15 for one in own]
    assert got == pytest.approx(expected, abs=1e-6)  # batches round otherwise


def test_a_background_of_other_symbols_is_refused() -> None:
    pipeline, own = pictures()
    other = Pipeline(PIXELS["PixelCNN"](Categorical(2)), Pixels(5, 3, levels=2))
    with pytest.raises(ValueError, match="one of Pixels of 15 symbols in 2, expected Pixels of 15 symbols in 4"):
        pipeline.ratios(own, other)
    with pytest.raises(ValueError, match="the background model is one of Chars"):
        pipeline.ratios(own, Pipeline(rnn(Categorical(3)), Chars("abc")))


def labelled() -> Pipeline:
    """A model of two labels, of which held-out items are much likelier given their own than given none."""
    calibration = Calibration(torch.stack([torch.arange(-104.0, -100), torch.arange(-4.0, 0)]), torch.ones(4))
    pipeline = Pipeline(
        rnn(Categorical(4), labels=[2, 2]), Chars("abc", end=True), {"sex": ["F", "M"], "age": ["1", "2"]}
    )
    pipeline.calibration = calibration
    return pipeline


def test_an_item_is_ranked_among_those_scored_given_as_many_labels() -> None:
    pipeline = labelled()
    none, both = pipeline.score("", p_value="low"), pipeline.score("", label={"sex": "F", "age": "1"}, p_value="low")
    assert -4 < none.log_prob < 0
    assert -4 < both.log_prob < 0
    assert none.p_value == 1
    assert both.p_value == p_value(both.log_prob, torch.arange(-4.0, 0)) < 1
    with pytest.raises(ValueError, match=r"label is \{'sex': 'F'\}; expected all of sex, age or none, for a p-value"):
        pipeline.score("", label={"sex": "F"}, p_value="low")


def test_labels_count_in_purification() -> None:
    codec = Pixels(5, 3, levels=4)
    pipeline = Pipeline(PIXELS["PixelCNN"](Categorical(4), labels=[2]), codec, {"kind": ["a", "b"]})
    with torch.no_grad():
        pipeline.model.stack.labels.tables[0].mul_(10)
    x = torch.randint(4, (4, 15), generator=torch.Generator().manual_seed(1))
    found = {name: pipeline.purify([codec.decode(row) for row in x], 3, label=name) for name in ("a", "b")}
    for number, name in enumerate("ab", 1):
        expected = purify(pipeline.model, x, 3, Context(torch.full((4, 1), number)))
        assert np.stack(found[name]).tolist() == np.stack([codec.decode(row) for row in expected]).tolist()
    assert any((one != other).any() for one, other in zip(found["a"], found["b"], strict=True))


def test_a_diverged_model_purifies_nothing() -> None:
    model = PIXELS["PixelCNN"](Categorical(4))
    with torch.no_grad():
        model.readout.bias[0, 1] = torch.nan
    with pytest.raises(ValueError, match="the model has diverged"):
        purify(model, torch.zeros(1, 15, dtype=torch.int64), 1)


def test_what_cannot_be_ranked_or_purified() -> None:
    pipeline = Pipeline(rnn(Categorical(3)), Chars("abc"))
    with pytest.raises(ValueError, match="calibrate its run first"):
        pipeline.score("ab", p_value="low")
    with pytest.raises(ValueError, match="expected no prefix"):
        pipeline.score("ab", prefix="c", p_value="low")
    with pytest.raises(ValueError, match="Chars has no levels"):
        pipeline.purify(["ab"], 1)


def test_a_damaged_calibration(tmp_path: Path) -> None:
    pipeline, _ = pictures()
    pipeline.save_pretrained(tmp_path / "model")
    file = tmp_path / "model" / "calibration.safetensors"
    assert file.stat().st_size < 8000  # 300 items, two numbers each
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r"calibration.safetensors is damaged"):
        seqgen.load(tmp_path)
    pipeline.calibration = None
    pipeline.save_pretrained(tmp_path / "model")
    assert not file.exists()
    wrong = {"scores": torch.zeros(1, 2)}
    with pytest.raises(ValueError, match="expected scores and symbols"):
        Calibration.from_tensors(safetensors.torch.load(safetensors.torch.save(wrong)))


@pytest.mark.parametrize("kind", ["names", "table", "text"])
def test_training_ends_with_a_calibration(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path / "run", settings(tmp_path, kind)) == 0
    pipeline = seqgen.load(tmp_path / "run")
    assert pipeline.calibration is not None
    assert len(pipeline.calibration.scores) == (2 if kind == "table" else 1)
    if kind != "text":
        assert len(pipeline.calibration.symbols) == 6  # half of the 12 held out
    kept = pipeline.calibration
    assert main(["calibrate", str(tmp_path / "run")]) == 0
    assert "held-out items; nats/symbol" in capsys.readouterr().out
    again = seqgen.load(tmp_path / "run").calibration
    assert again is not None
    torch.testing.assert_close(again.scores, kept.scores, rtol=0, atol=1e-5)
    own = "bad" if kind != "text" else "abc def gab"
    label = ["--label", "F"] if kind == "table" else []
    assert main(["score", str(tmp_path / "run"), own, "--p-value", *label]) == 0
    p = pipeline.score(own, label=label[1] if label else None, p_value="low").p_value
    assert f"p-value {p:.4f}  {own}" in capsys.readouterr().out
    run = str(tmp_path / "run")
    assert main(["score", run, own, "--two-sided", "--background", run, "--json"]) == 0
    assert '"ratio": 0.0' in capsys.readouterr().out
    assert main(["score", str(tmp_path / "run"), own, "--p-value", "--no-end"]) == 1
