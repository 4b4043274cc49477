"""The texts that a model was trained on, to tell what it made up from what it knew."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from seqgen.checkpoints.folder import CheckpointError, find
from seqgen.data.evaluation import description, opened
from seqgen.pipeline import Pipeline

HASHES = "training.hashes"
"""Beside a bundled model: the hashes of the texts, one behind the other, sorted."""
WIDTH = 8  # bytes of a hash: of a million texts, one in 10^13 others is taken for one of them


@dataclass(frozen=True)
class Seen:
    """A set of texts by their hashes: it tells whether a text is among them, and gives none of them away."""

    hashes: frozenset[bytes]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """These texts."""
        return cls(frozenset(map(_hash, texts)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `bytes` gave."""
        return cls(frozenset(data[place : place + WIDTH] for place in range(0, len(data), WIDTH)))

    def __bytes__(self) -> bytes:
        return b"".join(sorted(self.hashes))

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, text: str) -> bool:
        return _hash(text) in self.hashes


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=WIDTH).digest()


def seen(path: str | Path, pipeline: Pipeline) -> Seen | None:
    """The training part of a model of short texts; None where it is not known, and for models of anything else."""
    if (kept := find(path) / HASHES).is_file():
        return Seen.from_bytes(kept.read_bytes())
    try:
        told = description(Path(path))
    except CheckpointError:  # no run folder
        return None
    return _training_part(path, pipeline) if told["class_path"].rpartition(".")[2] == "Lines" else None


def _training_part(path: str | Path, pipeline: Pipeline) -> Seen | None:
    from seqgen.data.corpus import DataError
    from seqgen.data.lines import Lines

    try:
        data = opened(pipeline, path)
    except (CheckpointError, DataError):  # the file has changed, or is gone
        return None
    return Seen.of(data.texts("train")) if isinstance(data, Lines) else None
