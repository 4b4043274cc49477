"""Scores of texts and clips, as plain numbers."""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from seqgen.inference.score import Scores, Total
from seqgen.media.audio import Clip
from seqgen_app import image, sound
from seqgen_app.limits import Clock, Limits, Refused
from seqgen_app.shelf import Entry


class Symbol(NamedTuple):
    """One symbol of a scored text: its surprise and the model's uncertainty in bits, and its rank, 1 for the first."""

    name: str
    bits: float
    rank: int | None
    entropy: float | None


class ScoredText(NamedTuple):
    """A text's total, its symbols, and the rank p-value of the whole where the model has held-out scores."""

    total: Total
    symbols: list[Symbol]
    end_counted: bool
    p_value: float | None


class ScoredClip(NamedTuple):
    """A clip as the model hears it, its total, the surprise of every sample in bits, and the rank p-value."""

    total: Total
    clip: Clip
    bits: np.ndarray
    p_value: float | None


class ScoredImage(NamedTuple):
    """A picture as the model sees it, its total, the surprise (H, W) of every pixel in bits, and the rank p-value."""

    total: Total
    picture: np.ndarray
    bits: np.ndarray
    p_value: float | None


def score_text(entry: Entry, limits: Limits, text: Any, label: Any = None) -> ScoredText:
    """Raises Refused, and SeqgenError for a character that the model does not know."""
    text = limits.text("The text", text, limits.scored)
    if not text:
        raise Refused("There is nothing to score: paste a text.")
    said = entry.label(label)
    parts = _within(limits.clock(), entry.pipeline.score_pieces([text], label=said))
    symbols = [symbol for part in parts for symbol in _symbols(part)]
    total = sum((part.total for part in parts), Total(unit=entry.pipeline.codec.unit))
    return ScoredText(total, symbols, parts[-1].end_counted, entry.p_value(total, said))


def score_clip(entry: Entry, limits: Limits, clip: Any, label: Any = None) -> ScoredClip:
    """Raises Refused."""
    if clip is None:
        raise Refused("There is nothing to score: hand in a clip, or record one.")
    heard = sound.read(clip, entry.rate, limits)
    return score_heard(entry, limits, heard, entry.label(label), heard if entry.vocoder else None)


def score_heard(entry: Entry, limits: Limits, heard: Clip, label: dict[str, str], condition: Clip | None) -> ScoredClip:
    """The score of a clip at the model's rate that holds a sample or more.

    The clip may go on, so its end, where the model has one, counts in the p-value alone, as it does in held-out clips.
    """
    pieces = entry.pipeline.score_pieces([heard], label=label, condition=condition)
    parts = _within(limits.clock(), pieces)
    whole = sum((part.total for part in parts), Total(unit=entry.pipeline.codec.unit))
    bits = np.concatenate([-part.log_probs.numpy() / math.log(2) for part in parts])[: len(heard.samples)]
    total = dataclasses.replace(whole, nats=float(bits.sum()) * math.log(2), symbols=len(bits))
    return ScoredClip(total, heard, bits, entry.p_value(whole, label))


def score_image(entry: Entry, limits: Limits, picture: Any, label: Any = None, invert: Any = False) -> ScoredImage:
    """Raises Refused."""
    if picture is None:
        raise Refused("There is nothing to score: hand in a picture.")
    seen, said = image.read(picture, entry.pixels, limits, invert), entry.label(label)
    scores = entry.pipeline.score(seen, label=said)
    bits = (-scores.log_probs / math.log(2)).reshape(*seen.shape[:2], -1).sum(2).numpy()
    return ScoredImage(scores.total, seen, bits, entry.p_value(scores.total, said))


def _within(clock: Clock, pieces: Any) -> list[Scores]:
    parts = []
    for part in pieces:
        parts.append(part)
        clock.check()
    return parts


def _symbols(part: Scores) -> list[Symbol]:
    bits = (-part.log_probs / math.log(2)).tolist()
    ranks = [None] * len(bits) if part.ranks is None else part.ranks.tolist()
    entropies = [None] * len(bits) if part.entropies is None else (part.entropies / math.log(2)).tolist()
    return [Symbol(*row) for row in zip(part.names, bits, ranks, entropies, strict=True)]
