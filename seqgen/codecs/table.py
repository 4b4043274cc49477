"""Rows of a table of numbers."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import UnknownSymbol
from seqgen.codecs.vectors import Vectors
from seqgen.config import SeqgenError, WrongType

Row = dict[str, float]
LARGEST = 1e18
"""Largest standardized value: near the square root of the largest float32, so that its square does not overflow."""


class Table(Vectors):
    """A row of numbers; a symbol is one standardized number: `z = (x - mean) / scale` of its column.

    Mean and scale are fitted to the training rows and stored in the codec, so that log-densities are reported in the
    units of the table: `log p(x) = log p(z) - log scale`. `decode(encode(row))` is the row, up to float32 rounding.

    An item is a mapping from column names to numbers, a sequence of numbers in the order of the columns, or one line of
    comma-separated text. In a partial item (`partial`), columns are missing, empty, None or NaN.

    Args:
        columns: Column names; None: taken from the table that the codec is fitted to.
        means: Mean of each column; None: fitted.
        scales: Scale of each column; when fitted, its standard deviation.

    >>> codec = Table(["height", "width"], [10.0, 1.0], [2.0, 0.5])
    >>> codec.encode({"height": 12, "width": "0.5"}).tolist()
    [1.0, -1.0]
    >>> codec.partial(",2")
    (tensor([1]), tensor([2.]))
    """

    size = None
    modality = "table"
    unit = "row"

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        means: Sequence[float] | None = None,
        scales: Sequence[float] | None = None,
    ) -> None:
        self.columns = list(columns or [])
        if len(set(self.columns)) < len(self.columns) or not all(isinstance(name, str) for name in self.columns):
            raise SeqgenError(f"columns are {self.columns}, expected distinct names")
        if (means is None) != (scales is None):
            raise SeqgenError(f"got means {means} and scales {scales}, expected both or neither")
        self.length = len(self.columns)
        self.means, self.scales = np.array(means or [], np.float64), np.array(scales or [], np.float64)
        if means is not None:
            self._check()
            self.log_jacobian = torch.from_numpy(-np.log(self.scales))

    def _check(self) -> None:
        counts = len(self.means), len(self.scales)
        if set(counts) != {self.length} or not self.length:
            means, scales = counts
            raise SeqgenError(
                f"got {self.length} columns, {means} means and {scales} scales, expected equal numbers, 1 or more"
            )
        if not (np.isfinite(self.means).all() and np.isfinite(self.scales).all() and (self.scales > 0).all()):
            raise SeqgenError(
                f"got means {self.means.tolist()} and scales {self.scales.tolist()}, expected finite numbers and "
                "positive scales"
            )

    @property
    def fitted(self) -> bool:
        """Whether means and scales are known."""
        return len(self.means) > 0

    def fit(self, items: Iterable[np.ndarray]) -> Self:
        """A codec with means and standard deviations of rows (N, D). Raises SeqgenError for a constant column."""
        if self.fitted:
            return self
        rows = np.concatenate(list(items))
        columns = self.columns or [f"x{place + 1}" for place in range(rows.shape[1])]
        means, scales = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
        for name, mean, scale in zip(columns, means, scales, strict=True):
            if not scale > 1e-12 * abs(mean):
                raise SeqgenError(
                    f"column {name!r} is always {mean:g}, expected numbers that vary: a constant has no density; "
                    "remove the column"
                )
        return type(self)(columns, means.tolist(), scales.tolist())

    def encode(self, item: Any) -> Tensor:
        """Symbols (D,) float32. Raises UnknownSymbol with the column of a missing or non-numeric cell."""
        places, symbols = self.partial(item)
        if len(places) < self.length:
            missing = next(place for place in range(self.length) if place not in places)
            raise UnknownSymbol(f"column {self.columns[missing]!r} is missing; expected {', '.join(self.columns)}")
        return symbols

    def partial(self, item: Any) -> tuple[Tensor, Tensor]:
        """Positions (S,) and symbols (S,) of the known columns."""
        known = [
            (place, number) for place, cell in self._cells(item) if (number := self._number(place, cell)) is not None
        ]
        places = np.array([place for place, _ in known], np.int64)
        numbers = np.array([number for _, number in known], np.float64)
        symbols = self.standardize(numbers, places)
        return torch.from_numpy(places), torch.from_numpy(symbols)

    def standardize(self, numbers: np.ndarray, places: Any = slice(None)) -> np.ndarray:
        """z, float32, of numbers (..., D), or of numbers (S,) in the columns `places`. Raises UnknownSymbol."""
        symbols = (numbers - self.means[places]) / self.scales[places]
        if (wrong := np.argwhere(~(np.abs(symbols) < LARGEST))).size:
            far = float(symbols[tuple(wrong[0])])
            raise UnknownSymbol(
                f"got a number {far:.3g} standard deviations from its column's mean, expected less than {LARGEST:g}"
            )
        standardized: np.ndarray = symbols.astype(np.float32)
        return standardized

    def _cells(self, item: Any) -> Iterable[tuple[int, Any]]:
        if isinstance(item, Mapping):
            if unknown := [name for name in item if name not in self.columns]:
                raise UnknownSymbol(f"got column {unknown[0]!r}, expected {', '.join(self.columns)}")
            return sorted((self.columns.index(name), cell) for name, cell in item.items())
        if isinstance(item, str):
            item = next(csv.reader([item], skipinitialspace=True), [])
        if isinstance(item, Tensor | np.ndarray):
            item = item.tolist()
        if not isinstance(item, Sequence):
            raise WrongType(f"got {item!r:.60} of type {type(item).__name__}, expected a row: numbers or a line of CSV")
        if len(item) != self.length:
            raise UnknownSymbol(f"got a row of {len(item)} cells, expected {self.length}: {', '.join(self.columns)}")
        return enumerate(item)

    def _number(self, place: int, cell: Any) -> float | None:
        """The number in a cell, None for an empty cell. Raises UnknownSymbol for anything else."""
        number = as_number(cell)
        if isinstance(number, str):
            raise UnknownSymbol(f"column {self.columns[place]!r}: {number}")
        return number

    def decode(self, symbols: Tensor) -> Row:
        """The row of symbols (D,)."""
        if len(symbols) != self.length:
            raise SeqgenError(f"got {len(symbols)} symbols, expected {self.length}: {', '.join(self.columns)}")
        numbers = symbols.detach().cpu().double().numpy() * self.scales + self.means
        return dict(zip(self.columns, numbers.tolist(), strict=True))

    @property
    def header(self) -> str:
        """The column names as one line of comma-separated text."""
        return _line(self.columns)

    def line(self, row: Row) -> str:
        """A row as one line of comma-separated text, with 7 significant digits, the precision of float32."""
        return _line([f"{row[name]:.7g}" for name in self.columns])

    def names(self, symbols: Tensor) -> list[str]:
        """`column=number` for each symbol."""
        return [f"{name}={number:.6g}" for name, number in self.decode(symbols).items()]


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def as_number(cell: Any) -> float | str | None:
    """The number in a cell; None for an empty cell or NaN; for any other cell, an error message (str)."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        number = float(cell.replace("_", "?") if isinstance(cell, str) else cell)  # Python's float() accepts "1_000"
    except (TypeError, ValueError):
        return f"{cell!r} is not a number"
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else f"{cell!r} is not a finite number"
