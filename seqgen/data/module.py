"""What training asks of data."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule

from seqgen.codec import Codec
from seqgen.data.corpus import Corpus, DataError, locate, sha256
from seqgen.data.loader import Loader


class DataModule(LightningDataModule, ABC):
    """A file of sequences in three parts, read once; a subclass says how.

    `source` is a path or a corpus; after `setup` there are a codec that fits, the classes of every label, the file's
    SHA-256 and licence, and `parts`: training, validation and test.
    """

    source: str | Corpus | None
    codec: Codec
    labels: dict[str, list[str]]
    shares: tuple[float, float]

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[str, np.ndarray] = {}

    def prepare_data(self) -> None:
        """Make the corpus if it is not there."""
        locate(self.source)

    def setup(self, stage: str) -> None:
        """Read the file. Raises DataError, and UnknownSymbol from the codec."""
        if self.parts:
            return
        path, self.licence = locate(self.source)
        self.sha256 = sha256(path)
        self.read(path)

    @property
    def symbols_known(self) -> int:
        """K, the size of the fitted codec."""
        if self.codec.size is None:
            raise ValueError(f"{type(self.codec).__name__} has no symbols to count")
        return self.codec.size

    @property
    @abstractmethod
    def plan(self) -> dict[str, Any]:
        """What the split and the order of the batches depend on besides the file: plain values by argument name."""

    @abstractmethod
    def read(self, path: Path) -> None:
        """Fill codec, labels and parts."""

    @abstractmethod
    def train_dataloader(self) -> Loader:
        """Batches of training, in an order that depends on seed and epoch alone."""

    @abstractmethod
    def held_out(self, part: str) -> Loader:
        """Batches of a part, each symbol once."""

    def val_dataloader(self) -> Loader:
        """The validation part. Raises DataError when there is none."""
        if not len(self.parts["val"]):
            raise DataError(f"{self.source} leaves nothing to validate on; expected a longer file or a larger data.val")
        return self.held_out("val")

    def everything(self) -> Loader:
        """Batches of the whole file, each symbol once, for a file that no model was trained on."""
        return self.held_out("train")

    def hold_out(self, source: str, codec: Codec, labels: dict[str, list[str]]) -> None:
        """Read another file with a model's codec and labels in place of the run's own, all of it for `everything`."""
        self.source, self.codec, self.labels, self.shares = source, codec, labels, (0, 0)

    def test_dataloader(self) -> Loader:
        """The test part."""
        return self.held_out("test")
