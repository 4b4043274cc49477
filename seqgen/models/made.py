"""The masked autoencoder for distribution estimation."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context, Model, Order
from seqgen.nn.degrees import masked
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import First, Orders, in_order, shuffled
from seqgen.output import Output


class Layout(NamedTuple):
    """The weights in the order of one factorisation: variables by position, units of a layer by degree.

    `weights` are (H, N) a layer, `readout` (D, P, H), `direct` (D, P, D E) or None; `degrees` are those of the inputs
    (D E,), which are their positions from 1, and of each layer (H,); `counts[l][t]` units of layer l have a degree of
    t or less. So whatever a unit sees lies in front.
    """

    weights: tuple[Tensor, ...]
    readout: Tensor
    direct: Tensor | None
    degrees: tuple[Tensor, ...]
    counts: tuple[tuple[int, ...], ...]


class Filled(NamedTuple):
    """What a MADE remembers: embedded symbols (B, t E) and the units (B, n) of each layer that t symbols determine.

    `biases` are (B, H) a layer, `first` (B, D, P) those of the parameters.
    """

    layout: Layout
    biases: tuple[Tensor, ...]
    first: Tensor
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
    never altered by them, so that all factorisations share all weights. A factorisation's number says both: its
    order, and how the degrees are dealt out to the units; 0 deals them out in ascending order. Labels add to b^1 and
    to b, which is all that the first variable depends on.

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
            raise ValueError(f"hidden {list(hidden)}, masks {masks}: expected layers of 1 or more units, 0 or more")
        self.ordering = Orders(dimensions, orders, order)
        self.output = output
        self.masks = masks
        self.dimensions, self.orders = dimensions, max(orders, masks) if orders and masks else None
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
        order = self.ordering.given(context)
        *biases, first = self._biases(context, batch)
        by_degree = [degrees.sort(stable=True) for degrees in self.degrees(order.member)]
        biases = [bias[:, found.indices] for bias, found in zip(biases, by_degree, strict=True)]
        first = first.index_select(1, order.permutation)
        values = first.new_zeros(batch, 0)
        layout = self._layout(order.permutation, by_degree)
        return first[:, 0], Filled(layout, tuple(biases), first, values, (values,) * len(biases), 0)

    def _layout(self, permutation: Tensor, by_degree: list[Any]) -> Layout:
        width = self.output.width
        inputs = (permutation.unsqueeze(1) * width + torch.arange(width, device=permutation.device)).flatten()
        below, weights = inputs, []
        for layer, found in zip(self._layers, by_degree, strict=True):
            weights.append(in_order(in_order(layer.weight, 0, found.indices), 1, below))
            below = found.indices
        direct = None if self.direct is None else in_order(in_order(self.direct, 0, permutation), 2, inputs)
        degrees = [found.values for found in by_degree]
        positions = torch.arange(self.ordering.dimensions, device=permutation.device)
        counts = tuple(tuple(torch.searchsorted(one, positions, right=True).tolist()) for one in degrees)
        degrees.insert(0, 1 + positions.repeat_interleave(width))
        readout = in_order(in_order(self.readout, 0, permutation), 2, below)
        return Layout(tuple(weights), readout, direct, tuple(degrees), counts)

    def step(self, x: Tensor, state: Filled, context: Context | None = None) -> tuple[Tensor, Filled]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the units that are determined after the last."""
        layout, biases, first, values, units, time = state
        after = time + x.shape[1]
        self.ordering.check(after + 1)
        values = torch.cat([values, self.output.embed(x).to(values.dtype).flatten(1)], 1)
        below, filled = values, []
        for layer, (weight, bias, known) in enumerate(zip(layout.weights, biases, units, strict=True)):
            new = slice(known.shape[1], layout.counts[layer][after])
            if new.stop > new.start:
                weight = weight[new, : below.shape[1]]
                if after > time + 1:  # all units of one degree see all that there is
                    own, others = layout.degrees[layer + 1][new], layout.degrees[layer][: below.shape[1]]
                    weight = masked(weight, own, others)
                known = torch.cat([known, torch.addmm(bias[:, new], below, weight.t()).relu_()], 1)
            filled.append(known)
            below = known
        positions = range(time + 1, after + 1)
        rows = _add(first[:, time + 1 : after + 1], below, layout.readout, layout.degrees[-1], positions)
        if layout.direct is not None:
            rows = _add(rows, values, layout.direct, layout.degrees[0], positions)
        return rows, Filled(layout, biases, first, values, tuple(filled), after)


def _add(rows: Tensor, values: Tensor, weight: Tensor, degrees: Tensor, positions: range) -> Tensor:
    """Rows (B, T, P) of some positions, from 0, and what values (B, n) add to them through weight (D, P, N)."""
    if len(positions) == 1:
        row = weight[positions.start, :, : values.shape[1]]
        return torch.addmm(rows[:, 0], values, row.t()).unsqueeze(1)
    these = slice(positions.start, positions.stop)
    own, others = torch.arange(these.start, these.stop, device=weight.device), degrees[: values.shape[1]]
    return rows + _product(values, weight[these, :, : values.shape[1]], own, others)


def _product(values: Tensor, weight: Tensor, degrees: Tensor, below: Tensor) -> Tensor:
    """(B, M, P) from values (B, N) of degrees `below` and weight (M, P, N), masked for rows of these degrees (M,)."""
    return F.linear(values, masked(weight, degrees, below).flatten(0, 1)).view(len(values), *weight.shape[:2])
