"""Many short texts, one a line."""

import csv
import hashlib
from array import array
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from seqgen.codec import Codec
from seqgen.codecs import Chars
from seqgen.data.corpus import Corpus
from seqgen.data.loader import Loader, counts, rng, store, tensor
from seqgen.data.module import DataModule
from seqgen.media.files import DataError, lines, read_text
from seqgen.model import Batch, Context


class Item(NamedTuple):
    """One line: its text, the class of each of its labels, its weight."""

    text: str
    labels: tuple[str, ...] = ()
    weight: float = 1.0


class Lines(DataModule):
    """Many short texts, one a line, such as names; empty lines are skipped.

    A plain file holds nothing but texts. With `column` it is a table with a header, separated by tabs (commas if its
    name ends in .csv), which may hold labels and a weight too. Held-out items are chosen by a permutation that depends
    on `seed` and, with `distinct`, on the texts alone; lines of the same text then go to the same part, and none leaks.

    Args:
        path: A text file of your own; it goes before the corpus.
        corpus: A corpus that makes its own file, such as those of the recipes.
        codec: How characters become symbols; None is `Chars(end=True)`.
        batch_size: Items in a batch.
        val: Share of the items to validate on: a fraction, or a number of items.
        test: Share of the items to test on.
        column: The column of the texts; None where the file is no table.
        labels: Columns to condition on, each a label with a class for every value that occurs; empty is "not said".
        weight: The column that says how often an item counts, 0 for not at all; None counts each once.
        distinct: Whether lines of the same text stay together in the split.
        encoding: Of the file. Line ends are read as "\\n", a byte order mark is dropped.
        seed: Of the split and of the order of training.
    """

    planned = ("batch_size", "column", "weight", "distinct", "seed")

    def __init__(
        self,
        path: str | None = None,
        corpus: Corpus | None = None,
        codec: Codec | None = None,
        batch_size: int = 128,
        val: float = 0.05,
        test: float = 0.05,
        column: str | None = None,
        labels: list[str] | None = None,
        weight: str | None = None,
        distinct: bool = True,
        encoding: str = "utf-8",
        seed: int = 0,
    ) -> None:
        super().__init__(path, corpus, val, test, labels or [])
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}, expected 1 or more")
        if column is None and (labels or weight):
            raise DataError("labels and weight are columns of a table: name the texts' column, too")
        self.codec = codec or Chars(end=True)
        self.batch_size = batch_size
        self.column = column
        self.weight = weight
        self.distinct = distinct
        self.encoding = encoding
        self.seed = seed

    def read(self, path: Path) -> None:
        """Alphabet, classes of labels, symbols and split."""
        self.path = path
        values: list[set[str]] = [set() for _ in self.label_columns]
        keys = bytearray()
        for item in self._items():
            for value, found in zip(item.labels, values, strict=True):
                found.add(value)
            text = item.text.encode("utf-8", "surrogatepass")
            keys += hashlib.blake2b(text, digest_size=8, key=str(self.seed).encode()).digest()
        self.classes = self.name_labels(values, path)
        self.parts = self._split(np.frombuffer(keys, np.uint64))
        training = np.zeros(len(keys) // 8, bool)
        training[self.parts["train"]] = True
        seen = (item.text for item, mine in zip(self._items(), training, strict=True) if mine or not self.codec.learns)
        self.codec = self.codec.fit(_joined(seen, "\n" if self.codec.learns else ""))
        self._store()

    def _items(self) -> Iterator[Item]:
        pieces = read_text(self.path, self.encoding)
        if self.column is None:
            return self._known((number, Item(line)) for number, line in enumerate(lines(pieces), 1) if line)
        return self._known(self._table(lines(pieces)))

    def _known(self, items: Iterator[tuple[int, Item]]) -> Iterator[Item]:
        """The items that are used."""
        self.skipped = []
        return (item for line, item in items if self.admits(f"line {line}", item.text))

    def _table(self, rows: Iterator[str]) -> Iterator[tuple[int, Item]]:
        comma = self.path.suffix == ".csv"
        reader = csv.DictReader(
            (f"{row}\n" for row in rows),  # the end of a line may stand in a quoted text
            delimiter="," if comma else "\t",
            quoting=csv.QUOTE_MINIMAL if comma else csv.QUOTE_NONE,
        )
        wanted = [name for name in (self.column, *self.label_columns, self.weight) if name is not None]
        if absent := [name for name in wanted if name not in (reader.fieldnames or ())]:
            raise DataError(
                f"{self.path} has no column {absent[0]!r}; its header, cut at {'commas' if comma else 'tabs'}, is "
                f"{reader.fieldnames}. A file that is no table wants column=null and labels=null"
            )
        try:
            for row in reader:
                if any(row[name] is None for name in wanted):
                    raise DataError(f"{self.path}, line {reader.line_num}: fewer columns than the header has")
                weight = self._number(row[self.weight], reader) if self.weight else 1.0
                if row[self.column] and weight:
                    labels = tuple(row[name] for name in self.label_columns)
                    yield reader.line_num, Item(row[self.column], labels, weight)
        except csv.Error as error:
            raise DataError(f"{self.path}, line {reader.line_num}: {error}") from None

    def _number(self, value: str, reader: "csv.DictReader[str]") -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= float(np.finfo(np.float32).max):
            raise DataError(f"{self.path}, line {reader.line_num}: weight is {value!r}, expected a number from 0")
        return number

    def _split(self, keys: np.ndarray) -> dict[str, np.ndarray]:
        """Places of the items of each part; `keys` (N,), hashes with the seed, are equal where texts are.

        In the order of its hashes the items are permuted; the first are held out.
        """
        if not len(keys):
            raise DataError(f"{self.path} holds no items, expected one a line")
        if not self.distinct:
            keys = np.argsort(rng(self.seed).permutation(len(keys)))
        ranked, rank = np.unique(keys, return_inverse=True)
        val, test = counts(len(ranked), self.shares)
        # The first half of the items of val calibrates.
        part = np.searchsorted([val // 2, val, val + test], rank, side="right")
        return {name: np.flatnonzero(part == code) for code, name in enumerate(("calibration", "val", "test", "train"))}

    def _store(self) -> None:
        closing = self.codec.close(torch.zeros(0, dtype=torch.int64))
        lengths, numbers, weights = array("q"), array("q"), array("f")  # a number each: many items take little memory

        def sequences() -> Iterator[torch.Tensor]:
            items = self._items()
            while group := list(islice(items, 1000)):
                symbols, counted = self.codec.encode_all([item.text for item in group])
                lengths.extend(count + len(closing) for count in counted)
                for item in group:
                    numbers.extend(known[value] for known, value in zip(self.classes, item.labels, strict=True))
                    weights.append(item.weight)
                ends = np.cumsum(counted).repeat(len(closing))
                yield torch.from_numpy(np.insert(symbols.numpy(), ends, closing.numpy().repeat(len(counted))))

        self.symbols = store(sequences(), self.symbols_known)
        self.ends = np.cumsum(lengths)
        self.label_numbers = np.array(numbers, np.int64).reshape(len(lengths), len(self.classes))
        self.weights = np.array(weights, np.float32) if self.weight else None

    def texts(self, part: str) -> Iterator[str]:
        """The texts of a part, in the order of the file."""
        wanted = frozenset(self.parts[part].tolist())
        return (item.text for place, item in enumerate(self._items()) if place in wanted)

    def training_texts(self) -> Iterator[str]:
        """The texts of the training part."""
        return self.texts("train")

    @property
    def training_symbols(self) -> float:
        """Of all items, the end symbols included, each times its item's weight."""
        lengths = self._length(self.parts["train"])
        weights = 1.0 if self.weights is None else self.weights[self.parts["train"]].astype(np.float64)
        return float((lengths * weights).sum())

    def train_dataloader(self) -> Loader:
        """Batches of items of like length, so that little is padding, in an order of its own for every epoch."""
        places = self.parts["train"]
        if len(places) < self.batch_size:
            raise DataError(
                f"{self.path} leaves {len(places)} items to train on, fewer than batch_size {self.batch_size}; "
                "expected more items or a smaller batch_size"
            )
        return Loader(partial(self._shuffled, places), -(-len(places) // self.batch_size))

    def held_out(self, part: str) -> Loader:
        """Every item of a held-out part, once."""
        places = self.parts[part][np.argsort(self._length(self.parts[part]), kind="stable")]
        size = max(self.batch_size, 256)
        groups = [places[first : first + size] for first in range(0, len(places), size)]
        return Loader(lambda epoch, position: map(self._batch, groups[position:]), len(groups), whole=True)

    def _shuffled(self, places: np.ndarray, epoch: int, position: int) -> Iterator[Batch]:
        random = rng(self.seed, epoch)
        order = random.permutation(places)
        order = order[np.argsort(self._length(order), kind="stable")]
        groups = np.array_split(order, -(-len(places) // self.batch_size))  # as even as can be: none is left over
        return (self._batch(groups[number]) for number in random.permutation(len(groups))[position:])

    def _length(self, places: np.ndarray) -> np.ndarray:
        lengths: np.ndarray = self.ends[places] - np.where(places > 0, self.ends[places - 1], 0)
        return lengths

    def _batch(self, places: np.ndarray) -> Batch:
        lengths = self._length(places)
        columns = np.arange(lengths.max())
        mask = columns < lengths[:, None]  # (B, T)
        at = np.where(mask, (self.ends[places] - lengths)[:, None] + columns, 0)
        context = Context(torch.from_numpy(self.label_numbers[places])) if self.label_columns else None
        weight = None if self.weights is None else torch.from_numpy(self.weights[places])
        return Batch(tensor(np.where(mask, self.symbols[at], 0)), torch.from_numpy(mask), context, weight)


def _joined(texts: Iterator[str], end: str) -> Iterator[str]:
    """The texts, each with `end` behind it, a thousand at a time."""
    while group := list(islice(texts, 1000)):
        yield "".join(f"{text}{end}" for text in group)
