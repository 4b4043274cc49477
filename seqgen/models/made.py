"""The masked autoencoder for distribution estimation."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Context, Model, Order
from seqgen.nn.degrees import masked
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import First, Orders, in_order, shuffled
from seqgen.output import Output


class Place(NamedTuple):
    """What one position of a factorisation adds: to each layer the units of that degree, and its parameters.

    `hidden` holds (weights (N, n), bias (B, n)) a layer, None where it has no such unit; `first` (B, P) depends on no
    symbol; `readout` is (H, P) and `direct` (D E, P) or None. The rows of weights are in the order in which symbols and
    units become known, so that those known by now are the foremost.
    """

    hidden: tuple[tuple[Tensor, Tensor] | None, ...]
    first: Tensor
    readout: Tensor
    direct: Tensor | None


class Filled(NamedTuple):
    """What a MADE remembers: embedded symbols (B, t E) and the units (B, n) of each layer that t symbols determine."""

    places: tuple[Place, ...]
    values: Tensor
    units: tuple[Tensor, ...]
    time: int


class MADE(Model):
    """A feed-forward network with masked weights (Germain et al. 2015, arXiv:1502.03509).

    Every hidden unit has a degree m in 1 ... D - 1 and sees the first m variables at most: a weight from position t
    (counted from 1) to a unit stays if m >= t, between units if the later one's degree is not less, and to the
    parameters of position t if t > m:

        h^1 = relu(b^1 + (W^1 M^1) x),   h^l = relu(b^l + (W^l M^l) h^l-1),   o = b + (V M) h^L + (A M_A) x.

    One pass gives all conditionals. Masks follow from the order of the variables and the degrees; the weights are
    never altered by them, so that all factorisations share all weights. Factorisation number i has order number
    i mod `orders` and connectivity number i mod `masks`, so there are lcm(orders, masks) of them. Connectivity 0 gives
    the units their degrees in ascending order; the others are permutations of it. Labels add to b^1 and to b, which is
    all that the first variable depends on.

    Deviation: degrees are not drawn but spread evenly, then shuffled, so that no layer lacks one by chance; those of a
    layer with fewer than D - 1 units have gaps, which the direct connections A fill.

    Args:
        output: What the parameters mean.
        labels: The number of classes of every label.
        dimensions: D, variables of a vector.
        hidden: Units of each layer.
        direct: Whether there are direct connections A from symbols to parameters.
        orders: How many orders it is trained for, 0 for any.
        order: The first of them.
        masks: How many connectivities it is trained for, 0 for any.

    >>> from seqgen.outputs import Bernoulli
    >>> model = MADE(Bernoulli(), dimensions=4, hidden=[6])
    >>> model.degrees(0)[0].tolist()
    [1, 1, 2, 2, 3, 3]
    """

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        *,
        dimensions: int,
        hidden: Sequence[int] = (500,),
        direct: bool = False,
        orders: int = 1,
        order: First = "natural",
        masks: int = 1,
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1 or masks < 0:
            raise SeqgenError(f"hidden {list(hidden)}, masks {masks}: expected layers of 1 or more units, 0 or more")
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
    def begin(self, x: Tensor) -> None:
        """Fit what depends on nothing to the variables of rows (N, D), where the output has a formula for it."""
        if (fitted := self.output.fitted(x)) is not None:
            self.bias.copy_(fitted)

    def order_number(self, number: int) -> Order:
        """The order of that number with the connectivity of that number."""
        return Order(self.ordering[number], number % self.masks if self.masks else number)

    def degrees(self, member: int) -> list[Tensor]:
        """The degrees (H,) of each layer's units in connectivity `member`."""
        spread = [1 + np.arange(width) * max(1, self.ordering.dimensions - 1) // width for width in self.widths]
        if member:
            spread = [degrees[shuffled(len(degrees), member, layer)] for layer, degrees in enumerate(spread)]
        return [torch.from_numpy(degrees).to(self.bias.device) for degrees in spread]

    @property
    def widths(self) -> list[int]:
        """The number of units of each layer."""
        return [len(layer.bias) for layer in self._layers]

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self.ordering.check(x.shape[1])
        order = self.ordering.given(context)
        ranks, (*biases, first) = order.ranks, self._biases(context, len(x))
        inputs = F.pad(self.output.embed(x).to(self.bias.dtype), (0, 0, 0, self.ordering.dimensions - x.shape[1]))
        values = inputs.index_select(1, ranks).flatten(1)  # each variable in its own place, (B, D E)
        places = 1 + ranks.repeat_interleave(self.output.width)
        units, below = values, places
        for layer, bias, degrees in zip(self._layers, biases, self.degrees(order.member), strict=True):
            units = (bias + F.linear(units, masked(layer.weight, degrees, below))).relu()
            below = degrees
        rows = first + _product(units, self.readout, ranks, below)
        if self.direct is not None:
            rows = rows + _product(values, self.direct, ranks, places)
        return rows.index_select(1, order.permutation[: x.shape[1]])

    def _biases(self, context: Context | None, batch: int) -> list[Tensor]:
        """What there is without any symbol: (B, H) of each layer, and (B, D, P) of the parameters; or (1, ...)."""
        hidden, readout = [layer.bias.unsqueeze(0) for layer in self._layers], self.bias.expand(batch, -1, -1)
        if self.label_hidden is None or self.label_readout is None:
            refuse_labels(context)
            return [*hidden, readout]
        hidden[0] = hidden[0] + self.label_hidden(context, batch)
        return [*hidden, readout + self.label_readout(context, batch).view_as(readout)]

    @property
    def _layers(self) -> list[nn.Linear]:
        return [cast(nn.Linear, layer) for layer in self.hidden]

    # -- symbol by symbol: every unit is computed once, as soon as all that it sees is known

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Filled]:
        """Parameters (B, P) of the first symbol; no unit is determined yet."""
        places = self._places(batch, context)
        nothing = places[0].first.new_zeros(batch, 0)
        return places[0].first, Filled(places, nothing, (nothing,) * len(self.hidden), 0)

    def _places(self, batch: int, context: Context | None) -> tuple[Place, ...]:
        """Views of the weights by position, cut once: at every symbol it would take longer than the products."""
        order = self.ordering.given(context)
        permutation, width = order.permutation, self.output.width
        *biases, first = self._biases(context, batch)
        inputs = (permutation.unsqueeze(1) * width + torch.arange(width, device=permutation.device)).flatten()
        below, hidden = inputs, []
        for layer, bias, degrees in zip(self._layers, biases, self.degrees(order.member), strict=True):
            units = degrees.argsort(stable=True)
            sizes = degrees.bincount(minlength=self.ordering.dimensions).tolist()
            weight = in_order(in_order(layer.weight, 0, units), 1, below)
            pairs = zip(torch.split(weight.t(), sizes, 1), torch.split(bias[:, units], sizes, 1), strict=True)
            hidden.append([pair if size else None for pair, size in zip(pairs, sizes, strict=True)])
            below = units
        readout = in_order(in_order(self.readout, 0, permutation), 2, below).transpose(1, 2).unbind(0)
        direct: Sequence[Tensor | None] = [None] * len(readout)
        if self.direct is not None:
            direct = in_order(in_order(self.direct, 0, permutation), 2, inputs).transpose(1, 2).unbind(0)
        firsts = first.index_select(1, permutation).unbind(1)
        return tuple(map(Place, zip(*hidden, strict=True), firsts, readout, direct))

    def step(self, x: Tensor, state: Filled, context: Context | None = None) -> tuple[Tensor, Filled]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the units that are determined after the last."""
        places, values, units, time = state
        after = time + x.shape[1]
        if after >= len(places):
            self.ordering.check(after + 1)
        embedded, rows = self.output.embed(x), []
        if embedded.dtype != values.dtype:  # to ask takes a tenth of the time of converting to what it is
            embedded = embedded.to(values.dtype)
        for position, value in enumerate(embedded.unbind(1), time + 1):
            hidden, first, readout, direct = places[position]
            below = values = torch.cat([values, value], 1)
            filled = []
            for known, new in zip(units, hidden, strict=True):
                if new is not None:
                    weight, bias = new
                    known = torch.cat([known, torch.addmm(bias, below, weight[: below.shape[1]]).relu_()], 1)
                filled.append(known)
                below = known
            units = tuple(filled)
            row = torch.addmm(first, below, readout[: below.shape[1]])
            if direct is not None:
                row = torch.addmm(row, values, direct[: values.shape[1]])
            rows.append(row)
        parameters = rows[0].unsqueeze(1) if len(rows) == 1 else torch.stack(rows, 1)
        return parameters, Filled(places, values, units, after)


def _product(values: Tensor, weight: Tensor, degrees: Tensor, below: Tensor) -> Tensor:
    """(B, M, P) from values (B, N) of degrees `below` and weight (M, P, N), masked for rows of these degrees (M,)."""
    return F.linear(values, masked(weight, degrees, below).flatten(0, 1)).view(len(values), *weight.shape[:2])
