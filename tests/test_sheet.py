"""Grids of pictures with what was expected of each pixel beside them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import made
from PIL import Image

from seqgen.cli.main import main
from seqgen.codecs import Chars, Pixels
from seqgen.media.grid import GAP, grid, png
from seqgen.modalities.image import expected, sheet
from seqgen.model import arranged
from seqgen.models import RNN, PixelCNN
from seqgen.output import PLAIN, Sampling
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics
from seqgen.pipeline import Pipeline


def pictures(output: Any, levels: int, channels: int = 1) -> Pipeline:
    torch.manual_seed(0)
    model = PixelCNN(output, height=4, width=5, channels=channels, gated=True, filters=6, depth=2)
    return Pipeline(model.double(), Pixels(4, 5, channels, levels))


def test_of_binary_pixels_it_is_the_probability_of_white() -> None:
    pipeline = pictures(Bernoulli(), 2)
    items = pipeline.sample(3, seed=1)
    x = torch.stack([pipeline.codec.encode(item) for item in items])
    probabilities = pipeline.model(x).sigmoid().reshape(3, 4, 5)
    for found, probability in zip(expected(pipeline, items), probabilities, strict=True):
        assert found.dtype == np.uint8
        assert np.abs(found - 255 * probability.detach().numpy()).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(("levels", "channels"), [(7, 1), (256, 3)])
@pytest.mark.parametrize("output", [Categorical, DiscretizedLogistics])
def test_it_is_the_mean_of_the_levels(output: Any, levels: int, channels: int) -> None:
    pipeline = pictures(output(levels), levels, channels)
    (item,) = pipeline.sample(1, seed=1)
    (found,) = expected(pipeline, [item])
    distribution = pipeline.model.output(pipeline.model(pipeline.codec.encode(item)[None]))
    values = torch.arange(levels, dtype=torch.float64) * 255 / (levels - 1)
    probabilities = torch.stack([distribution.log_prob(torch.full((1, item.size), k)).exp() for k in range(levels)], -1)
    mean = (probabilities * values).sum(-1).detach().numpy().reshape(item.shape)
    assert found.shape == item.shape
    assert np.abs(found - mean).max() <= 0.5 + 1e-6


def test_in_an_order_of_its_own_a_pixel_stays_where_it_is() -> None:
    pipeline = Pipeline(made(Bernoulli(), order="random").double(), Pixels(1, 13, levels=2))
    (item,) = pipeline.sample(1, seed=1)
    order = pipeline.model.order_number(0)
    assert order is not None
    x = pipeline.codec.encode(item)
    for place in range(13):
        changed = item.copy()
        changed[0, place] = 255 - changed[0, place]
        moved = np.flatnonzero(expected(pipeline, [changed])[0] != expected(pipeline, [item])[0])
        assert all(order.ranks[other] > order.ranks[place] for other in moved)
    assert len(x) == 13


def test_probabilities_are_those_that_a_part_was_completed_with() -> None:
    """In the order in which the rest was drawn, and at its temperature."""
    pipeline = Pipeline(made(Bernoulli(), orders=0).double(), Pixels(1, 13, levels=2))
    part = np.ma.masked_array(np.full((1, 13), 255), np.arange(13) < 9)
    _, order = pipeline.known(part)
    assert order is not None
    for sampling in (PLAIN, Sampling(0.5), Sampling(0), Sampling(top_p=0.6)):
        (item,) = pipeline.sample(1, prompt=part, seed=1, temperature=float(sampling.temperature), top_p=sampling.top_p)
        x, context = arranged(pipeline.codec.encode(item)[None], None, order)
        chances = pipeline.model.output(pipeline.model(x, context), sampling).probs[..., 1]
        chances = chances.detach().numpy()[0][order.ranks.numpy()]
        (found,) = expected(pipeline, [item], prompt=part, sampling=sampling)
        assert np.abs(found[0] - 255 * chances).max() <= 0.5 + 1e-6
    assert (expected(pipeline, [item])[0] != expected(pipeline, [item], prompt=part)[0]).any()


def test_two_grids_side_by_side() -> None:
    items = [np.full((4, 5), value, np.uint8) for value in (0, 10, 20)]
    means = [np.full((4, 5), value, np.uint8) for value in (30, 40, 50)]
    whole, left = sheet(items, means), grid(items)
    assert (whole[:, : left.shape[1]] == left).all()
    assert (whole[:, -left.shape[1] :] == grid(means)).all()
    assert whole.shape[1] == 2 * left.shape[1] + 4 * GAP


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = pictures(Bernoulli(), 2)
    pipeline.save_pretrained(tmp_path / "model")
    out = tmp_path / "digits.png"
    assert main(["sample", str(tmp_path), "-n", "4", "--seed", "1", "--out", str(out), "--probabilities"]) == 0
    items = pipeline.sample(4, seed=1)
    assert out.read_bytes() == png(sheet(items, expected(pipeline, items)), 4)
    assert np.asarray(Image.open(io.BytesIO(out.read_bytes()))).ndim == 2
    Image.fromarray(items[0][:2]).save(tmp_path / "half.png")
    flags = ["-n", "2", "--seed", "1", "--prompt", str(tmp_path / "half.png"), "--temperature", "0.5"]
    assert main(["sample", str(tmp_path), *flags, "--out", str(out), "--probabilities"]) == 0
    items = pipeline.sample(2, seed=1, prompt=items[0][:2], temperature=0.5)
    means = expected(pipeline, items, prompt=items[0][:2], sampling=Sampling(0.5))
    assert out.read_bytes() == png(sheet(items, means), 4)
    Pipeline(RNN(Categorical(3), hidden=4), Chars("abc")).save_pretrained(tmp_path / "text" / "model")
    assert main(["sample", str(tmp_path / "text"), "--probabilities"]) == 1
    assert "--probabilities does not go with models of text" in capsys.readouterr().err
    with pytest.raises(ValueError, match="got a codec Chars, expected one of images"):
        expected(Pipeline(RNN(Categorical(3), hidden=4), Chars("abc")), [])
