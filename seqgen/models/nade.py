"""The neural autoregressive distribution estimator."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context, Model, Order
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import First, Orders, in_order
from seqgen.nn.running import running_units
from seqgen.output import Output


class Weights(NamedTuple):
    """Those of the variables by position: W (E, H), V (P, H) and b (P,)."""

    weight: tuple[Tensor, ...]
    readout: tuple[Tensor, ...]
    bias: tuple[Tensor, ...]


class Running(NamedTuple):
    """What a NADE remembers: the sum a (B, H) over all `time` symbols so far; the variables by position (D,)."""

    total: Tensor
    time: int
    places: Tensor
    weights: Weights


class NADE(Model):
    """NADE (Larochelle & Murray 2011; Uria et al. 2016, arXiv:1605.02226).

    With embedded symbols x (E,), in an order of the variables i_1, i_2, ... i_D,

        a_1 = c,   a_t+1 = a_t + W_i x_i (i = i_t),   h_t = f(a_t),   o_t = b_i + V_i h_t (i = i_t).

    All conditionals share W, so that a vector costs O(D H), and a drawn one as much. With one-hot symbols this is the
    multinomial NADE. Labels add to c.

    RNADE (Uria et al. 2013, arXiv:1306.0186) is `NADE(Gaussians(K), activation="relu", scaled=True)`: numbers, each
    from a mixture of Gaussians, and h_t = f(r_i a_t) with a learnt r_i for each variable, since a grows with t.
    Deviation: the gradient of a mean is not multiplied with its standard deviation.

    Args:
        output: What the parameters mean.
        labels: The number of classes of every label.
        dimensions: D, variables of a vector.
        hidden: H, units.
        activation: f.
        scaled: Whether there are factors r, which begin as 1.
        orders: How many orders it is trained for, 0 for any.
        order: The first of them.

    >>> from seqgen.outputs import Bernoulli
    >>> model = NADE(Bernoulli(), dimensions=4, hidden=3)
    >>> model(torch.tensor([[0, 1, 1, 0]])).shape
    torch.Size([1, 4, 1])
    """

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        *,
        dimensions: int,
        hidden: int = 500,
        activation: Literal["sigmoid", "relu"] = "sigmoid",
        scaled: bool = False,
        orders: int = 1,
        order: First = "natural",
    ) -> None:
        super().__init__()
        if hidden < 1 or activation not in ("sigmoid", "relu"):
            raise SeqgenError(f"hidden {hidden}, activation {activation!r}: expected 1 or more, sigmoid or relu")
        self.ordering = Orders(dimensions, orders, order)
        self.output = output
        self.label_sizes = tuple(labels)
        self.dimensions, self.orders, self.any_order = dimensions, orders or None, not orders
        self.rectified = activation == "relu"
        self.weight = nn.Parameter(torch.randn(dimensions, output.width, hidden) / dimensions**0.5)
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.readout = nn.Parameter(torch.randn(dimensions, output.size, hidden) / hidden**0.5)
        self.readout_bias = nn.Parameter(torch.zeros(dimensions, output.size))
        self.scale = nn.Parameter(torch.ones(dimensions)) if scaled else None
        self.labels = LabelEmbedding(labels, hidden) if labels else None

    @torch.no_grad()
    def begin(self, x: Tensor) -> None:
        """Fit what depends on nothing to the variables of rows (N, D), where the output has a formula for it."""
        if (fitted := self.output.fitted(x)) is not None:
            hidden = self.bias.relu() if self.rectified else self.bias.sigmoid()
            self.readout_bias.copy_(fitted - self.readout @ hidden)  # which the units add from the first on

    def order_number(self, number: int) -> Order:
        """The order of that number."""
        return Order(self.ordering[number])

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self.ordering.check(x.shape[1])
        places = self.ordering.given(context).permutation[: x.shape[1]]
        first = self._first(context, len(x))
        if not x.shape[1]:
            return first.new_zeros(len(x), 0, self.output.size)
        return self._rows(first, x[:, :-1], places[:-1], places)[0]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Running]:
        """Parameters (B, P) of the first symbol; the sum is that before any symbol."""
        places = self.ordering.given(context).permutation
        weights = Weights(*(in_order(x, 0, places).unbind() for x in (self.weight, self.readout, self.readout_bias)))
        state = Running(self._first(context, batch), 0, places, weights)
        return self._read(state), state

    def step(self, x: Tensor, state: Running, context: Context | None = None) -> tuple[Tensor, Running]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the sum after the last."""
        total, time, places, weights = state
        after = time + x.shape[1]
        self.ordering.check(after + 1)
        total = self.output.add(total, x[:, 0], weights.weight[time])
        if x.shape[1] == 1:
            state = Running(total, after, places, weights)
            return self._read(state).unsqueeze(1), state
        these = places[time + 1 : after + 1]
        rows, total = self._rows(total, x[:, 1:], these[:-1], these)
        return rows, Running(total, after, places, weights)

    def _rows(self, first: Tensor, x: Tensor, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters (B, T, P) of variables `outputs` (T,) on sums that x (B, T-1) of `inputs` add to, and the last."""
        values = self.output.embed(x).to(first.dtype).transpose(0, 1).contiguous()
        weight, readout = self.weight.index_select(0, inputs), self.readout.index_select(0, outputs)
        scale = None if self.scale is None else self.scale[outputs].view(-1, 1, 1)
        rows, total = running_units(first, values, weight, readout, scale, self.rectified)
        return rows.transpose(0, 1) + self.readout_bias.index_select(0, outputs), total

    def _read(self, state: Running) -> Tensor:
        """Parameters (B, P) of the variable that is next."""
        total, time, places, weights = state
        if self.scale is not None:
            total = total * self.scale[places[time]]
        units = total.relu() if self.rectified else total.sigmoid()
        return torch.addmm(weights.bias[time], units, weights.readout[time].t())

    def _first(self, context: Context | None, batch: int) -> Tensor:
        """The sum (B, H) before any symbol."""
        bias = self.bias.expand(batch, -1)
        if self.labels is None:
            refuse_labels(context)
            return bias
        added: Tensor = self.labels(context, batch)
        return bias + added
