"""Tables of numbers."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.codecs import table
from seqgen.data.clips import PARTS
from seqgen.data.corpus import Corpus
from seqgen.data.layout import divide
from seqgen.data.vectors import Vectors
from seqgen.media.files import DataError, lines, read_text

HDF5 = (".hdf5", ".h5")
SPLIT = "split"


class Rows(NamedTuple):
    """What a file holds: names of the columns, numbers (N, D), labels and part (empty: not said) of each row."""

    columns: list[str]
    numbers: np.ndarray
    labels: list[tuple[str, ...]]
    parts: list[str]


class Table(Vectors):
    """A table of numbers, a row an item: CSV, with commas, semicolons or tabs, or the folds of an HDF5 file.

    A first line without any number names the columns. A column `split` (train, val, test) says which part a row
    belongs to; else rows are divided by hashes, equal rows always to the same part. Columns are standardized by the
    rows of training. Missing cells and cells that are no numbers are refused, with line and column.

    An HDF5 file holds `folds/<k>/training/<j>/data` and `folds/<k>/tests/<j>/data`, arrays (N, D), as those that RNADE
    was published with (Uria et al. 2013) do; the last part of training is what is validated on.

    Args:
        path: The file.
        corpus: A corpus that makes its own file.
        codec: Columns, and how numbers are standardized; None is `Table()`, which learns both.
        batch_size: Rows in a batch.
        val: Share of the rows to validate on: a fraction, or a number of rows.
        test: Share of the rows to test on.
        columns: Those that are modelled, in this order; None: all but labels and `split`.
        labels: Columns to condition on, each a label with a class for every value that occurs; empty is "not said".
        fold: Which of an HDF5 file's folds.
        seed: Of the split and of the order of training.
    """

    content = "a table"
    planned = ("batch_size", "columns", "fold", "seed")

    def __init__(
        self,
        path: str | None = None,
        corpus: Corpus | None = None,
        codec: Codec | None = None,
        batch_size: int = 100,
        val: float = 0.1,
        test: float = 0.1,
        columns: list[str] | None = None,
        labels: list[str] | None = None,
        fold: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(path, corpus, val, test, labels or [])
        codec = table.Table() if codec is None else codec
        if not isinstance(codec, table.Table):
            raise DataError(f"codec is {type(codec).__name__}, expected one of rows: Table")
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}, expected 1 or more")
        self.codec: Codec = codec
        self.batch_size = batch_size
        self.columns = columns
        self.fold = fold
        self.seed = seed

    def read(self, path: Path) -> None:
        """Columns, split, means and scales."""
        rows = self._folds(path) if path.suffix in HDF5 else self._text(path)
        if not len(rows.numbers):
            raise DataError(f"{path} holds no rows")
        keys = [row.tobytes().hex() for row in rows.numbers]
        self.parts = divide(rows.parts, keys, self.shares, self.seed)
        if not len(self.parts["train"]):
            raise DataError(f"{path} leaves no rows to train on, of {len(rows.numbers)}")
        self.label_numbers = self.number_labels(rows.labels, path)
        codec = self.codec if isinstance(self.codec, table.Table) else table.Table()
        if not codec.columns:
            codec = table.Table(rows.columns)
        self.codec = codec = codec.fit([rows.numbers[self.parts["train"]]])
        self.numbers = codec.standardize(rows.numbers)

    def symbols(self, places: np.ndarray, epoch: int | None) -> Tensor:
        """Rows (B, D), standardized."""
        return torch.from_numpy(self.numbers[places])

    # -- text

    def _text(self, path: Path) -> Rows:
        reader = csv.reader(_lines(path), delimiter=_separator(path))
        cells = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        header = [name.strip() for name in cells.pop(0)[1]] if cells and not _any_number(cells[0][1]) else []
        names = header or [f"x{place + 1}" for place in range(len(cells[0][1]) if cells else 0)]
        if len(set(names)) < len(names):
            raise DataError(f"{path}: two columns have the same name among {', '.join(names)}")
        own = self.codec.columns if isinstance(self.codec, table.Table) else []
        chosen = own or self.columns  # a model's own, when it is evaluated
        wanted = chosen or [name for name in names if name not in (*self.label_columns, SPLIT)]
        if absent := [name for name in (*wanted, *self.label_columns) if name not in names]:
            raise DataError(f"{path} has no column {absent[0]!r}; it has {', '.join(names)}")
        for line, row in cells:
            if len(row) != len(names):
                raise DataError(f"{path}, line {line}: {len(row)} cells, expected {len(names)}")
        numbers = [[_cell(path, line, name, row[names.index(name)]) for name in wanted] for line, row in cells]
        labels = [tuple(row[names.index(name)].strip() for name in self.label_columns) for _, row in cells]
        parts = [_part(path, line, row[names.index(SPLIT)]) if SPLIT in names else "" for line, row in cells]
        return Rows(list(wanted), np.array(numbers, np.float64).reshape(len(cells), len(wanted)), labels, parts)

    # -- HDF5

    def _folds(self, path: Path) -> Rows:
        if self.label_columns or self.columns:
            raise DataError(f"{path}: the columns of an HDF5 file have no names, expected neither columns nor labels")
        arrays, parts = [], []
        for part, array in _arrays(path, self.fold):
            arrays.append(array)
            parts += [part] * len(array)
        numbers = np.concatenate(arrays)
        names = [f"x{place + 1}" for place in range(numbers.shape[1])]
        return Rows(names, numbers, [()] * len(numbers), parts)


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from lines(read_text(path))
    except DataError as error:
        raise DataError(
            f"{str(error).removesuffix('; say which encoding it has')}; expected a table in UTF-8"
        ) from None


def _separator(path: Path) -> str:
    first = next(_lines(path), "")
    return max(",;\t", key=first.count)


def _any_number(row: list[str]) -> bool:
    return any(isinstance(table.as_number(cell), float) for cell in row)


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    number = table.as_number(cell)
    if number is None or isinstance(number, str):
        wrong = "missing" if number is None else number
        raise DataError(f"{path}, line {line}, column {column!r}: {wrong}, expected a number")
    return number


def _part(path: Path, line: int, cell: str) -> str:
    if cell not in PARTS:
        raise DataError(f"{path}, line {line}, column {SPLIT!r}: {cell!r}, expected {', '.join(PARTS)}")
    return cell


def _arrays(path: Path, fold: int) -> list[tuple[str, np.ndarray]]:
    """Part and rows (N, D) of each array of a fold."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{path} is an HDF5 file, for which h5py is needed: pip install h5py") from None
    try:
        with h5py.File(path, "r") as file:
            folds = file["folds"]
            if str(fold) not in folds:
                raise DataError(f"{path} has no fold {fold}; it has {', '.join(sorted(folds, key=int))}")
            group = folds[str(fold)]
            training = sorted(group["training"], key=int)
            found = [("val" if name == training[-1] else "train", f"training/{name}/data") for name in training]
            found += [("test", f"tests/{name}/data") for name in sorted(group["tests"], key=int)]
            arrays = [(part, np.asarray(group[name], np.float64)) for part, name in found]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} cannot be read as folds/<k>/training/<j>/data and tests: {error}") from None
    if len(shapes := {array.shape[1:] for _, array in arrays}) != 1 or len(shapes.pop()) != 1:
        raise DataError(f"{path}, fold {fold}: expected arrays of rows, all with as many columns")
    for (_, array), (_, name) in zip(arrays, found, strict=True):
        if (wrong := np.argwhere(~np.isfinite(array))).size:
            where = f"{path}, folds/{fold}/{name}, row {wrong[0][0] + 1}, column {wrong[0][1] + 1}"
            raise DataError(f"{where}: no finite number")
    return arrays
