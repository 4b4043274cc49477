"""The contract of every model: exact log p(x) in parallel, one symbol at a time, and in pieces."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from seqgen.config import Configurable, SeqgenError
from seqgen.output import Output

State = Any
"""What a model remembers of the symbols that it has taken in: tensors in tuples, a value, never kept on the module."""


class Order(NamedTuple):
    """The order in which the D variables of a vector come: position t of a sequence is variable permutation[t].

    A factorisation of the density is an order and, for a model that has several that are equally good, one of its
    connectivities, `member`.
    """

    permutation: Tensor
    member: int = 0

    def arrange(self, x: Tensor) -> Tensor:
        """Vectors (..., T) of the variables 0 ... T-1 as sequences in this order, of which they must be the first."""
        return x.index_select(-1, self._first(x.shape[-1]))

    def restore(self, x: Tensor) -> Tensor:
        """Sequences (..., T) in this order as vectors, each variable in its own place."""
        return x.index_select(-1, self._first(x.shape[-1]).argsort())

    def _first(self, count: int) -> Tensor:
        first = self.permutation[:count]
        if count > len(self.permutation) or not bool((first < count).all()):
            raise SeqgenError(f"an item has {count} symbols, expected {len(self.permutation)}, one for each variable")
        return first

    @property
    def ranks(self) -> Tensor:
        """The position (D,) of each variable."""
        return torch.argsort(self.permutation)

    @property
    def natural(self) -> bool:
        """Whether each variable stands in its own place."""
        return bool((self.permutation[1:] > self.permutation[:-1]).all())

    def led_by(self, places: Tensor) -> "Order":
        """The order in which these variables (S,) come first, they and the others each in the order of now."""
        chosen = torch.isin(self.permutation, places.to(self.permutation.device))
        return self._replace(permutation=torch.cat([self.permutation[chosen], self.permutation[~chosen]]))


class Context(NamedTuple):
    """What a sequence is conditioned on besides its own past.

    `labels` (B, L) int64 holds L labels a sequence: 0 where a label is not said, else 1 + its class. `features`
    (B, F, D) holds F frames of D numbers, each for as many symbols as the model's `hop`, the first from the first
    symbol on. `order` is that of all sequences of a batch; None is the model's first, and the only one that a model
    of sequences has.
    """

    labels: Tensor | None = None
    features: Tensor | None = None
    order: Order | None = None

    def rows(self, index: Any) -> "Context":
        """The context of some rows of the batch."""
        labels, features = (None if part is None else part[index] for part in (self.labels, self.features))
        return Context(labels, features, self.order)


def arranged(x: Tensor, context: Context | None, order: Order | None) -> tuple[Tensor, Context | None]:
    """Vectors (B, T) as sequences in an order, and the context that says so; both as they are where there is none."""
    if order is None:
        return x, context
    return order.arrange(x), (context or Context())._replace(order=order)


class Batch(NamedTuple):
    """Sequences of different length that travel together.

    x (B, T) symbols; mask (B, T), True where a symbol counts; weight (B,) of each sequence, None for 1. `window` is
    None for whole sequences; else x is the window of that number of longer sequences, and continues window - 1.
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
        """The batch on another device."""
        return Batch(*pytree.tree_map_only(Tensor, lambda tensor: tensor.to(device), tuple(self)))


class Carry(NamedTuple):
    """Where a reader of a long sequence stands: the last symbol (B, 1) read, and the state before it was taken in.

    The last symbol waits, because the parameters that follow it are asked for only with the next piece.
    """

    last: Tensor
    state: State

    def detach(self) -> "Carry":
        """The same place with its history of gradients cut (truncated back-propagation through time)."""
        return Carry(*pytree.tree_map_only(Tensor, Tensor.detach, tuple(self)))


class Model(nn.Module, Configurable, ABC):
    """A factorised density `p(x) = p(x_1) p(x_2|x_1) ... p(x_n|x_<n)`.

    The shift lives inside: row t of `forward` sees only x[:, :t]. Letters: B batch, T time, P parameters a symbol.
    The laws, which tests/laws.py holds every model to: `start` and `step` equal `forward` for any chunking, and an
    override of them equals the slow default given here.
    """

    output: Output

    shape: tuple[int, int, int] | None = None
    """Height, width and channels, of a model of images that takes them as such."""
    dimensions: int | None = None
    """D, for densities of vectors; a sequence then has at most D symbols. None: any number."""
    orders: int | None = 1
    """How many factorisations the model was made for, all equally good; None: as many as one likes."""

    any_order: bool = False
    """Whether that means every order of the variables."""

    label_sizes: tuple[int, ...] = ()
    """The number of classes of each label that the model is conditioned on (global conditioning); () for none."""
    feature_size: int = 0
    """D, the numbers in a frame of local conditioning; 0 for a model without."""
    feature_hop: int = 1
    """Symbols of a frame."""
    scalar_input: bool = False
    """Whether a class enters as one number from -1 to 1 instead of its one-hot vector."""

    def order_number(self, number: int) -> Order | None:
        """The factorisation of that number, 0 for the first; None for models of sequences, which have no other."""
        return None

    def order_led_by(self, places: Tensor) -> Order | None:
        """A factorisation in which these variables (S,) come first; None for models of sequences.

        Raises SeqgenError where the model was made for none such: in another order its parameters mean nothing.
        """
        orders = [self.order_number(number) for number in range(1 if self.any_order else self.orders or 1)]
        for order in orders:
            if order is None:
                return None
            led = order.led_by(places)
            if self.any_order or torch.equal(led.permutation, order.permutation):
                return led
        raise SeqgenError(
            f"in none of the {len(orders)} orders that the model was trained for do these {len(places)} variables come "
            "first; expected the first ones, or a model of any order: --model.model.orders 0"
        )

    @property
    def receptive_field(self) -> int | None:
        """How many symbols back a row sees; None: all of them."""
        return None

    @abstractmethod
    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, P) of the first symbol, and the state before any symbol."""
        prefix = torch.zeros(batch, 0, dtype=self.output.dtype, device=self.device)
        return self._after(prefix, context)[:, 0], (prefix,)

    def step(self, x: Tensor, state: State, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, T, P) after each symbol of the chunk x (B, T), T >= 1, and the state after the last."""
        prefix = torch.cat([state[0], x], 1)
        return self._after(prefix, context)[:, -x.shape[1] :], (prefix,)

    def _after(self, prefix: Tensor, context: Context | None) -> Tensor:
        # The row of a symbol to come sees the whole prefix, whatever stands in that symbol's own place.
        rows: Tensor = self(torch.cat([prefix, prefix.new_zeros(prefix.shape[0], 1)], 1), context)
        return rows

    def advance(self, x: Tensor, carry: Carry | None = None, context: Context | None = None) -> tuple[Tensor, Carry]:
        """`forward` in pieces: rows (B, T, P) for the next piece x (B, T) of a sequence, and the place after it.

        Without a carry x begins the sequence. The rows of all pieces, joined, equal `forward` of the whole.
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
        """log p(x_t | x_<t) in nats (B, T); summed over T it is the log-density of the sequence."""
        log_prob: Tensor = self.output(self(x, context)).log_prob(x)
        return log_prob

    def begin(self, x: Tensor) -> None:
        """Start from what each variable is by itself in rows (N, D) of the training data, their natural order.

        Called once, before training. Models that have no parameters of single variables do nothing here.
        """

    def count(self, batch: Batch, carry: Carry | None = None) -> None:
        """Learn from a batch by counting. Models that learn by gradient alone, all but tables, do nothing here."""

    @property
    def device(self) -> torch.device:
        """Where the model's numbers lie."""
        for tensor in (*self.parameters(), *self.buffers()):
            return tensor.device
        return torch.device("cpu")
