"""DNA as symbols, one a base."""

from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from dna.fasta import Record
from seqgen.codec import Codec, UnknownSymbol
from seqgen.config import SeqgenError

BASES = "ACGT"
AMBIGUOUS = "NRYSWKMBDHV"
"""IUPAC codes of bases that are not known for certain; N is any of the four."""


class DNA(Codec):
    """The symbols 0 .. 3 are A, C, G and T, and 4 is the end of a sequence.

    With `unknown` the symbol 5 stands for every ambiguous base, such as N; it is scored, never sampled, and decodes to
    N. Without it an ambiguous base is an error.

    Args:
        unknown: Whether ambiguous bases have a symbol.

    >>> codec = DNA()
    >>> codec.encode("ATGNY").tolist()
    [0, 3, 2, 5, 5]
    >>> codec.decode(codec.encode("ATG")).sequence
    'ATG'
    """

    modality = "dna"
    unit = "base"
    learns = False
    end = 4
    usual_length = 3000

    def __init__(self, unknown: bool = True) -> None:
        self.unknown = 5 if unknown else None
        self.unsampled = (5,) if unknown else ()
        self.size = 5 + unknown
        self._symbols = np.full(128, -1, np.int64)  # of every ASCII character
        self._symbols[list(map(ord, BASES))] = range(4)
        if unknown:
            self._symbols[list(map(ord, AMBIGUOUS))] = 5

    def encode(self, item: Any) -> Tensor:
        """Symbols (T,) int64 of a Record or a str. Raises UnknownSymbol with the base and its position."""
        sequence = Record.of(item).sequence
        points = np.frombuffer(sequence.encode("utf-32-le", "surrogatepass"), np.uint32)
        symbols = np.where(points < 128, self._symbols[np.minimum(points, 127)], -1)
        if (wrong := np.flatnonzero(symbols < 0)).size:
            error = UnknownSymbol(
                f"base {sequence[wrong[0]]!r} at position {wrong[0]} has no symbol, expected {', '.join(BASES)}"
                f"{'' if self.unknown is None else f' or one of {AMBIGUOUS}'}"
            )
            error.position = int(wrong[0])
            raise error
        return torch.from_numpy(symbols)

    def decode(self, symbols: Tensor) -> Record:
        """The record, without a header, up to the first end symbol. Raises SeqgenError for what is no symbol."""
        return Record("".join(piece.sequence for piece in self.stream(symbols.tolist())))

    def stream(self, symbols: Iterable[int]) -> Iterator[Record]:
        """One base at a time."""
        for symbol in symbols:
            if symbol == self.end:
                return
            yield Record(self._name(symbol))

    def pieces(self, items: Iterable[Any]) -> Iterator[Tensor]:
        """Record after record."""
        return map(self.encode, items)

    def lengths(self, symbols: Tensor) -> Tensor:
        """One base each, none for the end."""
        return (symbols != self.end).long()

    def names(self, symbols: Tensor) -> list[str]:
        """The bases, N for an ambiguous one, `<end>` for the end."""
        return ["<end>" if symbol == self.end else self._name(symbol) for symbol in symbols.tolist()]

    def _name(self, symbol: int) -> str:
        if symbol == self.unknown:
            return "N"
        if not 0 <= symbol < len(BASES):
            raise SeqgenError(f"symbol {symbol} stands for no base, expected 0 .. 3")
        return BASES[symbol]

    def fit(self, items: Iterable[Any]) -> Self:
        """The codec itself: there is nothing to learn."""
        return self
