"""Requests to models of sound: sampling piece by piece, reading uploaded clips, and scoring."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import soxr

from seqgen.codecs.sound import Sound
from seqgen.inference.score import Total
from seqgen.media import audio
from seqgen.media.audio import AudioError, Clip
from seqgen_app.catalog import Entry
from seqgen_app.limits import Deadline, Limits, Refused
from seqgen_app.scores import scored

FIRST, INTERVAL = 0.05, 0.5
"""Seconds until the first piece of a clip, and between two later ones at most."""
STREAM_RATE = 48000
"""Hz of a clip that plays while it is sampled: at this rate the encoder's blocks of 1,024 samples are short."""
STREAM_START = 0.08
"""Seconds of sound before a stream is opened; a player that finds an empty stream waits for long."""


class StreamResampler:
    """Resamples a clip that comes in pieces, for a player, without a seam between the pieces."""

    def __init__(self, rate: int) -> None:
        self.resampler = soxr.ResampleStream(rate, STREAM_RATE, 1, dtype="float32", quality="HQ")
        self.waiting: list[np.ndarray] = []
        self.seconds = 0.0

    def push(self, piece: Clip, last: bool) -> tuple[int, np.ndarray] | None:
        """The rate and samples int16 (N,) that can be played after this piece; None where there are none yet."""
        self.seconds += piece.seconds
        self.waiting.append(self.resampler.resample_chunk(piece.samples, last=last))
        if self.seconds < STREAM_START and not last:
            return None
        samples, self.waiting = np.concatenate(self.waiting), []
        return (STREAM_RATE, audio.pcm(samples)) if len(samples) else None


class SoundRequest(NamedTuple):
    """A request for a clip, checked. A model with features takes a `condition`, other models may take a `prompt`."""

    length: int  # samples
    label: dict[str, str]
    sampling: dict[str, Any]
    seed: int
    prompt: Clip | None
    condition: Clip | None

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `Pipeline.stream`."""
        arguments = {name: getattr(self, name) for name in ("length", "label", "seed", "prompt", "condition")}
        return {**arguments, **self.sampling}


class SampledClip(NamedTuple):
    """What has been sampled so far: the `new` piece, the whole clip, and the seconds `took`; the last is `done`."""

    new: Clip
    clip: Clip
    seed: int
    took: float
    done: bool = False
    note: str = ""

    @property
    def speed(self) -> float:
        """Seconds of sound sampled in a second."""
        return self.clip.seconds / max(1e-9, self.took)


def is_vocoder(entry: Entry) -> bool:
    """Whether the model is conditioned on the mel spectrogram of a clip."""
    return entry.pipeline.features is not None


def sample_rate(entry: Entry) -> int:
    """Samples per second of the model's clips, Hz."""
    codec = entry.pipeline.codec
    assert isinstance(codec, Sound)  # as those of all models in this tab
    return codec.rate


def usual_seconds(entry: Entry, limits: Limits) -> float:
    """The longest clip where nobody says how long: all of a vocoder's clip, else one second."""
    return limits.seconds if is_vocoder(entry) else min(1.0, limits.seconds)


def check(
    entry: Entry,
    limits: Limits,
    seconds: Any = None,
    label: Any = None,
    temperature: Any = 1.0,
    seed: Any = None,
    clip: Any = None,
) -> SoundRequest:
    """The request; `clip` is the path of a file, which conditions a vocoder and is the prompt of other models.

    Raises Refused.
    """
    rate = sample_rate(entry)
    longest = usual_seconds(entry, limits) if seconds is None else seconds
    length = entry.modality.symbols(entry.pipeline.codec, limits.number("Seconds", longest, 0.05, limits.seconds))
    sampling = limits.sampling(temperature)
    given = None if clip is None else read(clip, rate, limits)
    condition = None
    if is_vocoder(entry):
        if given is None:
            raise Refused("This model is a vocoder: upload or record a clip whose mel spectrogram conditions it.")
        length = min(length, len(given.samples))
        condition, given = Clip(given.samples[:length], rate), None
    return SoundRequest(length, entry.label(label), sampling, limits.seed(seed), given, condition)


def sample(entry: Entry, limits: Limits, request: SoundRequest) -> Iterator[SampledClip]:
    """The clip as it grows, the prompt first. Raises Refused for a clip that ends before its first sample."""
    deadline, rate = Deadline(limits.deadline), sample_rate(entry)
    parts: list[np.ndarray] = [np.zeros(0, np.float32)]
    sent, shown, note = 0, 0.0, ""
    for piece in entry.pipeline.stream(**request.arguments):
        parts.append(piece.samples)
        if deadline.passed:
            note = f"Stopped after {deadline.elapsed:.0f} s. "
            break
        if deadline.elapsed - shown > min(INTERVAL, max(FIRST, shown)):  # at twice the rate of sound it never stops
            samples = np.concatenate(parts)
            yield SampledClip(Clip(samples[sent:], rate), Clip(samples, rate), request.seed, deadline.elapsed)
            sent, shown = len(samples), deadline.elapsed
    samples = np.concatenate(parts)
    if not len(samples):
        raise Refused("The model drew the end symbol before the first sample; try another seed.")
    whole, took = Clip(samples, rate), deadline.elapsed
    note = note or entry.remark([whole], length=request.length)
    yield SampledClip(Clip(samples[sent:], rate), whole, request.seed, took, True, note.strip())


def read(path: Any, rate: int, limits: Limits) -> Clip:
    """An uploaded clip, resampled to `rate`; no more of it is read than a clip may have. Raises Refused."""
    if not isinstance(path, str):
        raise Refused(f"The clip is a {type(path).__name__}, expected a sound file.")
    parts, most = [np.zeros(0, np.float32)], limits.clip * rate
    try:
        for block in audio.blocks(path, rate):
            parts.append(block)
            if sum(map(len, parts)) > most:
                raise Refused(f"The clip is longer than {limits.clip:g} s; use a shorter one.")
    except AudioError as error:  # its message names the file, whose path on the server is nobody's business
        raise Refused(str(error).replace(repr(path), "The clip").replace(path, "the clip")) from None
    samples = np.concatenate(parts)
    if not len(samples):
        raise Refused("The clip is too short: it has no sample at the model's rate.")
    return Clip(samples, rate)


class ScoredClip(NamedTuple):
    """The score of a clip: the clip at the model's rate, its total, -log2 p of every sample (N,), and its p-value."""

    total: Total
    clip: Clip
    bits: np.ndarray
    p_value: float | None


def score(entry: Entry, limits: Limits, clip: Any, label: Any = None) -> ScoredClip:
    """The score of an uploaded clip, given the path. Raises Refused."""
    if clip is None:
        raise Refused("There is nothing to score: upload or record a clip.")
    found = read(clip, sample_rate(entry), limits)
    return score_clip(entry, limits, found, entry.label(label), found if is_vocoder(entry) else None)


def score_clip(entry: Entry, limits: Limits, clip: Clip, label: dict[str, str], condition: Clip | None) -> ScoredClip:
    """The score of a clip at the model's rate, which has at least one sample.

    Bits and total leave the end symbol out, because the clip may go on; the p-value counts it, as held-out clips were
    scored with it.
    """
    pieces = entry.pipeline.score_pieces([clip], label=label, condition=condition)
    whole = scored(entry, limits, pieces, label)
    bits = np.concatenate([-part.log_probs.numpy() / math.log(2) for part in whole.parts])[: len(clip.samples)]
    total = dataclasses.replace(whole.total, nats=float(bits.sum()) * math.log(2), symbols=len(bits))
    return ScoredClip(total, clip, bits, whole.p_value)
