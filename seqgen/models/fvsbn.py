"""The fully visible sigmoid belief network."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context, Model, Order
from seqgen.nn.degrees import masked
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import First, Orders, in_order
from seqgen.output import Output


class Sums(NamedTuple):
    """What an FVSBN remembers: `totals` (B, D P), what all symbols so far add to every variable, in the order's places.

    `weight` (D, E, D P) holds in row t what the symbol at position t adds; `time` symbols are taken in.
    """

    totals: Tensor
    weight: Tensor
    time: int


class FVSBN(Model):
    """Logistic autoregression (Frey 1998; the fully visible sigmoid belief network of Gan et al. 2015).

    With embedded symbols x_j (E,), variable i has the parameters

        o_i = b_i + sum over j before i of W_ij x_j,

    one product with a matrix (D P, D E) of which the order leaves half. For 0 and 1 this is the paper's; with one-hot
    symbols it is a multinomial regression on all earlier ones, with numbers a regression that is linear in them. W has
    an entry for both directions of every pair, so that each order has its own half. Labels add to all o_i.

    Args:
        output: What the parameters mean.
        labels: The number of classes of every label.
        dimensions: D, variables of a vector.
        orders: How many orders it is trained for, 0 for any.
        order: The first of them.

    >>> from seqgen.outputs import Bernoulli
    >>> model = FVSBN(Bernoulli(), dimensions=4)
    >>> model(torch.tensor([[0, 1, 1, 0]])).shape
    torch.Size([1, 4, 1])
    """

    def __init__(
        self, output: Output, labels: Sequence[int] = (), *, dimensions: int, orders: int = 1, order: First = "natural"
    ) -> None:
        super().__init__()
        self.ordering = Orders(dimensions, orders, order)
        self.output = output
        self.label_sizes = tuple(labels)
        self.dimensions, self.orders, self.any_order = dimensions, orders or None, not orders
        self.bias = nn.Parameter(torch.zeros(dimensions, output.size))
        self.weight = nn.Parameter(0.01 * torch.randn(dimensions, output.size, dimensions, output.width))
        self.labels = LabelEmbedding(labels, self.bias.numel()) if labels else None

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Fit what depends on nothing to the variables of rows (N, D), where the output has a formula for it."""
        if (fitted := self.output.fitted(x)) is not None:
            self.bias.copy_(fitted)

    def order_number(self, number: int) -> Order:
        """The order of that number."""
        return Order(self.ordering[number])

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self.ordering.check(x.shape[1])
        order = self.ordering.given(context)
        ranks = order.ranks
        inputs = F.pad(self.output.embed(x).to(self.weight.dtype), (0, 0, 0, self.ordering.dimensions - x.shape[1]))
        weight = masked(self.weight.flatten(2), ranks, 1 + ranks.repeat_interleave(self.output.width))
        rows = F.linear(inputs.index_select(1, ranks).flatten(1), weight.flatten(0, 1))
        rows = rows + self._first(context, len(x))
        return rows.view(len(x), *self.bias.shape).index_select(1, order.permutation[: x.shape[1]])

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Sums]:
        """Parameters (B, P) of the first symbol; nothing is added to any yet."""
        order = self.ordering.given(context).permutation
        weight = in_order(in_order(self.weight, 0, order), 2, order).permute(2, 3, 0, 1).flatten(2).contiguous()
        totals = self._first(context, batch).view(batch, *self.bias.shape).index_select(1, order).flatten(1)
        return totals[:, : self.output.size], Sums(totals, weight, 0)

    def step(self, x: Tensor, state: Sums, context: Context | None = None) -> tuple[Tensor, Sums]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the sums after the last."""
        totals, weight, time = state
        self.ordering.check(time + x.shape[1] + 1)
        size, after = self.output.size, time + x.shape[1]
        if x.shape[1] == 1:
            totals = self.output.add(totals, x[:, 0], weight[time])
            return totals[:, after * size : (after + 1) * size].unsqueeze(1), Sums(totals, weight, after)
        inputs = self.output.embed(x).to(weight.dtype)  # (B, T, E)
        wanted = slice((time + 1) * size, (after + 1) * size)
        block = weight[time:after, :, wanted].reshape(*inputs.shape[1:], -1, size)  # (T, E, T, P)
        earlier = torch.ones(x.shape[1], x.shape[1], dtype=weight.dtype, device=weight.device).triu()
        rows = torch.einsum("bse,setp->btp", inputs, block * earlier[:, None, :, None])
        rows = rows + totals[:, wanted].reshape(rows.shape)
        return rows, Sums(totals + inputs.flatten(1) @ weight[time:after].flatten(0, 1), weight, after)

    def _first(self, context: Context | None, batch: int) -> Tensor:
        """The parameters (B, D P) of all variables before any symbol, in their own places."""
        bias = self.bias.flatten().expand(batch, -1)
        if self.labels is None:
            refuse_labels(context)
            return bias
        added: Tensor = self.labels(context, batch)
        return bias + added
