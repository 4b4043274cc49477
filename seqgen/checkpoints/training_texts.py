"""The texts that a model was trained on, as hashes, to tell new samples from memorised ones."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

WIDTH = 8  # bytes of a hash: among a million texts, one in 10^13 others is taken for one of them


@dataclass(frozen=True)
class TrainingTexts:
    """A set of texts by their hashes: it tells whether a text is among them and gives none of them away.

    >>> texts = TrainingTexts.of(["Maria"])
    >>> "Maria" in texts, "Mario" in texts
    (True, False)
    """

    hashes: frozenset[bytes]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """The set of these texts."""
        return cls(frozenset(map(_hash, texts)))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The set that was stored as bytes."""
        return cls(frozenset(data[place : place + WIDTH] for place in range(0, len(data), WIDTH)))

    def __bytes__(self) -> bytes:
        return b"".join(sorted(self.hashes))

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, text: str) -> bool:
        return _hash(text) in self.hashes


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=WIDTH).digest()
