"""Scores of texts and clips, as plain numbers."""

import math
from typing import Any, NamedTuple

import numpy as np

from seqgen.audio import Clip
from seqgen.score import Scores, Total
from seqgen_app import sound
from seqgen_app.limits import Clock, Limits, Refused
from seqgen_app.shelf import Entry


class Symbol(NamedTuple):
    """One symbol of a scored text: its surprise and the model's uncertainty in bits, and its rank, 1 for the first."""

    name: str
    bits: float
    rank: int | None
    entropy: float | None


class ScoredText(NamedTuple):
    """A text's total and its symbols."""

    total: Total
    symbols: list[Symbol]
    end_counted: bool


class ScoredClip(NamedTuple):
    """A clip as the model hears it, its total, and the surprise of every sample in bits."""

    total: Total
    clip: Clip
    bits: np.ndarray


def score_text(entry: Entry, limits: Limits, text: Any, label: Any = None) -> ScoredText:
    """Raises Refused, and ValueError for a character that the model does not know."""
    text = limits.text("The text", text, limits.scored)
    if not text:
        raise Refused("There is nothing to score: paste a text.")
    parts = _within(limits.clock(), entry.pipeline.score_pieces([text], label=entry.label(label)))
    symbols = [symbol for part in parts for symbol in _symbols(part)]
    total = sum((part.total for part in parts), Total(unit=entry.pipeline.codec.unit))
    return ScoredText(total, symbols, parts[-1].end_counted)


def score_clip(entry: Entry, limits: Limits, clip: Any, label: Any = None) -> ScoredClip:
    """Raises Refused."""
    if clip is None:
        raise Refused("There is nothing to score: hand in a clip, or record one.")
    heard = sound.read(clip, entry.rate, limits)
    return score_heard(entry, limits, heard, entry.label(label), heard if entry.vocoder else None)


def score_heard(entry: Entry, limits: Limits, heard: Clip, label: dict[str, str], condition: Clip | None) -> ScoredClip:
    """The score of a clip at the model's rate that holds a sample or more."""
    pieces = entry.pipeline.score_pieces([heard], label=label, condition=condition, end=False)
    parts = _within(limits.clock(), pieces)
    bits = np.concatenate([-part.log_probs.numpy() / math.log(2) for part in parts])
    return ScoredClip(sum((part.total for part in parts), Total(unit=entry.pipeline.codec.unit)), heard, bits)


def _within(clock: Clock, pieces: Any) -> list[Scores]:
    parts = []
    for part in pieces:
        parts.append(part)
        if clock.over:
            raise Refused(f"This took more than {clock.deadline:.0f} s and was stopped; ask for less.")
    return parts


def _symbols(part: Scores) -> list[Symbol]:
    bits = (-part.log_probs / math.log(2)).tolist()
    ranks = [None] * len(bits) if part.ranks is None else part.ranks.tolist()
    entropies = [None] * len(bits) if part.entropies is None else (part.entropies / math.log(2)).tolist()
    return [Symbol(*row) for row in zip(part.names, bits, ranks, entropies, strict=True)]
