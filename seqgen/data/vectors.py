"""Items that all have as many symbols: rows of a table, pictures."""

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from seqgen.data.loader import Loader, rng
from seqgen.data.module import DataModule
from seqgen.media.files import DataError
from seqgen.model import Batch, Context

HELD_OUT = 500
"""Symbols in a batch that no gradient is computed for, in thousands."""
MARGINALS = 2000
"""Rows at most that initialise output biases."""


class Vectors(DataModule):
    """Items of D symbols in batches (B, D); a subclass says where the symbols come from.

    `label_numbers` (N, L) holds their labels. An item's symbols may be drawn anew for every epoch.
    """

    batch_size: int
    seed: int
    label_numbers: np.ndarray

    @abstractmethod
    def symbols(self, places: np.ndarray, epoch: int | None) -> Tensor:
        """Symbols (B, D) of items; None is the epoch of what is held out."""

    def train_dataloader(self) -> Loader:
        """Batches in an order of its own for every epoch."""
        places = self.parts["train"]
        if not len(places):
            raise DataError(f"{self.source} leaves nothing to train on, expected more items")
        return Loader(partial(self._shuffled, places), -(-len(places) // self.batch_size))

    def held_out(self, part: str) -> Loader:
        """Every item of a part, once."""
        return self._whole(self.parts[part])

    def everything(self) -> Loader:
        """Every item, whatever part it is in."""
        return self._whole(np.sort(np.concatenate(list(self.parts.values()))))

    def _whole(self, places: np.ndarray) -> Loader:
        size = max(1, HELD_OUT * 1000 // max(1, self.codec.length or 1))
        groups = [places[first : first + size] for first in range(0, len(places), size)]
        return Loader(
            lambda epoch, position: (self._batch(group, None) for group in groups[position:]), len(groups), whole=True
        )

    def _shuffled(self, places: np.ndarray, epoch: int, position: int) -> Iterator[Batch]:
        order = rng(self.seed, epoch).permutation(places)
        groups = np.array_split(order, -(-len(places) // self.batch_size))  # as even as can be: none is left over
        return (self._batch(group, epoch) for group in groups[position:])

    def _batch(self, places: np.ndarray, epoch: int | None) -> Batch:
        x = self.symbols(places, epoch)
        context = Context(torch.from_numpy(self.label_numbers[places])) if self.label_columns else None
        return Batch(x, torch.ones(x.shape, dtype=torch.bool), context)

    @property
    def training_symbols(self) -> float:
        """D symbols an item."""
        return len(self.parts["train"]) * (self.codec.length or 1)

    def marginals(self) -> Tensor:
        """Some 2,000 rows at most."""
        train = self.parts["train"]
        return self.symbols(train[:: 1 + len(train) // MARGINALS], 0)
