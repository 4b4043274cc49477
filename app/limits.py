"""What a visitor may ask for: one object that judges what comes from sliders, text boxes and the raw API alike."""

import re
import time
from dataclasses import dataclass
from typing import Any

from seqgen.config import SeqgenError


class Refused(SeqgenError):
    """A request that is not carried out; the message is for the visitor, in plain words and without paths."""


@dataclass(frozen=True)
class Limits:
    """Bounds of requests and of the server. Every check returns the value to use or raises Refused."""

    length: int = 2000  # characters of a text that is written
    prompt: int = 2000  # characters
    scored: int = 5000  # characters
    samples: int = 50
    pictures: int = 25  # that are drawn at once
    pixels: int = 16_000_000  # of a picture that is handed in
    temperatures: int = 4  # side by side
    temperature: float = 3.0
    top_k: int = 1000
    seconds: float = 10.0  # of sound that is made
    clip: float = 20.0  # seconds of sound that is handed in
    upload: int = 10_000_000  # bytes of a file
    body: int = 1_000_000  # bytes of any other request
    depth: int = 12  # of nested JSON
    queue: int = 32  # requests that wait
    running: int = 2  # requests at work
    sessions: int = 100  # whose settings are remembered
    deadline: float = 120.0  # seconds that a request may take
    age: int = 3600  # seconds that files are kept

    def number(self, name: str, value: Any, least: float, most: float) -> float:
        """A finite number from `least` to `most`."""
        if not _number(value) or not least <= value <= most:  # of NaN neither holds
            raise Refused(f"{name} is {_short(value)}, expected a number from {least:g} to {most:g}.")
        return float(value)

    def whole(self, name: str, value: Any, least: int, most: int) -> int:
        """A whole number from `least` to `most`; browsers send 5 as 5.0 at times."""
        if not _number(value) or not least <= value <= most or value != int(value):
            raise Refused(f"{name} is {_short(value)}, expected a whole number from {least} to {most}.")
        return int(value)

    def yes(self, name: str, value: Any) -> bool:
        """A yes or a no."""
        if not isinstance(value, bool):
            raise Refused(f"{name} is {_short(value)}, expected true or false.")
        return value

    def text(self, name: str, value: Any, most: int) -> str:
        """A text of at most so many characters; nothing is the empty one."""
        if value is not None and not isinstance(value, str):
            raise Refused(f"{name} is {_short(value)}, expected a text.")
        text: str = value or ""
        if len(text) > most:
            raise Refused(f"{name} has {len(text):,} characters, expected {most:,} at most.")
        return text

    def seed(self, value: Any) -> int | None:
        """A seed, as a number or in digits; nothing stands for a new one."""
        if isinstance(value, str) and re.fullmatch(r"\s*\d{1,10}\s*", value, re.ASCII):
            value = int(value)
        return None if value is None or value == "" else self.whole("The seed", value, 0, 2**31 - 1)

    def sampling(self, temperature: Any, top_k: Any = 0, top_p: Any = 1.0) -> dict[str, Any]:
        """The arguments of Pipeline.sample and stream that shape the distribution."""
        top_p = self.number("Top-p", top_p, 0, 1)
        if top_p == 0:
            raise Refused("Top-p is 0, expected more than 0 and at most 1.")
        return {
            "temperature": self.number("The temperature", temperature, 0, self.temperature),
            "top_k": self.whole("Top-k", top_k, 0, self.top_k),
            "top_p": top_p,
        }

    def clock(self) -> "Clock":
        """A new deadline, from now on."""
        return Clock(self.deadline)


class Clock:
    """The time that one request has taken, and whether that is too much."""

    def __init__(self, deadline: float) -> None:
        self.began, self.deadline = time.monotonic(), deadline

    @property
    def seconds(self) -> float:
        """Since the request began."""
        return time.monotonic() - self.began

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self.seconds > self.deadline

    def check(self) -> None:
        """Raises Refused once the deadline has passed."""
        if self.over:
            raise Refused(f"This took more than {self.deadline:.0f} s and was stopped; ask for less.")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    """A value as a message may show it."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value) if isinstance(value, str | int | float | bool | None) else type(value).__name__
    return text if len(text) <= 40 else f"{text[:40]}..."
