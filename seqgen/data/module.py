"""What training and evaluation ask of data."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from seqgen.codec import Codec, Unknown, UnknownSymbol
from seqgen.data.corpus import Corpus, sha256
from seqgen.data.loader import Loader
from seqgen.inference.detect import MOST, Calibration, calibrate
from seqgen.media.files import DataError
from seqgen.media.mel import LogMel
from seqgen.model import Model


class DataModule(ABC):
    """Sequences in four parts, read once from a file, a folder or a corpus; a subclass says how.

    After `setup` there are a codec that fits, the classes of every label, the SHA-256 and the licence of the data, and
    `parts`. Half of the held-out share `val` becomes the part of that name, the other half the calibration set.

    Args:
        path: A file or folder of your own; it takes precedence over the corpus.
        corpus: A corpus that makes its own file or folder.
        val: Share to validate and calibrate on: a fraction, or a number of items.
        test: Share to test on.
        labels: The names of the labels to condition on.
    """

    codec: Codec
    features: LogMel | None = None
    """What the model is conditioned on besides labels, computed from the items themselves."""
    folders: ClassVar[bool] = False
    """Whether `path` may be a folder."""
    content: ClassVar[str] = "a text file"
    """What is expected at `path`."""
    unknowns: ClassVar[bool] = True
    """Whether items may have parts without a symbol, such as characters outside an alphabet."""
    planned: ClassVar[tuple[str, ...]] = ("batch_size",)
    """The attributes that the split and the order of batches depend on."""

    def __init__(
        self, path: str | None, corpus: Corpus | None, val: float, test: float, labels: Sequence[str] = ()
    ) -> None:
        self.source: str | Corpus | None = path or corpus
        self.shares = (val, test)
        self.label_columns = list(labels)
        self.labels: dict[str, list[str]] = {}
        self.parts: dict[str, np.ndarray] = {}
        self.left_context: int | None = None
        self.feature_reach = 1
        self.unknown: Unknown | None = None
        self.skipped: list[str] = []
        self.reading_whole = False

    # -- reading

    def setup(self) -> None:
        """Read the data. Raises DataError, and UnknownSymbol from the codec."""
        if self.parts:
            return
        path, self.licence = self.located()
        self.sha256 = self.fingerprint(path)
        self.read(path)

    def located(self) -> tuple[Path, str]:
        """The path of the data, made if a corpus has to make it, and the licence. Raises DataError if it is missing."""
        if self.source is None:
            raise DataError(f"no data: expected a path of {self.content}, or a corpus")
        made = isinstance(self.source, Corpus)
        path = self.source.prepare() if isinstance(self.source, Corpus) else Path(self.source)
        if not (path.exists() if self.folders else path.is_file()):
            raise DataError(f"no file{' or folder' * self.folders} {str(path)!r}; expected {self.content}")
        return path, self.source.licence if made and isinstance(self.source, Corpus) else "not stated"

    def fingerprint(self, path: Path) -> str:
        """The SHA-256 of the data."""
        return sha256(path)

    @abstractmethod
    def read(self, path: Path) -> None:
        """Fill codec, labels and parts."""

    def connect(self, receptive_field: int | None, feature_reach: int = 1) -> None:
        """Take what is known of the model: its receptive field, None for the whole past, and its `feature_reach`."""
        self.left_context, self.feature_reach = receptive_field, feature_reach

    def hold_out(
        self, path: str, codec: Codec, labels: dict[str, list[str]], unknown: Unknown | None = None
    ) -> "DataModule":
        """Read another file with a model's codec and labels, all of it for `everything`; the data module itself.

        `unknown` says what becomes of what has no symbol; what is skipped is listed in `skipped`. None is `count` where
        there is an unknown symbol, else `error`. Raises SeqgenError for `count` where there is none, DataError where
        items have no unknown parts.
        """
        codec.check_unknown(unknown)
        if unknown is not None and not self.unknowns:
            raise DataError(f"unknown is {unknown!r}, and {self.content} has no unknown symbols; expected None")
        self.source, self.codec, self.labels, self.shares = path, codec, labels, (0, 0)
        self.unknown, self.reading_whole = unknown, True
        return self

    def admits(self, where: str, item: Any) -> bool:
        """Whether an item is used; one with parts that have no symbol is left out where they are to be skipped.

        `where` is its place in the file, such as "line 3". Only files that are read with a model's codec have such
        items: a codec that is yet to be fitted gets all of them. Raises UnknownSymbol unless they are to be skipped.
        """
        wrong = self.codec.refusal(item, self.unknown) if self.reading_whole else None
        if wrong is not None and self.unknown != "skip":
            raise UnknownSymbol(f"{self.source}, {where}: {wrong}; unknown='skip' leaves such items out") from wrong
        if wrong is not None:
            self.skipped.append(f"{where}: {wrong}")
        return wrong is None

    # -- labels

    def name_labels(self, values: Sequence[set[str]], path: Path) -> list[dict[str, int]]:
        """The number of each class of every label: 0 for an empty one, which means not given.

        The classes are those that occur, or a model's own. Raises DataError for a label that no item has, and for a
        class that the model lacks.
        """
        columns = zip(self.label_columns, values, strict=True)
        self.labels = self.labels or {name: sorted(found - {""}) for name, found in columns}
        for (name, classes), found in zip(self.labels.items(), values, strict=True):
            if not classes:
                raise DataError(f"{path}: no item has a {name!r}, expected classes to condition on")
            if strange := sorted(found.difference(classes, {""})):
                raise DataError(f"{path}: {name} is {strange[0]!r} somewhere, the model knows {', '.join(classes)}")
        return [{name: number for number, name in enumerate(["", *known])} for known in self.labels.values()]

    def number_labels(self, rows: Sequence[tuple[str, ...]], path: Path) -> np.ndarray:
        """The labels (N, L) of items, named by `name_labels`."""
        values = [{row[place] for row in rows} for place in range(len(self.label_columns))]
        numbers = self.name_labels(values, path)
        found = [[known[value] for known, value in zip(numbers, row, strict=True)] for row in rows]
        return np.array(found, np.int64).reshape(len(rows), len(numbers))

    # -- batches

    @property
    def plan(self) -> dict[str, Any]:
        """What the split and the order of the batches depend on besides the data: plain values by name."""
        own = {name: getattr(self, name) for name in self.planned}
        return {**own, "labels": self.label_columns, "val and test": list(self.shares)}

    @abstractmethod
    def train_dataloader(self) -> Loader:
        """Batches of training, in an order that depends on seed and epoch alone."""

    @abstractmethod
    def held_out(self, part: str) -> Loader:
        """Batches of a part, each symbol once."""

    @property
    @abstractmethod
    def training_symbols(self) -> float:
        """How many symbols the training part has, each times the weight of its item."""

    @property
    def symbols_per_batch(self) -> float:
        """The mean of the weighted symbols of a training batch.

        The loss of a batch is its weighted nats over this constant, so that over an epoch every symbol of the corpus
        counts alike, times its item's weight, however items are batched.
        """
        return self.training_symbols / len(self.train_dataloader())

    def val_dataloader(self) -> Loader:
        """The part that chooses the weights. Raises DataError when it is empty."""
        if not len(self.parts["val"]):
            raise DataError(f"{self.source} leaves nothing to validate on; expected more data or a larger share val")
        return self.held_out("val")

    def everything(self) -> Loader:
        """Batches of all the data, each symbol once, for data that no model was trained on."""
        return self.held_out("train")

    def calibration(self, model: Model) -> Calibration | None:
        """Scores of about 1,000 items of the calibration part, at most, to rank inputs among; None if it is empty."""
        count = len(self.parts["calibration"])
        if not count:
            return None
        return calibrate(model, self.held_out("calibration"), self.codec.log_jacobian, -(-count // MOST))

    # -- about the data

    @property
    def symbols_known(self) -> int:
        """K, the vocabulary size of the fitted codec."""
        if self.codec.size is None:
            name = type(self.codec).__name__
            raise DataError(f"{name} has numbers, not classes; expected an output of numbers such as Gaussians")
        return self.codec.size

    @property
    def report(self) -> str | None:
        """What should be known before training begins."""
        return None

    def training_texts(self) -> Iterable[str] | None:
        """The texts of the training part, for data modules of many short texts."""
        return None

    def marginals(self) -> Any:
        """Rows (N, D) of the training part that initialise a model's output biases; None for sequences."""
        return None

    def examples(self, count: int) -> list[tuple[Any, dict[str, str]]]:
        """The first held-out items, to be conditioned on, and their labels, for data modules that have features."""
        raise NotImplementedError(f"{type(self).__name__} has no features")
