"""The interface of every model: exact log p(x) in parallel, symbol by symbol, and in consecutive chunks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from seqgen.config import Configurable, SeqgenError
from seqgen.output import Output

Axes = Mapping[str, int | tuple[int, ...]]
"""Axes of parameters by name."""
State = Any
"""A model's hidden state or cache after some symbols: tensors in tuples. It is returned, never stored on the module."""


class Order(NamedTuple):
    """A factorisation of the density of a D-dimensional vector: position t of the sequence is variable permutation[t].

    `permutation` is (D,) int64; `connectivity` is the number of the mask set of a MADE, 0 for other models.
    """

    permutation: Tensor
    connectivity: int = 0

    def arrange(self, x: Tensor) -> Tensor:
        """Vectors (..., T) as sequences (..., T) in this order.

        For T < D the vectors hold variables 0 ... T-1, which must be the first T of the order; else SeqgenError.
        """
        return x.index_select(-1, self._prefix(x.shape[-1]))

    def restore(self, x: Tensor) -> Tensor:
        """The inverse of `arrange`: sequences (..., T) as vectors (..., T)."""
        return x.index_select(-1, self._prefix(x.shape[-1]).argsort())

    def _prefix(self, length: int) -> Tensor:
        """The first `length` variables of the order."""
        prefix = self.permutation[:length]
        if length > len(self.permutation) or not bool((prefix < length).all()):
            raise SeqgenError(f"an item has {length} symbols, expected {len(self.permutation)}, one for each variable")
        return prefix

    @property
    def ranks(self) -> Tensor:
        """The position (D,) of each variable."""
        return torch.argsort(self.permutation)

    @property
    def natural(self) -> bool:
        """Whether the permutation is the identity."""
        return bool((self.permutation[1:] > self.permutation[:-1]).all())

    def starting_with(self, variables: Tensor) -> "Order":
        """The order with these variables (S,) moved to the front, relative order kept within both groups."""
        chosen = torch.isin(self.permutation, variables.to(self.permutation.device))
        return self._replace(permutation=torch.cat([self.permutation[chosen], self.permutation[~chosen]]))


class Context(NamedTuple):
    """What a batch of sequences is conditioned on besides the preceding symbols.

    `labels` (B, L) int64 is global conditioning: 1 + the class of each of L labels, 0 for an unknown label
    (unconditional). `features` (B, F, D) is local conditioning: F frames of D numbers, frame f for the symbols
    f * hop ... (f + 1) * hop - 1 with hop the model's `feature_hop`. `order` is the factorisation of all sequences of
    the batch; None is the model's first one, the only one of sequence models.
    """

    labels: Tensor | None = None
    features: Tensor | None = None
    order: Order | None = None

    def rows(self, index: Any) -> "Context":
        """The context of some rows of the batch."""
        labels, features = (None if part is None else part[index] for part in (self.labels, self.features))
        return Context(labels, features, self.order)


def arranged(x: Tensor, context: Context | None, order: Order | None) -> tuple[Tensor, Context | None]:
    """Vectors (B, T) as sequences in `order`, and the context with that order; unchanged where `order` is None."""
    if order is None:
        return x, context
    return order.arrange(x), (context or Context())._replace(order=order)


class Batch(NamedTuple):
    """Sequences of different length, padded to one.

    x (B, T) symbols; mask (B, T), False for padding; weight (B,) of each sequence in the loss, None for 1. `window` is
    None for whole sequences; else x is crop number `window` of B longer sequences and continues crop `window` - 1
    (truncated back-propagation through time).
    """

    x: Tensor
    mask: Tensor
    context: Context | None = None
    weight: Tensor | None = None
    window: int | None = None

    def rows(self, index: Any) -> "Batch":
        """Some rows of the batch."""
        context = None if self.context is None else self.context.rows(index)
        weight = None if self.weight is None else self.weight[index]
        return Batch(self.x[index], self.mask[index], context, weight, self.window)

    def to(self, device: torch.device) -> "Batch":
        """The batch on `device`."""
        return Batch(*pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), tuple(self)))


class Carry(NamedTuple):
    """What `Model.advance` carries between chunks: the last symbol (B, 1), and the state before that symbol.

    The last symbol is stepped through with the next chunk, since its row of parameters belongs to that chunk.
    """

    last: Tensor
    state: State

    def detach(self) -> "Carry":
        """The same carry without gradient history, for truncated back-propagation through time."""
        return Carry(*pytree.tree_map_only(Tensor, Tensor.detach, tuple(self)))


class Model(nn.Module, Configurable, ABC):
    """An autoregressive density `p(x) = p(x_1) p(x_2|x_1) ... p(x_n|x_<n)`.

    The model is causal: row t of `forward` depends on x[:, :t] alone. Letters: B batch, T time, P parameters of one
    symbol. The laws, which tests/laws.py checks for every model: `start` and `step` equal `forward` for any chunking,
    and an override of them equals the default given here, which runs `forward` on the whole prefix.
    """

    output: Output

    shape: tuple[int, int, int] | None = None
    """Height, width and channels for models of images; None for others."""
    dimensions: int | None = None
    """D, the largest number of symbols, for densities of vectors and of images; None for any number."""
    orders: int | None = 1
    """The number of factorisations that the model is trained for; None for unlimited."""

    any_order: bool = False
    """Whether the model is order-agnostic: trained for every permutation of its variables."""

    label_sizes: tuple[int, ...] = ()
    """The number of classes of each label that the model is conditioned on (global conditioning); () for none."""
    feature_size: int = 0
    """D, the numbers in a frame of local conditioning; 0 for a model without."""
    feature_hop: int = 1
    """Symbols of a frame."""
    feature_reach: int = 1
    """The number of frames on either side of a symbol's own that its row depends on, at most."""
    prediction: int = 0
    """The order of a linear predictor of the symbols that a frame ends with; 0 for none."""
    scalar_input: bool = False
    """Whether a class enters as one number from -1 to 1 instead of its one-hot vector."""
    input_axes: Axes = MappingProxyType({})
    """The axes of a parameter that a product sums over, for weights other than those of torch's layers."""

    def order_number(self, number: int) -> Order | None:
        """Factorisation number `number`, from 0; None for sequence models, which have one only."""
        return None

    def order_starting_with(self, variables: Tensor) -> Order | None:
        """A factorisation in which these variables (S,) come first; None for sequence models.

        Raises SeqgenError where the model is trained for none such.
        """
        orders = [self.order_number(number) for number in range(1 if self.any_order else self.orders or 1)]
        for order in orders:
            if order is None:
                return None
            moved = order.starting_with(variables)
            if self.any_order or torch.equal(moved.permutation, order.permutation):
                return moved
        raise SeqgenError(
            f"these {len(variables)} variables come first in none of the {len(orders)} orders that the model was "
            "trained for, expected the first variables of an order, or a model trained for any order (orders=0)"
        )

    @property
    def receptive_field(self) -> int | None:
        """The number of preceding symbols that a row depends on; None for all of them."""
        return None

    @abstractmethod
    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, P) of the first symbol, and the initial state."""
        prefix = torch.zeros(batch, 0, dtype=self.output.dtype, device=self.device)
        return self._next_rows(prefix, context)[:, 0], (prefix,)

    def step(self, x: Tensor, state: State, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, T, P) of the symbol after each symbol of the chunk x (B, T), T >= 1, and the next state."""
        prefix = torch.cat([state[0], x], 1)
        return self._next_rows(prefix, context)[:, -x.shape[1] :], (prefix,)

    def _next_rows(self, prefix: Tensor, context: Context | None) -> Tensor:
        # The row of the next symbol does not depend on that symbol, so any placeholder will do.
        rows: Tensor = self(torch.cat([prefix, prefix.new_zeros(prefix.shape[0], 1)], 1), context)
        return rows

    def advance(self, x: Tensor, carry: Carry | None = None, context: Context | None = None) -> tuple[Tensor, Carry]:
        """`forward` in chunks: parameters (B, T, P) of the next chunk x (B, T), and the carry for the one after it.

        Without a carry x is the first chunk. The rows of all chunks, concatenated, equal `forward` of the whole.
        """
        if carry is not None:
            rows, state = self.step(torch.cat([carry.last, x[:, :-1]], 1), carry.state, context)
            return rows, Carry(x[:, -1:], state)
        first, state = self.start(x.shape[0], context)
        rows = first.unsqueeze(1)
        if x.shape[1] > 1:
            rest, state = self.step(x[:, :-1], state, context)
            rows = torch.cat([rows, rest], 1)
        return rows, Carry(x[:, -1:], state)

    def log_prob(self, x: Tensor, context: Context | None = None) -> Tensor:
        """log p(x_t | x_<t) (B, T) in nats; its sum over T is the log-density of the sequence."""
        log_prob: Tensor = self.output(self(x, context)).log_prob(x)
        return log_prob

    def init_from_marginals(self, x: Tensor) -> None:
        """Initialise output biases from the marginals of training data (N, D), in the natural order of variables.

        Called once, before training. Models without a bias for each variable do nothing here.
        """

    def count(self, batch: Batch, carry: Carry | None = None) -> None:
        """Update count tables from a batch. Models trained by gradient descent do nothing here."""

    @property
    def device(self) -> torch.device:
        """The device of the parameters and buffers."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")
