"""Batches whose order is a pure function of (seed, epoch), so that training resumes exactly."""

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
"""The weights are chosen on `val` and p-values are ranks among `calibration`; `test` chooses nothing."""


class Loader:
    """An iterable over the batches of one epoch after another; it knows its place and can be put back there.

    `epoch` maps the number of an epoch and a position to the batches from there on, each made when it is asked for;
    a whole epoch has `length` of them. Training goes on where a pass over them ended; with `whole`, as for what is held
    out, each pass begins at the first, however far the one before it went.
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
        """Epoch and position within it."""
        return {"epoch": self._number, "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to the place that `state_dict` told."""
        self._number, self._position = state["epoch"], state["position"]


def store(pieces: Iterable[Tensor], size: int) -> np.ndarray:
    """Symbols below `size` from many pieces as one array (N,) on disk, in a file that vanishes with the process."""
    dtype = np.min_scalar_type(size)
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=cache()) as file:
        for piece in pieces:
            file.write(piece.numpy().astype(dtype).tobytes())
        count = file.tell() // dtype.itemsize
        file.flush()
        return np.memmap(file, dtype, "r") if count else np.zeros(0, dtype)


def counts(total: int, shares: Sequence[float]) -> list[int]:
    """How many of `total` each share is: a fraction below 1, or a whole number of 1 and more. Raises DataError."""
    for share in shares:
        if not 0 <= share < math.inf or (share > 1 and share % 1):
            raise DataError(f"a held-out share is {share}, expected a fraction below 1 or a whole number")
    found = [round(share * total) if share < 1 else int(share) for share in shares]
    if sum(found) >= total:
        raise DataError(f"held-out shares {list(shares)} leave nothing of {total} to train on")
    return found


def rng(*numbers: int) -> np.random.Generator:
    """The generator that belongs to these numbers, such as (seed, epoch)."""
    return np.random.default_rng(numbers)


def tensor(array: np.ndarray) -> Tensor:
    """Symbols as int64."""
    return torch.from_numpy(array.astype(np.int64))
