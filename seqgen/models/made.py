"""The masked autoencoder for distribution estimation."""

import itertools
import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Context, Model, Order
from seqgen.nn.degrees import masked
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import FirstOrder, Orders, permute, seeded_permutation
from seqgen.output import Output


class Position(NamedTuple):
    """The weights of one position of a factorisation: those of the hidden units of that degree, and of its parameters.

    `hidden` holds (weights (N, n), bias (B, n)) for each layer, None for a layer without units of that degree; `bias`
    is (B, P), `readout` (H, P) and `direct` (D E, P) or None. The rows of weights are sorted by the position at which
    their inputs become known, so that the known ones are a prefix.
    """

    hidden: tuple[tuple[Tensor, Tensor] | None, ...]
    bias: Tensor
    readout: Tensor
    direct: Tensor | None


class Known(NamedTuple):
    """The state of a MADE after t = `time` symbols.

    `positions` are the weights of all positions, `values` (B, t E) the embedded symbols, and `units` (B, n) for each
    layer the hidden units of degree t or less. `positions` is empty before the first step.
    """

    positions: tuple[Position, ...]
    values: Tensor
    units: tuple[Tensor, ...]
    time: int


class MADE(Model):
    """The masked autoencoder (Germain et al. 2015, arXiv:1502.03509).

    Every hidden unit has a degree m in 1 ... D - 1 and depends on the first m positions at most. Masks keep a weight
    from position t (counted from 1) to a unit if m >= t, from a unit to one of the next layer if the latter's degree is
    not smaller, and from a unit to the parameters of position t if t > m:

        h^1 = relu(b^1 + (W^1 M^1) x),   h^l = relu(b^l + (W^l M^l) h^l-1),   o = b + (V M) h^L + (A M_A) x.

    One pass gives all conditionals. All factorisations share the weights and differ in their masks, which follow from
    the order of the variables and from the connectivity, the degrees of the units. Factorisation number i has order
    number i mod `orders` and connectivity number i mod `masks`, so there are lcm(orders, masks) of them. Connectivity 0
    has ascending degrees; the others are permutations of these. Label embeddings are added to b^1 and to b; the latter
    are all that the first variable depends on.

    Deviation: degrees are not drawn at random but evenly spaced, then permuted, so that no layer lacks one by chance. A
    layer of fewer than D - 1 units does not have every degree; direct connections A make up for it.

    Args:
        output: The output distribution.
        labels: The number of classes of each label.
        dimensions: D, the number of variables.
        hidden: The number of units of each layer.
        direct: Whether there are direct connections A from inputs to parameters.
        orders: The number of orders it is trained for, 0 for any order (order-agnostic training).
        order: Order number 0.
        masks: The number of connectivities it is trained for, 0 for any (connectivity-agnostic training).

    >>> from seqgen.outputs import Bernoulli
    >>> model = MADE(Bernoulli(), dimensions=4, hidden=[6])
    >>> model.degrees(0)[0].tolist()
    [1, 1, 2, 2, 3, 3]
    """

    input_axes = MappingProxyType({"readout": -1, "direct": -1})

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        *,
        dimensions: int,
        hidden: Sequence[int] = (500,),
        direct: bool = False,
        orders: int = 1,
        order: FirstOrder = "natural",
        masks: int = 1,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise SeqgenError(f"hidden is {list(hidden)}, expected one layer or more, each of 1 unit or more")
        if masks < 0:
            raise SeqgenError(f"masks is {masks}, expected a whole number of 0 or more")
        self.ordering = Orders(dimensions, orders, order)
        self.output = output
        self.label_sizes = tuple(labels)
        self.masks = masks
        self.dimensions, self.orders = dimensions, math.lcm(orders, masks) or None
        self.any_order = not orders
        widths = [dimensions * output.width, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(widths))
        self.readout = nn.Parameter(torch.randn(dimensions, output.size, widths[-1]) / widths[-1] ** 0.5)
        self.bias = nn.Parameter(torch.zeros(dimensions, output.size))
        self.direct = nn.Parameter(0.01 * torch.randn(dimensions, output.size, widths[0])) if direct else None
        self.label_hidden = LabelEmbedding(labels, hidden[0]) if labels else None
        self.label_readout = LabelEmbedding(labels, self.bias.numel()) if labels else None

    @torch.no_grad()
    def init_from_marginals(self, x: Tensor) -> None:
        """Initialise the output biases from the marginals of data (N, D), where the output has a closed form."""
        if (fitted := self.output.fit_marginals(x)) is not None:
            self.bias.copy_(fitted)

    def order_number(self, number: int) -> Order:
        """Factorisation number `number`: its order and its connectivity."""
        return Order(self.ordering[number], number % self.masks if self.masks else number)

    def degrees(self, connectivity: int) -> list[Tensor]:
        """The degrees (H,) of the units of each layer, int64."""
        layers = [1 + np.arange(width) * max(1, self.ordering.dimensions - 1) // width for width in self.widths]
        if connectivity:
            layers = [
                degrees[seeded_permutation(len(degrees), connectivity, layer)] for layer, degrees in enumerate(layers)
            ]
        return [torch.from_numpy(degrees).to(self.bias.device) for degrees in layers]

    @property
    def widths(self) -> list[int]:
        """The number of units of each layer."""
        return [len(layer.bias) for layer in self.layers]

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self.ordering.check_length(x.shape[1])
        order = self.ordering.of_context(context)
        ranks, (*biases, readout_bias) = order.ranks, self.biases(context, len(x))
        inputs = F.pad(self.output.embed(x).to(self.bias.dtype), (0, 0, 0, self.ordering.dimensions - x.shape[1]))
        values = permute(inputs, 1, ranks).flatten(1)  # (B, D E), in the natural order
        positions = 1 + ranks.repeat_interleave(self.output.width)
        units, below = values, positions
        for layer, bias, degrees in zip(self.layers, biases, self.degrees(order.connectivity), strict=True):
            units = torch.addmm(bias, units, masked(layer.weight, degrees, below).t()).relu_()
            below = degrees
        rows = _plus_readout(readout_bias.flatten(1), units, self.readout, ranks, below)
        if self.direct is not None:
            rows = _plus_readout(rows, values, self.direct, ranks, positions)
        rows = rows.view(len(x), *self.bias.shape)
        return permute(rows, 1, order.permutation)[:, : x.shape[1]]

    def biases(self, context: Context | None, batch: int) -> list[Tensor]:
        """Biases with the label embeddings added: (B, H) or (1, H) of each layer, and (B, D, P) of the parameters."""
        hidden, readout = [layer.bias.unsqueeze(0) for layer in self.layers], self.bias.expand(batch, -1, -1)
        if self.label_hidden is None or self.label_readout is None:
            refuse_labels(context)
            return [*hidden, readout]
        hidden[0] = hidden[0] + self.label_hidden(context, batch)
        return [*hidden, readout + self.label_readout(context, batch).view_as(readout)]

    @property
    def layers(self) -> list[nn.Linear]:
        """The hidden layers, whose weights are not masked."""
        return [cast(nn.Linear, layer) for layer in self.hidden]

    # -- symbol by symbol: a unit of degree m is computed once, after m symbols

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Known]:
        """Parameters (B, P) of the first symbol, and the state without any units."""
        first = int(self.ordering.of_context(context).permutation[0])
        bias = self.biases(context, batch)[-1][:, first]
        empty = bias.new_zeros(batch, 0)
        return bias, Known((), empty, (empty,) * len(self.hidden), 0)

    def _positions(self, batch: int, context: Context | None) -> tuple[Position, ...]:
        """Views of the weights by position. To slice them at every symbol would take longer than the products."""
        order = self.ordering.of_context(context)
        permutation, width = order.permutation, self.output.width
        *biases, readout_bias = self.biases(context, batch)
        inputs = (permutation.unsqueeze(1) * width + torch.arange(width, device=permutation.device)).flatten()
        below, hidden = inputs, []
        for layer, bias, degrees in zip(self.layers, biases, self.degrees(order.connectivity), strict=True):
            units = degrees.argsort(stable=True)
            sizes = degrees.bincount(minlength=self.ordering.dimensions).tolist()
            weight = permute(permute(layer.weight, 0, units), 1, below)
            pairs = zip(torch.split(weight.t(), sizes, 1), torch.split(bias[:, units], sizes, 1), strict=True)
            hidden.append([pair if size else None for pair, size in zip(pairs, sizes, strict=True)])
            below = units
        readout = permute(permute(self.readout, 0, permutation), 2, below).transpose(1, 2).unbind(0)
        direct: Sequence[Tensor | None] = [None] * len(readout)
        if self.direct is not None:
            direct = permute(permute(self.direct, 0, permutation), 2, inputs).transpose(1, 2).unbind(0)
        bias_by_position = readout_bias.index_select(1, permutation).unbind(1)
        return tuple(map(Position, zip(*hidden, strict=True), bias_by_position, readout, direct))

    def step(self, x: Tensor, state: Known, context: Context | None = None) -> tuple[Tensor, Known]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the state after the last."""
        positions, values, units, time = state
        after = time + x.shape[1]
        if after >= len(positions):
            self.ordering.check_length(after + 1)
            positions = positions or self._positions(len(x), context)
        embedded, rows = self.output.embed(x), []
        if embedded.dtype != values.dtype:  # the check takes a tenth of the time of a conversion to the same dtype
            embedded = embedded.to(values.dtype)
        for position, value in enumerate(embedded.unbind(1), time + 1):
            hidden, readout_bias, readout, direct = positions[position]
            below = values = torch.cat([values, value], 1)
            layers = []
            for known, new in zip(units, hidden, strict=True):
                if new is not None:
                    weight, bias = new
                    known = torch.cat([known, torch.addmm(bias, below, weight[: below.shape[1]]).relu_()], 1)
                layers.append(known)
                below = known
            units = tuple(layers)
            row = torch.addmm(readout_bias, below, readout[: below.shape[1]])
            if direct is not None:
                row = torch.addmm(row, values, direct[: values.shape[1]])
            rows.append(row)
        parameters = rows[0].unsqueeze(1) if len(rows) == 1 else torch.stack(rows, 1)
        return parameters, Known(positions, values, units, after)


def _plus_readout(total: Tensor, values: Tensor, weight: Tensor, ranks: Tensor, below: Tensor) -> Tensor:
    """`total` (B, D P) plus what values (B, N) of degrees `below` (N,) give.

    By weight (D, P, N), kept where ranks (D,) >= below.
    """
    return torch.addmm(total, values, masked(weight, ranks, below).flatten(0, 1).t())
