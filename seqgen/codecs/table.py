"""Rows of numbers."""

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
BEYOND = 1e18
"""Standard deviations from which on a number's square is none of float32."""


class Table(Vectors):
    """A row of numbers; a symbol is a number of it, standardized: `z = (x - mean) / scale` of its column.

    Mean and scale are learnt from the rows of training and kept here, so that log-densities come back in the units of
    the table: `log p(x) = log p(z) - log scale`. `decode(encode(row))` is the row, up to the rounding of float32.

    An item is an object of column and number, a sequence of numbers in the columns' order, or both as one line of
    comma-separated text. In a part of an item columns lack, or are empty, None or NaN.

    Args:
        columns: Their names; None: those of the table that it is fitted to.
        means: Of each column; None: to be learnt.
        scales: Of each column, its standard deviation when learnt.

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
            raise SeqgenError(f"columns are {self.columns}, expected names, each once")
        if (means is None) != (scales is None):
            raise SeqgenError(f"means {means}, scales {scales}: expected both or none")
        self.length = len(self.columns)
        self.means, self.scales = np.array(means or [], np.float64), np.array(scales or [], np.float64)
        if means is not None:
            self._check(len(self.means), len(self.scales))
            self.log_jacobian = torch.from_numpy(-np.log(self.scales))

    def _check(self, *counts: int) -> None:
        if set(counts) != {self.length} or not self.length:
            raise SeqgenError(f"{self.length} columns, means and scales {counts}: expected as many, 1 or more")
        if not (np.isfinite(self.means).all() and np.isfinite(self.scales).all() and (self.scales > 0).all()):
            raise SeqgenError("means and scales: expected finite numbers, scales more than 0")

    @property
    def fitted(self) -> bool:
        """Whether means and scales are known."""
        return len(self.means) > 0

    def fit(self, items: Iterable[np.ndarray]) -> Self:
        """Means and standard deviations of rows (N, D). Raises SeqgenError for a column that never varies."""
        if self.fitted:
            return self
        rows = np.concatenate(list(items))
        columns = self.columns or [f"x{place + 1}" for place in range(rows.shape[1])]
        means, scales = rows.mean(0, dtype=np.float64), rows.std(0, dtype=np.float64)
        for name, mean, scale in zip(columns, means, scales, strict=True):
            if not scale > 1e-12 * abs(mean):
                raise SeqgenError(f"column {name!r} is always {mean:g}: a constant has no density; leave it out")
        return type(self)(columns, means.tolist(), scales.tolist())

    def encode(self, item: Any) -> Tensor:
        """Symbols (D,) float32. Raises UnknownSymbol for what lacks and for what is no number, with its column."""
        places, symbols = self.partial(item)
        if len(places) < self.length:
            missing = next(place for place in range(self.length) if place not in places)
            raise UnknownSymbol(f"column {self.columns[missing]!r} is missing; expected {', '.join(self.columns)}")
        return symbols

    def partial(self, item: Any) -> tuple[Tensor, Tensor]:
        """Places (S,) and symbols (S,) of the columns that are known."""
        known = [
            (place, number) for place, cell in self._cells(item) if (number := self._number(place, cell)) is not None
        ]
        places = np.array([place for place, _ in known], np.int64)
        numbers = np.array([number for _, number in known], np.float64)
        symbols = self.standardize(numbers, places)
        return torch.from_numpy(places), torch.from_numpy(symbols)

    def standardize(self, numbers: np.ndarray, places: Any = slice(None)) -> np.ndarray:
        """z float32 of numbers (..., D), or of those (S,) in some places."""
        symbols = (numbers - self.means[places]) / self.scales[places]
        if (wrong := np.argwhere(~(np.abs(symbols) < BEYOND))).size:
            far = float(symbols[tuple(wrong[0])])
            raise UnknownSymbol(
                f"a number lies {far:.3g} standard deviations from its column's mean; expected a number near"
            )
        standardized: np.ndarray = symbols.astype(np.float32)
        return standardized

    def _cells(self, item: Any) -> Iterable[tuple[int, Any]]:
        if isinstance(item, Mapping):
            if strange := [name for name in item if name not in self.columns]:
                raise UnknownSymbol(f"no column {strange[0]!r}; expected {', '.join(self.columns)}")
            return sorted((self.columns.index(name), cell) for name, cell in item.items())
        if isinstance(item, str):
            item = next(csv.reader([item], skipinitialspace=True), [])
        if isinstance(item, Tensor | np.ndarray):
            item = item.tolist()
        if not isinstance(item, Sequence):
            raise WrongType(
                f"got {item!r:.60} of type {type(item).__name__}, expected a row: numbers or a line of them"
            )
        if len(item) != self.length:
            raise UnknownSymbol(f"a row has {len(item)} cells, expected {self.length}: {', '.join(self.columns)}")
        return enumerate(item)

    def _number(self, place: int, cell: Any) -> float | None:
        """The number in a cell, None for none."""
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
        """The columns' names as one line of comma-separated text."""
        return _line(self.columns)

    def line(self, row: Row) -> str:
        """A row as one line of comma-separated text, in digits that float32 tells apart."""
        return _line([f"{row[name]:.7g}" for name in self.columns])

    def names(self, symbols: Tensor) -> list[str]:
        """Column and number."""
        return [f"{name}={number:.6g}" for name, number in self.decode(symbols).items()]


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def as_number(cell: Any) -> float | str | None:
    """The number of a cell, None where it is empty, or what is wrong with it."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    try:
        number = float(cell.replace("_", "?") if isinstance(cell, str) else cell)  # to Python 1_000 is a number
    except (TypeError, ValueError):
        return f"{cell!r} is no number"
    if math.isnan(number):
        return None
    return number if math.isfinite(number) else f"{cell!r} is not finite"
