"""What a visitor may ask for: checks of values from sliders, text boxes and endpoints alike, and deadlines."""

import random
import re
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from seqgen.config import SeqgenError

T = TypeVar("T")
W = TypeVar("W")
INTERVAL = 0.08
"""Seconds between two looks at a call that runs in a thread."""


class Refused(SeqgenError):
    """A request that is not carried out; the message is for the visitor, in plain words and without paths."""


@dataclass(frozen=True)
class Limits:
    """Bounds of requests and of the server. Every check returns the value to use or raises Refused."""

    length: int = 2000  # symbols of a sample of text
    prompt: int = 2000  # characters
    scored: int = 5000  # characters
    samples: int = 50
    pictures: int = 25  # sampled at once
    pixels: int = 16_000_000  # of an uploaded picture
    temperatures: int = 4  # compared at once
    temperature: float = 3.0
    top_k: int = 1000
    seconds: float = 10.0  # of a sampled clip
    clip: float = 20.0  # seconds of an uploaded clip
    upload: int = 10_000_000  # bytes of a file
    body: int = 1_000_000  # bytes of any other request
    depth: int = 12  # of nested JSON
    queue: int = 32  # requests that wait
    running: int = 2  # requests at work
    sessions: int = 100  # whose state is kept
    deadline: float = 120.0  # seconds that a request may take
    age: int = 3600  # seconds that files are kept

    def number(self, name: str, value: Any, least: float, most: float) -> float:
        """A finite number from `least` to `most`."""
        if not _is_number(value) or not least <= value <= most:  # false for NaN
            raise Refused(f"{name} is {_short(value)}, expected a number from {least:g} to {most:g}.")
        return float(value)

    def whole(self, name: str, value: Any, least: int, most: int) -> int:
        """A whole number from `least` to `most`; 5.0 is one, which is how browsers may send 5."""
        if not _is_number(value) or not least <= value <= most or value != int(value):
            raise Refused(f"{name} is {_short(value)}, expected a whole number from {least} to {most}.")
        return int(value)

    def boolean(self, name: str, value: Any) -> bool:
        """True or False."""
        if not isinstance(value, bool):
            raise Refused(f"{name} is {_short(value)}, expected true or false.")
        return value

    def text(self, name: str, value: Any, most: int) -> str:
        """A text of at most `most` characters; None counts as the empty text."""
        if value is not None and not isinstance(value, str):
            raise Refused(f"{name} is {_short(value)}, expected a text.")
        text: str = value or ""
        if len(text) > most:
            raise Refused(f"{name} has {len(text):,} characters, expected {most:,} at most.")
        return text

    def seed(self, value: Any) -> int:
        """A seed, given as a number or in digits; None and the empty text draw a new one."""
        if value is None or value == "":
            return random.SystemRandom().getrandbits(31)
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,10}\s*", value, re.ASCII):
            value = int(value)
        return self.whole("The seed", value, 0, 2**31 - 1)

    def budget(self, count: int, length: int, plural: str) -> None:
        """Raises Refused for more symbols in all than a quarter of the most items of the greatest length."""
        if count > 1 and count * length > self.samples * self.length / 4:
            raise Refused(f"{count} {plural} of {length} symbols are too much at once; ask for fewer.")

    def sampling(self, temperature: Any, top_k: Any = 0, top_p: Any = 1.0) -> dict[str, Any]:
        """The arguments of `Pipeline.sample` and `stream` that shape the distribution."""
        top_p = self.number("Top-p", top_p, 0, 1)
        if top_p == 0:
            raise Refused("Top-p is 0, expected more than 0 and at most 1.")
        return {
            "temperature": self.number("The temperature", temperature, 0, self.temperature),
            "top_k": self.whole("Top-k", top_k, 0, self.top_k),
            "top_p": top_p,
        }


class Deadline:
    """The end of a request that begins now and may take `limit` seconds."""

    def __init__(self, limit: float) -> None:
        self.began, self.limit = time.monotonic(), limit

    @property
    def elapsed(self) -> float:
        """Seconds since the request began."""
        return time.monotonic() - self.began

    @property
    def passed(self) -> bool:
        """Whether the request has taken too long."""
        return self.elapsed > self.limit

    def check(self) -> None:
        """Raises Refused once the deadline has passed."""
        if self.passed:
            raise Refused(f"This took more than {self.limit:.0f} s and was stopped; ask for less.")

    def checked(self, parts: Iterable[T]) -> Iterator[T]:
        """The parts of a result. Raises Refused when one of them comes after the deadline."""
        for part in parts:
            yield part
            self.check()


def run_watched(
    call: Callable[[Callable[[int, int], None]], T], deadline: Deadline, waiting: W
) -> Generator[W, None, T]:
    """Run call(watch) in a thread and yield `waiting` until it returns; `watch` is an argument of `Pipeline.sample`.

    The call ends at its next symbol when the deadline passes, which raises Refused, or when this generator is closed.
    """
    closed = threading.Event()

    def watch(done: int, most: int) -> None:
        if closed.is_set():
            raise Refused("Stopped.")
        deadline.check()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, watch)
        try:
            while not wait([future], INTERVAL).done:
                yield waiting
            return future.result()
        finally:
            closed.set()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """A value as a message may show it."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}..."
