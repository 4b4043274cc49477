"""Tables: rows of numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from seqgen.codec import Codec
from seqgen.codecs.table import Table
from seqgen.media.files import lines, read_text, write_atomically
from seqgen.modality import Modality

if TYPE_CHECKING:
    from seqgen.inference.score import Total


class TableModality(Modality):
    """Rows, each an object of column and number; in files and on terminals lines of comma-separated text."""

    name = "table"
    noun = "tables"
    plural = "rows"
    suffixes = (".csv",)
    key = "row"

    def collection(self, items: Any) -> list[Any] | None:
        """Also of a pandas DataFrame and of an array (N, D); a tuple is one row."""
        if isinstance(items, np.ndarray) and items.ndim == 2:
            return list(items)
        if hasattr(items, "to_dict") and hasattr(items, "columns"):
            records: list[Any] = items.to_dict("records")
            return records
        return items if isinstance(items, list) else None

    def items(self, codec: Codec, file: Path | BinaryIO, encoding: str | None = None) -> Iterator[tuple[str, Any]]:
        """The lines of comma-separated text, a header left out."""
        for number, line in enumerate(lines(read_text(file, encoding or "utf-8")), 1):
            if line.strip() and not (number == 1 and line.strip() == _table(codec).header):
                yield f"line {number}", line

    def write(self, codec: Codec, items: list[Any], path: Path) -> list[Path]:
        """A CSV file with a header."""
        write_atomically(path, (self.show(codec, items) + "\n").encode())
        return [path]

    def show(self, codec: Codec, items: list[Any]) -> str:
        """A header and a line for each row."""
        return "\n".join([_table(codec).header, *map(_table(codec).line, items)])

    def line(self, total: "Total") -> str:
        """Nats a row come first in tables of results."""
        return f"{super().line(total)} {total.nats_per_unit:8.3f} nats/row"


def _table(codec: Codec) -> Table:
    assert isinstance(codec, Table)  # it names this modality
    return codec
