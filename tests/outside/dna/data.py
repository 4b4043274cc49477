"""FASTA files as training data."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from dna.codec import DNA
from dna.modality import DNAModality
from seqgen.codec import Codec
from seqgen.data.layout import divide
from seqgen.data.loader import Loader, rng
from seqgen.data.module import DataModule
from seqgen.media.files import DataError
from seqgen.model import Batch, Context


class Fasta(DataModule):
    """The records of a FASTA file; records of the same sequence go to the same part.

    Args:
        path: The file.
        codec: How bases become symbols; None is `DNA()`.
        batch_size: Records in a batch.
        val: Share of the different sequences to validate and calibrate on: a fraction, or a number of them.
        test: Share to test on.
        labels: Modifiers in the headers to condition on, such as `organism` for `[organism=Escherichia coli]`; a record
            without one is one whose label is not given.
        seed: Of the split and of the order of training.
    """

    content = "a FASTA file"
    planned = ("batch_size", "seed")

    def __init__(
        self,
        path: str | None = None,
        codec: Codec | None = None,
        batch_size: int = 64,
        val: float = 0.1,
        test: float = 0.1,
        labels: list[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(path, None, val, test, labels or [])
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}, expected 1 or more")
        self.codec = codec or DNA()
        self.batch_size = batch_size
        self.seed = seed

    def read(self, path: Path) -> None:
        """Records, labels, split and symbols."""
        found = DNAModality().items(self.codec, path)
        records = [record for where, record in found if self.admits(where, record)]
        if not records:
            raise DataError(f"{path} holds no records, expected one or more")
        rows = [tuple(record.labels.get(name, "") for name in self.label_columns) for record in records]
        self.label_numbers = self.number_labels(rows, path)
        self.parts = divide([""] * len(records), [record.sequence for record in records], self.shares, self.seed)
        symbols, counts = self.codec.encode_all(records)
        self.sequences = [self.codec.close(one) for one in torch.split(symbols, counts)]

    @property
    def training_symbols(self) -> float:
        """Those of all records, end symbols included."""
        return sum(len(self.sequences[place]) for place in self.parts["train"])

    def train_dataloader(self) -> Loader:
        """Batches in an order of its own for every epoch."""
        count = -(-len(self.parts["train"]) // self.batch_size)
        if not count:
            raise DataError(f"{self.source} leaves no records to train on, expected more of them")

        def epoch(number: int, position: int) -> Iterator[Batch]:
            order = rng(self.seed, number).permutation(self.parts["train"])
            return map(self._batch, np.array_split(order, count)[position:])

        return Loader(epoch, count)

    def held_out(self, part: str) -> Loader:
        """Every record of a part, once, those of like length together."""
        places = np.array(sorted(self.parts[part], key=lambda place: len(self.sequences[place])), np.int64)
        groups = np.array_split(places, range(self.batch_size, len(places), self.batch_size)) if len(places) else []
        return Loader(lambda epoch, position: map(self._batch, groups[position:]), len(groups), whole=True)

    def _batch(self, places: np.ndarray) -> Batch:
        rows = [self.sequences[place] for place in places]
        x = pad_sequence(rows, batch_first=True)  # (B, T)
        mask = torch.arange(x.shape[1]) < torch.tensor([[len(row)] for row in rows])
        context = Context(torch.from_numpy(self.label_numbers[places])) if self.label_columns else None
        return Batch(x, mask, context)
