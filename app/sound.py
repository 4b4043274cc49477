"""Making sound, piece by piece, and reading the sound that a visitor hands in."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import soxr

from seqgen.media import audio
from seqgen.media.audio import AudioError, Clip
from seqgen_app.limits import Clock, Limits, Refused
from seqgen_app.shelf import Entry
from seqgen_app.text import new_seed

EVERY = 0.5
"""Seconds between two pieces of sound."""


LIVE = 48000
"""Hz of what is heard while it is made: the encoder's blocks of 1,024 samples are short then."""
LEAST = 0.08
"""Seconds of sound before a stream is opened; a player that finds nothing in it waits for long."""


class Live:
    """A sound as it is heard while it is made, resampled without a seam between its pieces."""

    def __init__(self, rate: int) -> None:
        self.resampler = soxr.ResampleStream(rate, LIVE, 1, dtype="float32", quality="HQ")
        self.waiting: list[np.ndarray] = []
        self.seconds = 0.0

    def hear(self, new: Clip, last: bool) -> tuple[int, np.ndarray] | None:
        """The next piece for a player, 16 bits; None while there is too little, and where there is nothing new."""
        self.seconds += new.seconds
        self.waiting.append(self.resampler.resample_chunk(new.samples, last=last))
        if self.seconds < LEAST and not last:
            return None
        samples, self.waiting = np.concatenate(self.waiting), []
        return (LIVE, audio.pcm(samples)) if len(samples) else None


class Spoken(NamedTuple):
    """What is new, all that there is so far, how long it took, and whether that was all."""

    new: Clip
    clip: Clip
    seed: int
    took: float
    done: bool
    note: str

    @property
    def factor(self) -> float:
        """The real-time factor: seconds of sound made in a second."""
        return self.clip.seconds / max(1e-9, self.took)


class Wish(NamedTuple):
    """What is asked of a model of sound, checked."""

    length: int  # samples
    label: dict[str, str]
    sampling: dict[str, Any]
    seed: int
    prompt: Clip | None
    condition: Clip | None


def wish(
    entry: Entry,
    limits: Limits,
    seconds: Any = None,
    label: Any = None,
    temperature: Any = 1.0,
    seed: Any = None,
    clip: Any = None,
) -> Wish:
    """The wish; a clip is what a vocoder is to say again, and what any other model goes on with. Raises Refused.

    Where no seconds are said, they are those of a vocoder's clip, or one.
    """
    usual = limits.seconds if entry.vocoder else min(1.0, limits.seconds)
    seconds = limits.number("Seconds", usual if seconds is None else seconds, 0.05, limits.seconds)
    length = round(seconds * entry.rate)
    sampling = limits.sampling(temperature)
    handed = None if clip is None else read(clip, entry.rate, limits)
    if entry.vocoder and handed is None:
        raise Refused("This model says again what it hears: hand in a clip, or record one.")
    if entry.vocoder:
        assert handed is not None
        length = min(length, len(handed.samples))
        handed = Clip(handed.samples[:length], entry.rate)
    prompt, condition = (None, handed) if entry.vocoder else (handed, None)
    return Wish(length, entry.label(label), sampling, new_seed(limits.seed(seed)), prompt, condition)


def speak(entry: Entry, limits: Limits, wished: Wish) -> Iterator[Spoken]:
    """The clip as it grows, the prompt first. Raises Refused for one that ends before its first sample."""
    clock, pieces = limits.clock(), _pieces(entry, wished)
    parts: list[np.ndarray] = []
    sent, shown = 0, -0.6 * EVERY  # the first piece comes sooner
    for piece in pieces:
        parts.append(piece)
        if clock.over or clock.seconds - shown > EVERY:
            samples = np.concatenate(parts)
            note = f"stopped after {clock.seconds:.0f} s" if clock.over else ""
            yield _spoken(entry, wished, samples, sent, clock, note)
            sent, shown = len(samples), clock.seconds
            if clock.over:
                return
    samples = np.concatenate([np.zeros(0, np.float32), *parts])
    if not len(samples):
        raise Refused("The model ended the clip before its first sample; try another seed.")
    yield _spoken(entry, wished, samples, sent, clock, "")._replace(done=True)


def _pieces(entry: Entry, wished: Wish) -> Iterator[np.ndarray]:
    clips = entry.pipeline.stream(
        prompt=wished.prompt,
        length=wished.length,
        label=wished.label,
        condition=wished.condition,
        seed=wished.seed,
        **wished.sampling,
    )
    return (clip.samples for clip in clips)


def _spoken(entry: Entry, wished: Wish, samples: np.ndarray, sent: int, clock: Clock, note: str) -> Spoken:
    whole = Clip(samples, entry.rate)
    return Spoken(Clip(samples[sent:], entry.rate), whole, wished.seed, clock.seconds, bool(note), note)


def read(path: Any, rate: int, limits: Limits) -> Clip:
    """A clip that was handed in, at `rate`; read no further than it may be long. Raises Refused, without its path."""
    if not isinstance(path, str):
        raise Refused("The clip is none: expected a sound file.")
    parts, most = [np.zeros(0, np.float32)], limits.clip * rate
    try:
        for block in audio.blocks(path, rate):
            parts.append(block)
            if sum(map(len, parts)) > most:
                raise Refused(f"The clip is longer than {limits.clip:g} s; hand in a shorter one.")
    except AudioError as error:
        raise Refused(str(error).replace(repr(path), "The clip").replace(path, "the clip")) from None
    samples = np.concatenate(parts)
    if not len(samples):
        raise Refused("The clip is too short: it holds no sample at the model's rate.")
    return Clip(samples, rate)
