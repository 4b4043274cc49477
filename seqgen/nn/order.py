"""The variables of a vector, and the orders in which they may come."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context, Order

First = Literal["natural", "random"]


def refuse_order(context: Context | None) -> None:
    """Raises SeqgenError for a context with an order, for models that know none."""
    if context is not None and context.order is not None:
        raise SeqgenError("an order of the variables is given, but this model has one order only")


def shuffled(count: int, *numbers: int) -> np.ndarray:
    """The permutation (count,) of these numbers, the same in every version of every library."""
    permutation: np.ndarray = np.random.RandomState([number & 0xFFFFFFFF for number in numbers]).permutation(count)
    return permutation


def in_order(x: Tensor, dim: int, order: Tensor) -> Tensor:
    """`x.index_select(dim, order)`, without a copy where that is x itself, as it mostly is."""
    return x if torch.equal(order, torch.arange(x.shape[dim], device=order.device)) else x.index_select(dim, order)


class Orders(nn.Module):
    """D variables and the orders that a model of them is made for.

    Order 0 is the natural one, or a random one that is always the same; the others are random. With `count` 0 there is
    one for every number.
    """

    table: Tensor

    def __init__(self, dimensions: int, count: int = 1, first: First = "natural") -> None:
        super().__init__()
        for name, value, least in (("dimensions", dimensions, 1), ("orders", count, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SeqgenError(f"{name} is {value!r}, expected a whole number of {least} or more")
        if first not in ("natural", "random"):
            raise SeqgenError(f"order is {first!r}, expected natural or random")
        self.dimensions, self.count, self.first = dimensions, count, first
        # Not saved: the arguments say it all.
        table = torch.stack([self._permutation(number) for number in range(max(1, count))])
        self.register_buffer("table", table, persistent=False)

    def __getitem__(self, number: int) -> Tensor:
        """The permutation (D,) of that number."""
        if self.count or not number:
            return self.table[number % len(self.table)]
        return self._permutation(number).to(self.table.device)

    def _permutation(self, number: int) -> Tensor:
        if not number and self.first == "natural":
            return torch.arange(self.dimensions)
        return torch.from_numpy(shuffled(self.dimensions, number))

    def given(self, context: Context | None) -> Order:
        """The order of a context, the first if it says none. Raises SeqgenError for what orders other variables."""
        if context is None or context.order is None:
            return Order(self.table[0])
        permutation = context.order.permutation
        if permutation.shape != self.table[0].shape or permutation.dtype != torch.int64:
            kind = f"{permutation.dtype} {tuple(permutation.shape)}"
            raise SeqgenError(f"the order is {kind}, expected int64 ({self.dimensions},)")
        if not torch.equal(permutation.sort().values, torch.arange(self.dimensions, device=permutation.device)):
            raise SeqgenError(f"the order does not name each of the {self.dimensions} variables once")
        return context.order

    def check(self, length: int) -> None:
        """Raises SeqgenError for more symbols than there are variables."""
        if length > self.dimensions:
            raise SeqgenError(f"a sequence has {length} symbols, expected at most {self.dimensions}, one a variable")
