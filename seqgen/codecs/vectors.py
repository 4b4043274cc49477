"""Items that all have as many symbols."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from seqgen.codec import Codec


class Vectors(Codec):
    """Rows of a table, pictures of one size: items of D symbols, each in a place of its own, without an end."""

    length: int

    def stream(self, symbols: Iterable[Any]) -> Iterator[Any]:
        """One piece, the whole item: there is no part of it that could be told before."""
        yield self.decode(torch.tensor(list(symbols)))

    def pieces(self, items: Iterable[Any]) -> Iterator[Tensor]:
        """Item after item."""
        return (self.encode(item) for item in items)

    def lengths(self, symbols: Tensor) -> Tensor:
        """1 for the last symbol, with which an item is whole, 0 for the others."""
        lengths = torch.zeros(symbols.shape, dtype=torch.float64, device=symbols.device)
        lengths[..., -1:] = 1
        return lengths
