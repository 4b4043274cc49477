"""The fully visible sigmoid belief network."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context, Model, Order
from seqgen.nn.degrees import masked
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import FirstOrder, Orders, permute
from seqgen.output import Output


class Sums(NamedTuple):
    """The state of an FVSBN after `time` symbols, by position in the order.

    `totals` (B, D P) are the parameters of all variables, as far as the symbols so far determine them; `weight`
    (D, E, D P) holds in row t the weights from the symbol at position t to all parameters, None before the first step.
    """

    totals: Tensor
    weight: Tensor | None
    time: int


class FVSBN(Model):
    """Logistic autoregression (Frey 1998; the fully visible sigmoid belief network of Gan et al. 2015).

    With embedded symbols x_j (E,), the parameters of variable i are

        o_i = b_i + sum over j before i of W_ij x_j,

    one product with a matrix (D P, D E), masked to the variables that come before. With binary symbols this is the
    papers' model; with one-hot symbols it is a multinomial logistic regression on the preceding ones, with real numbers
    a linear regression. W has weights for both directions of every pair, of which each order uses one. Label embeddings
    are added to all o_i.

    Args:
        output: The output distribution.
        labels: The number of classes of each label.
        dimensions: D, the number of variables.
        orders: The number of orders it is trained for, 0 for any order (order-agnostic training).
        order: Order number 0.

    >>> from seqgen.outputs import Bernoulli
    >>> model = FVSBN(Bernoulli(), dimensions=4)
    >>> model(torch.tensor([[0, 1, 1, 0]])).shape
    torch.Size([1, 4, 1])
    """

    input_axes = MappingProxyType({"weight": 2})

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        *,
        dimensions: int,
        orders: int = 1,
        order: FirstOrder = "natural",
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
    def init_from_marginals(self, x: Tensor) -> None:
        """Initialise the output biases from the marginals of data (N, D), where the output has a closed form."""
        if (fitted := self.output.fit_marginals(x)) is not None:
            self.bias.copy_(fitted)

    def order_number(self, number: int) -> Order:
        """Order number `number`."""
        return Order(self.ordering[number])

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self.ordering.check_length(x.shape[1])
        order = self.ordering.of_context(context)
        ranks = order.ranks
        inputs = F.pad(self.output.embed(x).to(self.weight.dtype), (0, 0, 0, self.ordering.dimensions - x.shape[1]))
        weight = masked(self.weight, ranks, 1 + ranks)
        rows = F.linear(permute(inputs, 1, ranks).flatten(1), weight.flatten(0, 1))
        rows = rows + self._biases(context, len(x))
        return permute(rows.view(len(x), *self.bias.shape), 1, order.permutation)[:, : x.shape[1]]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Sums]:
        """Parameters (B, P) of the first symbol, and the state with biases alone."""
        order = self.ordering.of_context(context).permutation
        totals = self._biases(context, batch).view(batch, *self.bias.shape).index_select(1, order).flatten(1)
        return totals[:, : self.output.size], Sums(totals, None, 0)

    def step(self, x: Tensor, state: Sums, context: Context | None = None) -> tuple[Tensor, Sums]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the state after the last."""
        totals, weight, time = state
        if weight is None:
            order = self.ordering.of_context(context).permutation
            weight = permute(permute(self.weight, 0, order), 2, order).permute(2, 3, 0, 1).flatten(2).contiguous()
        self.ordering.check_length(time + x.shape[1] + 1)
        size, after = self.output.size, time + x.shape[1]
        if x.shape[1] == 1:
            totals = self.output.add(totals, x[:, 0], weight[time])
            return totals[:, after * size : (after + 1) * size].unsqueeze(1), Sums(totals, weight, after)
        inputs = self.output.embed(x).to(weight.dtype)  # (B, T, E)
        columns = slice((time + 1) * size, (after + 1) * size)
        block = weight[time:after, :, columns].reshape(*inputs.shape[1:], -1, size)  # (T, E, T, P)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=weight.dtype, device=weight.device).triu()
        rows = torch.einsum("bse,setp->btp", inputs, block * causal[:, None, :, None])
        rows = rows + totals[:, columns].reshape(rows.shape)
        return rows, Sums(totals + inputs.flatten(1) @ weight[time:after].flatten(0, 1), weight, after)

    def _biases(self, context: Context | None, batch: int) -> Tensor:
        """Biases (B, D P) with the label embeddings added, in the natural order."""
        bias = self.bias.flatten().expand(batch, -1)
        if self.labels is None:
            refuse_labels(context)
            return bias
        added: Tensor = self.labels(context, batch)
        return bias + added
