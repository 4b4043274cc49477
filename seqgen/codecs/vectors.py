"""Items of one fixed length."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from seqgen.codec import Codec


class Vectors(Codec):
    """Fixed-length items, such as table rows or images of one size: D symbols each, without an end symbol."""

    length: int

    def stream(self, symbols: Iterable[Any]) -> Iterator[Any]:
        """The whole item as one piece."""
        yield self.decode(torch.tensor(list(symbols)))

    def pieces(self, items: Iterable[Any]) -> Iterator[Tensor]:
        """The symbols of one item after another."""
        return (self.encode(item) for item in items)

    def lengths(self, symbols: Tensor) -> Tensor:
        """1 for the last symbol of an item, 0 for all others, so that lengths add up to the number of items."""
        lengths = torch.zeros(symbols.shape, dtype=torch.float64, device=symbols.device)
        lengths[..., -1:] = 1
        return lengths
