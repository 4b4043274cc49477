"""What training asks of data."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule

from seqgen.codec import Codec
from seqgen.config import SeqgenError
from seqgen.data.corpus import Corpus, DataError, locate, sha256
from seqgen.data.loader import Loader
from seqgen.inference.detect import MOST, Calibration, calibrate
from seqgen.media.mel import LogMel
from seqgen.model import Model


class DataModule(LightningDataModule, ABC):
    """A file of sequences in three parts, read once; a subclass says how.

    `source` is a path or a corpus; after `setup` there are a codec that fits, the classes of every label, the file's
    SHA-256 and licence, and `parts`: training, validation and test.
    """

    source: str | Corpus | None
    codec: Codec
    labels: dict[str, list[str]]
    shares: tuple[float, float]
    features: LogMel | None = None
    """What the model is conditioned on besides labels, computed from the items themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.past: int | None = None  # symbols that the model looks back; None for all
        self.label_columns: list[str] = []
        self.parts: dict[str, np.ndarray] = {}

    def prepare_data(self) -> None:
        """Make the corpus if it is not there."""
        self.located()

    def setup(self, stage: str) -> None:
        """Read the file. Raises DataError, and UnknownSymbol from the codec."""
        if self.parts:
            return
        path, self.licence = self.located()
        self.sha256 = self.fingerprint(path)
        self.read(path)

    def located(self) -> tuple[Path, str]:
        """What `source` names, and its licence. Raises DataError when it is not there."""
        return locate(self.source)

    def fingerprint(self, path: Path) -> str:
        """The SHA-256 of the data."""
        return sha256(path)

    def name_labels(self, values: list[set[str]], path: Path) -> None:
        """Number the classes that occur of each label, or check that those of a model are all there are."""
        columns = zip(self.label_columns, values, strict=True)
        self.labels = self.labels or {name: sorted(found) for name, found in columns}
        for (name, classes), found in zip(self.labels.items(), values, strict=True):
            if not classes:
                raise DataError(f"{path}: no item says its {name!r}, expected classes to condition on")
            if strange := sorted(found.difference(classes)):
                raise DataError(f"{path}: {name} is {strange[0]!r} somewhere, the model knows {', '.join(classes)}")

    @property
    def symbols_known(self) -> int:
        """K, the size of the fitted codec."""
        if self.codec.size is None:
            name = type(self.codec).__name__
            raise SeqgenError(f"{name} has numbers, not classes; expected an output of numbers such as Gaussians")
        return self.codec.size

    @property
    def report(self) -> str | None:
        """What should be known before training begins."""
        return None

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

    def calibration(self, model: Model) -> Calibration:
        """Scores of the validation part, of some 1,000 items if it has more, for inputs to be ranked among."""
        stride = -(-len(self.parts["val"]) // MOST)
        return calibrate(model, self.val_dataloader(), self.codec.log_jacobian, stride)

    def everything(self) -> Loader:
        """Batches of the whole file, each symbol once, for a file that no model was trained on."""
        return self.held_out("train")

    def hold_out(self, source: str, codec: Codec, labels: dict[str, list[str]]) -> None:
        """Read another file with a model's codec and labels in place of the run's own, all of it for `everything`."""
        self.source, self.codec, self.labels, self.shares = source, codec, labels, (0, 0)

    def examples(self, count: int) -> list[tuple[Any, dict[str, str]]]:
        """The first held-out items, to be conditioned on, and their labels, for data modules that have features."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def test_dataloader(self) -> Loader:
        """The test part."""
        return self.held_out("test")
