"""Orders (permutations) of the variables of a vector."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context, Order

FirstOrder = Literal["natural", "random"]
"""Order number 0."""


def refuse_order(context: Context | None) -> None:
    """Raises SeqgenError for a context with an order; for models with a single factorisation."""
    if context is not None and context.order is not None:
        raise SeqgenError("got an order of the variables, expected none: this model has one order only")


def seeded_permutation(count: int, *seed: int) -> np.ndarray:
    """A random permutation (count,), the same for the same seed in every version of numpy (legacy RandomState)."""
    permutation: np.ndarray = np.random.RandomState([number & 0xFFFFFFFF for number in seed]).permutation(count)
    return permutation


def permute(x: Tensor, dim: int, permutation: Tensor) -> Tensor:
    """`x.index_select(dim, permutation)`, without a copy for the identity, the usual case."""
    identity = torch.arange(x.shape[dim], device=permutation.device)
    return x if torch.equal(permutation, identity) else x.index_select(dim, permutation)


class Orders(nn.Module):
    """The orders of D variables that a model is trained for.

    Order 0 is the natural one or a random one; the others are random. All are functions of their numbers, so a model
    that is built again has the same. `count` is how many there are, 0 for one of every number.
    """

    table: Tensor

    def __init__(self, dimensions: int, count: int = 1, first: FirstOrder = "natural") -> None:
        super().__init__()
        for name, value, least in (("dimensions", dimensions, 1), ("orders", count, 0)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SeqgenError(f"{name} is {value!r}, expected a whole number of {least} or more")
        if first not in ("natural", "random"):
            raise SeqgenError(f"order is {first!r}, expected natural or random")
        self.dimensions, self.count, self.first = dimensions, count, first
        # Not persistent: a function of the arguments.
        table = torch.stack([self._permutation(number) for number in range(max(1, count))])
        self.register_buffer("table", table, persistent=False)

    def __getitem__(self, number: int) -> Tensor:
        """The permutation (D,) of order `number`; `number` is taken modulo `count`, unless that is 0."""
        if self.count or not number:
            return self.table[number % len(self.table)]
        return self._permutation(number).to(self.table.device)

    def _permutation(self, number: int) -> Tensor:
        if not number and self.first == "natural":
            return torch.arange(self.dimensions)
        return torch.from_numpy(seeded_permutation(self.dimensions, number))

    def of_context(self, context: Context | None) -> Order:
        """The order of a context, or order 0 if it has none. Raises SeqgenError unless it permutes the D variables."""
        if context is None or context.order is None:
            return Order(self.table[0])
        permutation = context.order.permutation
        if permutation.shape != self.table[0].shape or permutation.dtype != torch.int64:
            kind = f"{permutation.dtype} {tuple(permutation.shape)}"
            raise SeqgenError(f"the order is {kind}, expected int64 ({self.dimensions},)")
        if not torch.equal(permutation.sort().values, torch.arange(self.dimensions, device=permutation.device)):
            raise SeqgenError(f"the order is not a permutation, expected each of the {self.dimensions} variables once")
        return context.order

    def check_length(self, length: int) -> None:
        """Raises SeqgenError for more than D symbols."""
        if length > self.dimensions:
            raise SeqgenError(f"a sequence has {length} symbols, expected at most {self.dimensions}, one a variable")
