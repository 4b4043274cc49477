"""Contenders, and the turns that they take."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from seqgen.inference import generate

LEARNING = {"lr": 2e-3, "betas": (0.9, 0.99), "weight_decay": 0.0, "fused": True}

Contender = Callable[[], float]
"""Runs once and returns its speed."""


def take_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, dict[str, float]]:
    """Symbols a second: medians over the rounds, and ratios to the first contender; a round before them warms up."""
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
    """Symbols a second of `work`, which yields how many it has done since its last yield."""
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
    """Forward, backward and AdamW on what is drawn, of which so many symbols carry loss; `mixed` is bfloat16."""
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


def drawing(stream: Callable[[Tensor], Iterator[Tensor]], batch: int, seconds: float) -> Contender:
    """Noise and draw included."""
    seeds = itertools.count()

    def work() -> Iterator[int]:
        while True:
            for symbols in stream(generate.draw_noise(batch, 1000, next(seeds))):
                yield len(symbols)

    return lambda: timed(work(), seconds)


def repeating(calls: list[Callable[[], Any]], batch: int, seconds: float) -> Contender:
    """These operations and nothing else, for each symbol of a batch."""

    @torch.inference_mode()
    def work() -> Iterator[int]:
        while True:
            for call in calls:
                call()
            yield batch

    return lambda: timed(work(), seconds)
