"""The neural autoregressive distribution estimator."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context, Model, Order
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import FirstOrder, Orders, permute
from seqgen.nn.running import running_units
from seqgen.output import Output


class Weights(NamedTuple):
    """W (E, H), V (P, H) and b (P,) of the variable at each position of the order."""

    weight: tuple[Tensor, ...]
    readout: tuple[Tensor, ...]
    bias: tuple[Tensor, ...]


class Running(NamedTuple):
    """The state of a NADE after `time` symbols: pre-activations a (B, H), and the permutation (D,) of the variables.

    `weights` are arranged in that order at the first step; None before.
    """

    total: Tensor
    time: int
    permutation: Tensor
    weights: Weights | None


class NADE(Model):
    """NADE (Larochelle & Murray 2011; Uria et al. 2016, arXiv:1605.02226).

    With embedded symbols x (E,), in an order of the variables i_1, i_2, ... i_D,

        a_1 = c,   a_t+1 = a_t + W_i x_i (i = i_t),   h_t = f(a_t),   o_t = b_i + V_i h_t (i = i_t).

    All conditionals share W, so that a density and a sample both cost O(D H). With one-hot symbols this is the
    multinomial NADE. Label embeddings are added to c.

    RNADE (Uria et al. 2013, arXiv:1306.0186) is `NADE(Gaussians(K), activation="relu", scaled=True)`: real numbers as
    mixtures of Gaussians, and h_t = f(r_i a_t) with a learnt scale r_i for each variable, since a_t grows with t.
    Deviation: the gradient of a mean is not multiplied by its standard deviation.

    Args:
        output: The output distribution.
        labels: The number of classes of each label.
        dimensions: D, the number of variables.
        hidden: H, hidden units.
        activation: The activation function f.
        scaled: Whether pre-activations are multiplied by scales r, initially 1.
        orders: The number of orders it is trained for, 0 for any order (order-agnostic training).
        order: Order number 0.

    >>> from seqgen.outputs import Bernoulli
    >>> model = NADE(Bernoulli(), dimensions=4, hidden=3)
    >>> model(torch.tensor([[0, 1, 1, 0]])).shape
    torch.Size([1, 4, 1])
    """

    input_axes = MappingProxyType({"weight": 0, "readout": -1})

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
        order: FirstOrder = "natural",
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
    def init_from_marginals(self, x: Tensor) -> None:
        """Initialise the output biases from the marginals of data (N, D), where the output has a closed form."""
        if (fitted := self.output.fit_marginals(x)) is not None:
            hidden = self.bias.relu() if self.rectified else self.bias.sigmoid()
            self.readout_bias.copy_(fitted - self.readout @ hidden)  # minus what the hidden units contribute at a = c

    def order_number(self, number: int) -> Order:
        """Order number `number`."""
        return Order(self.ordering[number])

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self.ordering.check_length(x.shape[1])
        variables = self.ordering.of_context(context).permutation[: x.shape[1]]
        first = self._initial(context, len(x))
        if not x.shape[1]:
            return first.new_zeros(len(x), 0, self.output.size)
        return self._rows(first, x[:, :-1], variables[:-1], variables)[0]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Running]:
        """Parameters (B, P) of the first symbol, and the state with the initial pre-activations."""
        order = self.ordering.of_context(context).permutation
        total, first = self._initial(context, batch), int(order[0])
        return self._read(total, first, self.readout_bias[first], self.readout[first]), Running(total, 0, order, None)

    def step(self, x: Tensor, state: Running, context: Context | None = None) -> tuple[Tensor, Running]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the state after the last."""
        total, time, order, weights = state
        after = time + x.shape[1]
        self.ordering.check_length(after + 1)
        if weights is None:
            weights = Weights(*(permute(x, 0, order).unbind() for x in (self.weight, self.readout, self.readout_bias)))
        total = self.output.add(total, x[:, 0], weights.weight[time])
        if x.shape[1] == 1:
            row = self._read(total, order[after], weights.bias[after], weights.readout[after])
            return row.unsqueeze(1), Running(total, after, order, weights)
        variables = order[time + 1 : after + 1]
        rows, total = self._rows(total, x[:, 1:], variables[:-1], variables)
        return rows, Running(total, after, order, weights)

    def _rows(self, first: Tensor, x: Tensor, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters (B, T, P) of variables `outputs` (T,), and the last pre-activations (B, H).

        `first` (B, H) are the pre-activations before x (B, T-1), the symbols of variables `inputs` (T-1,).
        """
        values = self.output.embed(x).to(first.dtype).transpose(0, 1).contiguous()
        weight, readout = self.weight.index_select(0, inputs), self.readout.index_select(0, outputs)
        scale = None if self.scale is None else self.scale[outputs].view(-1, 1, 1)
        rows, total = running_units(first, values, weight, readout, scale, self.rectified)
        return rows.transpose(0, 1) + self.readout_bias.index_select(0, outputs), total

    def _read(self, total: Tensor, variable: Tensor | int, bias: Tensor, readout: Tensor) -> Tensor:
        """Parameters (B, P) of a variable from pre-activations (B, H), b (P,) and V (P, H)."""
        if self.scale is not None:
            total = total * self.scale[variable]
        units = total.relu() if self.rectified else total.sigmoid()
        return torch.addmm(bias, units, readout.t())

    def _initial(self, context: Context | None, batch: int) -> Tensor:
        """The initial pre-activations (B, H): c with the label embeddings added."""
        bias = self.bias.expand(batch, -1)
        if self.labels is None:
            refuse_labels(context)
            return bias
        added: Tensor = self.labels(context, batch)
        return bias + added
