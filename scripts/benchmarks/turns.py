"""Timing of contenders that run alternately."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from seqgen.inference import generate
from seqgen.model import Model

LEARNING = {"lr": 2e-3, "betas": (0.9, 0.99), "weight_decay": 0.0, "fused": True}

Contender = Callable[[], float]
"""A function that runs once and returns its speed, in symbols per second."""


def take_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, dict[str, float]]:
    """Run contenders alternately, after a round to warm up.

    For each contender: median, least and most speed in symbols per second, and the median ratio to the first contender.
    """
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            speed = run()
            if turn:
                speeds[name].append(speed)
    (base, *_) = speeds.values()
    return {
        name: {
            "median": statistics.median(own),
            "least": min(own),
            "most": max(own),
            "ratio": statistics.median(a / b for a, b in zip(own, base, strict=True)),
        }
        for name, own in speeds.items()
    }


def timed(work: Iterator[float], seconds: float) -> float:
    """Speed of `work` in symbols per second; it yields the number of symbols done since the last yield."""
    begin, done = time.perf_counter(), 0
    for count in work:
        done += count
        if (spent := time.perf_counter() - begin) >= seconds:
            break
    return done / spent


def steps(
    module: nn.Module,
    loss: Callable[[Tensor], Tensor],
    draw: Callable[[], Tensor],
    predicted: int,
    seconds: float,
    mixed: bool = False,
) -> Contender:
    """Training steps with AdamW.

    Args:
        module: The model, whose parameters are trained.
        loss: Maps a batch to its loss.
        draw: Returns a batch.
        predicted: Symbols with a loss in each batch.
        seconds: Approximate time of a run.
        mixed: Whether to use bfloat16 autocast.
    """
    optimizer = torch.optim.AdamW(module.parameters(), **LEARNING)

    def work() -> Iterator[int]:
        while True:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                nats = loss(draw())
            nats.backward()
            optimizer.step()
            yield predicted

    return lambda: timed(work(), seconds)


def streamed(model: Model) -> Callable[[Tensor], Iterator[Tensor]]:
    """A function that maps noise (B, T) to a model's symbols (B,), one position after the other."""
    return lambda noise: generate.columns(generate.chunks(model, noise))


def drawing(stream: Callable[[Tensor], Iterator[Tensor]], batch: int, seconds: float) -> Contender:
    """Sampling by `stream`, which maps noise (B, T) to symbols (B,); generating the noise is included."""
    seeds = itertools.count()

    def work() -> Iterator[int]:
        while True:
            for symbols in stream(generate.draw_noise(batch, 1000, next(seeds))):
                yield len(symbols)

    return lambda: timed(work(), seconds)


def repeating(calls: list[Callable[[], Any]], batch: int, seconds: float) -> Contender:
    """The given operations alone, repeated; one round of them counts as `batch` symbols."""

    @torch.inference_mode()
    def work() -> Iterator[int]:
        while True:
            for call in calls:
                call()
            yield batch

    return lambda: timed(work(), seconds)
