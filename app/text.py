"""Writing texts: one that streams, or many short ones at once; either can be stopped at the next symbol."""

import random
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, NamedTuple, TypeVar

from seqgen_app.limits import Clock, Limits, Refused
from seqgen_app.shelf import Entry

T = TypeVar("T")
EVERY = 0.08
"""Seconds between two looks at what is being written."""


class Written(NamedTuple):
    """What there is so far: texts, the seed of all or of the first, and whether that was all."""

    texts: list[str]
    seed: int
    done: bool
    note: str


class Wish(NamedTuple):
    """What is asked of a model of text, checked."""

    prompt: str
    length: int
    n: int
    label: dict[str, str]
    sampling: dict[str, Any]
    seed: int


def wish(
    entry: Entry,
    limits: Limits,
    prompt: Any = "",
    length: Any = 400,
    n: Any = 1,
    label: Any = None,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
    seed: Any = None,
) -> Wish:
    """The wish, with a seed of its own where none is said. Raises Refused, and SeqgenError for a prompt's symbols."""
    checked = Wish(
        limits.text("The beginning", prompt, limits.prompt),
        limits.whole("The length", length, 1, limits.length),
        limits.whole("How many", n, 1, limits.samples),
        entry.label(label),
        limits.sampling(temperature, top_k, top_p),
        new_seed(limits.seed(seed)),
    )
    if checked.n * checked.length > limits.samples * limits.length / 4:
        raise Refused(f"{checked.n} texts of {checked.length} characters are too much at once; ask for fewer.")
    entry.pipeline.codec.encode(checked.prompt)  # before anything is shown
    return checked


def new_seed(seed: int | None) -> int:
    """The seed, or one that nobody has chosen."""
    return random.SystemRandom().getrandbits(31) if seed is None else seed


def write(entry: Entry, limits: Limits, wished: Wish) -> Iterator[Written]:
    """The texts as they grow. One text streams; several are drawn together and come when they are done."""
    return (_one if wished.n == 1 else _many)(entry, limits.clock(), wished)


def _one(entry: Entry, clock: Clock, wished: Wish) -> Iterator[Written]:
    pieces = entry.pipeline.stream(
        prompt=wished.prompt, length=wished.length, label=wished.label, seed=wished.seed, **wished.sampling
    )
    text, shown = "", -1.0
    for piece in pieces:
        text += piece
        if clock.over:
            yield Written([text], wished.seed, True, f"stopped after {clock.seconds:.0f} s")
            return
        if len(text) > len(wished.prompt) and clock.seconds - shown > EVERY:
            yield Written([text], wished.seed, False, "")
            shown = clock.seconds
    yield Written([text], wished.seed, True, "")


def _many(entry: Entry, clock: Clock, wished: Wish) -> Iterator[Written]:
    def call(watch: Callable[[int, int], None]) -> list[str]:
        return entry.pipeline.sample(
            wished.n,
            prompt=wished.prompt,
            length=wished.length,
            label=wished.label,
            seed=wished.seed,
            watch=watch,
            **wished.sampling,
        )

    yield Written([], wished.seed, False, "")
    texts = yield from _watched(call, clock, Written([], wished.seed, False, ""))
    yield Written(texts, wished.seed, True, "")


def _watched(
    call: Callable[[Callable[[int, int], None]], T], clock: Clock, waiting: Written
) -> Generator[Written, None, T]:
    """Run call(watch) in a thread; whoever closes this generator stops it at its next symbol, as the deadline does."""
    stopped = threading.Event()

    def watch(done: int, most: int) -> None:
        if stopped.is_set():
            raise Refused("Stopped.")
        clock.check()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, watch)
        try:
            while not wait([future], EVERY).done:
                yield waiting
            return future.result()
        finally:
            stopped.set()
