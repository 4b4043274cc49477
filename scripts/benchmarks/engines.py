"""Sampling by the compiled loop and by the plain one, beside what the machine allows; one clip, many, and scoring."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numba import njit

import seqgen
from benchmarks.turns import Contender, take_turns, timed
from seqgen.engines.vectors import F, add, load, splat, total
from seqgen.inference import generate
from seqgen.media.audio import Clip
from seqgen.model import Model
from seqgen.models import FVSBN, MADE, NADE, RNN, PixelCNN, WaveNet
from seqgen.nn.rounding import rounded
from seqgen.outputs import Bernoulli, Categorical
from seqgen.pipeline import Pipeline

SIZES = (1.2, 2.5, 5.0, 25.0)
"""MB of weights that are read again and again."""
NAMES, SECONDS = 20_000, 20
"""Names and seconds of sound that are scored."""


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Symbols per second, and what the machine allows: products of matrices, and reading weights."""
    limits = {"products": f"{products():.0f} GFLOP/s (512 x 512 x 512, torch, one thread)"}
    limits["reading"] = ", ".join(f"{size} MB: {reads(size):.0f} GB/s" for size in SIZES)
    results = {title: take_turns(contenders, rounds) for title, contenders in works(seconds)}
    return {"unit": "symbols/s", "results": results, **limits}


def works(seconds: float) -> Iterator[tuple[str, dict[str, Contender]]]:
    """A title and contenders, the first of which ratios refer to."""
    small = WaveNet(Categorical(256), layers=10, blocks=2, residual=32, gate=32, skip=128, end=128)
    full = WaveNet(Categorical(256), layers=10, blocks=3, residual=64, gate=64, skip=256, end=256)
    lstm = RNN(Categorical(65), layers=3, hidden=512)
    for title, model in (
        ("WaveNet 2 x 10, 32/32/128/128, one clip", small),
        ("WaveNet 3 x 10, 64/64/256/256, one clip", full),
        ("LSTM 3 x 512, one text", lstm),
    ):
        kinds = {"float32": model, **{kind: rounded(model, kind) for kind in ("bfloat16", "int8")}}
        contenders = {f"compiled, {kind}": drawing(one, 1, "compiled", seconds) for kind, one in kinds.items()}
        yield title, {"plain": drawing(model, 1, "plain", seconds), **contenders}
    both = partial(both_loops, seconds=seconds)
    yield "WaveNet 3 x 10, 64/64/256/256, 16 clips at once", both(full, 16)
    yield "LSTM 3 x 512, 16 texts at once", both(lstm, 16)
    yield "bundled shakespeare, one text", both(seqgen.load("shakespeare").model, 1)
    names = seqgen.load("names")
    yield (
        "bundled names, 64 at once, ends counted, what is behind them not",
        {loop: sampled(names, 64, loop, seconds) for loop in ("plain", "compiled")},
    )
    for vectors in (NADE, MADE, FVSBN):
        sizes: dict[str, Any] = {NADE: {"hidden": 500}, MADE: {"hidden": [500]}}.get(vectors, {})
        model = vectors(Bernoulli(), dimensions=784, **sizes)
        yield f"{vectors.__name__} 784 x 500, samples of 784 symbols, one at a time", both(model, 1, 784)
    picture = partial(PixelCNN, Bernoulli(), height=28, width=28)
    yield "gated PixelCNN 10 x 128, 16 digits", both(picture(gated=True, depth=10, filters=128, end=128), 16, 784)
    yield "PixelCNN 5 x 64, 16 digits", both(picture(depth=5, filters=64), 16, 784)
    texts = names.sample(NAMES, seed=1)
    symbols = sum(map(len, texts)) + len(texts)
    yield "scoring names", {"Pipeline.totals": scoring(lambda: names.totals(texts), symbols, seconds)}
    voice = seqgen.load("digits-speech")
    noise = np.random.default_rng(1).standard_normal(SECONDS * 8000).astype(np.float32) / 10
    clip = Clip(noise, 8000)
    yield (
        f"scoring {SECONDS} s of sound",
        {"Pipeline.totals": scoring(lambda: voice.totals([clip]), len(noise), seconds)},
    )


def both_loops(model: Model, batch: int, length: int = 1 << 20, *, seconds: float) -> dict[str, Contender]:
    """The plain loop and the compiled one."""
    return {loop: drawing(model, batch, loop, seconds, length) for loop in ("plain", "compiled")}


def drawing(model: Model, batch: int, loop: Any, seconds: float, length: int = 1 << 20) -> Contender:
    """Symbols of all rows, noise included; sequences of `length` begin anew."""
    model.eval()

    def work() -> Iterator[float]:
        while True:
            for chunk in generate.chunks(model, generate.Noise(batch, length, 1), loop=loop):
                yield chunk.numel()

    return lambda: timed(work(), seconds)


def sampled(pipeline: Pipeline, n: int, engine: Any, seconds: float) -> Contender:
    """Symbols of whole items."""

    def work() -> Iterator[float]:
        while True:
            items = pipeline.sample(n, seed=1, engine=engine)
            yield sum(map(len, items)) + n

    return lambda: timed(work(), seconds)


def scoring(score: Callable[[], Any], symbols: int, seconds: float) -> Contender:
    """Symbols scored."""

    def work() -> Iterator[float]:
        while True:
            score()
            yield symbols

    return lambda: timed(work(), seconds)


def products() -> float:
    """GFLOP/s of products of matrices on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    best = min(elapsed(lambda: a @ b) for _ in range(30))
    torch.set_num_threads(threads)
    return 2 * 512**3 / best / 1e9


@njit(nogil=True)
def _sum(weights: Any) -> Any:
    a = b = c = d = splat(F(0.0))
    for k in range(0, len(weights), 64):
        a, b = add(a, load(weights, k)), add(b, load(weights, k + 16))
        c, d = add(c, load(weights, k + 32)), add(d, load(weights, k + 48))
    return total(add(add(a, b), add(c, d)))


def reads(size: float) -> float:
    """GB/s at which one thread reads that many MB again and again."""
    weights = np.ones(int(size * 1e6 / 256) * 64, np.float32)
    repeats = max(1, int(50 / size))
    best = min(elapsed(lambda: [_sum(weights) for _ in range(repeats)]) for _ in range(10))
    return weights.nbytes * repeats / best / 1e9


def elapsed(call: Callable[[], Any]) -> float:
    """Seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
