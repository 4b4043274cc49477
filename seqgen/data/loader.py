"""Resumable loaders of batches: the order is a pure function of (seed, epoch), so that training resumes exactly."""

import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqgen.data.fetch import cache
from seqgen.media.files import DataError
from seqgen.model import Batch

PARTS = ("train", "val", "calibration", "test")
"""`val` selects the weights, p-values are ranks among the scores of `calibration`, and `test` selects nothing."""


class Loader:
    """Iterates over the batches of an epoch, and saves and restores its position.

    After an epoch is finished, the next `iter` starts the next epoch; after an interrupted one, it continues there.

    Args:
        epoch: Maps an epoch's number and a position to an iterable over its batches from that position on, which are
            computed lazily.
        length: Number of batches per epoch.
        whole: Whether each `iter` starts at the first batch, as for held-out data.
    """

    def __init__(self, epoch: Callable[[int, int], Iterable[Batch]], length: int, whole: bool = False) -> None:
        self._epoch = epoch
        self._length = length
        self._whole = whole
        self._number = 0
        self._position = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        if self._whole:
            self._position = 0
        elif self._position >= self._length:
            self._number, self._position = self._number + 1, 0
        for batch in self._epoch(self._number, self._position):
            self._position += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """The number of the epoch and the position within it."""
        return {"epoch": self._number, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position saved by `state_dict`."""
        self._number, self._position = state["epoch"], state["position"]


def store(pieces: Iterable[Tensor], size: int) -> np.ndarray:
    """Concatenate pieces of symbols in a memory-mapped array (N,), in a temporary file deleted with the process.

    Symbols are below `size`, which determines the array's integer type.
    """
    dtype = np.min_scalar_type(size)
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache()) as file:
        for piece in pieces:
            file.write(piece.numpy().astype(dtype).tobytes())
        count = file.tell() // dtype.itemsize
        file.flush()
        return np.memmap(file, dtype, "r") if count else np.zeros(0, dtype)


def counts(total: int, shares: Sequence[float]) -> list[int]:
    """Number of items for each held-out share of `total` items: a fraction below 1, or a number of items.

    Raises DataError for an invalid share, and if nothing is left for training.
    """
    for share in shares:
        if not 0 <= share < math.inf or (share > 1 and share % 1):
            raise DataError(f"a held-out share is {share}, expected a fraction below 1 or a whole number")
    found = [round(share * total) if share < 1 else int(share) for share in shares]
    if sum(found) >= total:
        raise DataError(f"held-out shares {list(shares)} leave nothing of {total} to train on")
    return found


def rng(*numbers: int) -> np.random.Generator:
    """A random number generator seeded by these numbers, such as (seed, epoch)."""
    return np.random.default_rng(numbers)


def tensor(array: np.ndarray) -> Tensor:
    """Symbols (N,) as an int64 tensor."""
    return torch.from_numpy(array.astype(np.int64))
