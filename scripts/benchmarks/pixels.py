"""Sampling of 16 images of 28 x 28: a naive loop, which runs the whole network for every pixel, and the cached loop."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.turns import Contender, streamed, take_turns, timed
from seqgen.inference import generate
from seqgen.models import PixelCNN, PixelRNN
from seqgen.models.raster import Raster
from seqgen.outputs import Bernoulli

IMAGES, SIDE = 16, 28
NETWORKS = {
    "PixelCNN, 5 layers of 64": partial(PixelCNN, depth=5, filters=64),
    "gated PixelCNN, 10 layers of 128": partial(PixelCNN, gated=True, depth=10, filters=128),
    "Row LSTM, 7 layers of 32": partial(PixelRNN, cell="row", depth=7, filters=32),
    "Diagonal BiLSTM, 7 layers of 32": partial(PixelRNN, cell="diagonal", depth=7, filters=32),
}


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Rows (images) per second, from parts of the images: both loops do equal work for every pixel."""
    results, whole, largest = {}, {}, 0.0
    for name, network in NETWORKS.items():
        model = network(Bernoulli(), height=SIDE, width=SIDE).eval().requires_grad_(False)
        largest = max(largest, difference(model))
        size = sum(parameter.numel() for parameter in model.parameters())
        title = f"{name}, {size:,} parameters"
        results[title] = take_turns(
            {"naive": drawing(partial(naive, model), seconds), "seqgen": drawing(partial(cached, model), seconds)},
            rounds,
        )
        whole[f"seconds for {IMAGES} images, {name}"] = ", ".join(
            f"{contender} {IMAGES / row['median']:.2f}" for contender, row in results[title].items()
        )
    return {"unit": "rows/s", "results": results, **whole, "largest difference of logits": f"{largest:.0e}"}


@torch.inference_mode()
def difference(model: Raster) -> float:
    """Largest difference between the logits of both loops, on the first three rows of pixels."""
    x = torch.randint(2, (2, 3 * SIDE))
    rows, state = model.start(2)
    found = [rows]
    for symbol in x[:, :-1].split(1, 1):
        rows, state = model.step(symbol, state)
        found.append(rows[:, 0])
    return float((torch.stack(found, 1) - model(x)).abs().max())


def drawing(loop: Any, seconds: float) -> Contender:
    """A contender that samples pixel by pixel until the time is up; the last images may be unfinished."""

    def work() -> Iterator[float]:
        while True:
            yield from (len(symbols) / SIDE**2 for symbols in loop())

    return lambda: timed(work(), seconds)


def cached(model: Raster) -> Iterator[Tensor]:
    """Pixels (IMAGES,) sampled by seqgen's cached loop."""
    return streamed(model)(generate.draw_noise(IMAGES, SIDE**2, 0))


@torch.inference_mode()
def naive(model: Raster) -> Iterator[Tensor]:
    """Pixels (IMAGES,) sampled naively: the network runs on whole images, padded with black, for every pixel."""
    x = torch.zeros(IMAGES, SIDE**2, dtype=torch.int64)
    for place in range(SIDE**2):
        logits = model(x)[:, place, 0]
        x[:, place] = torch.bernoulli(logits.sigmoid()).long()
        yield x[:, place]
