"""Recurrent networks."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context, Model
from seqgen.nn.cells import CELLS, LAYERS
from seqgen.nn.labels import LabelEmbedding
from seqgen.output import Output

State = tuple[Tensor, ...]
"""(h,) or (h, c), each (layers, B, hidden)."""


class RNN(Model):
    """A recurrent network (Graves 2013, arXiv:1308.0850): `h_t = cell(x_t, h_t-1)`, `o_t = W h_t + b`.

    The parameters of x_1 come from the learnt initial state h_0 and those of x_t+1 from h_t. A symbol enters as its
    one-hot vector (or its value, for outputs of numbers); `embedding` puts a learnt matrix of that width before the
    first layer. A product with a one-hot vector is a look-up of a column, and single steps do it as one.

    `tied` uses the embedding's matrix for W too (Press & Wolf 2017, arXiv:1608.05859). `forget_bias` is the LSTM's
    forget bias at the start of training (Jozefowicz et al. 2015). Labels move h_0 and add to the first layer's input.
    Deviation: `layer_norm` normalises the output of each layer and not, as Ba et al. 2016 (arXiv:1607.06450) do, the
    sums inside the cell, so that torch's fused layers still serve. `dropout` acts on the output of each layer.

    >>> from seqgen.outputs import Categorical
    >>> model = RNN(Categorical(4), cell="tanh", hidden=3)
    >>> model(torch.tensor([[0, 1, 2, 2, 3]])).shape  # logits of h, e, l, l, o
    torch.Size([1, 5, 4])
    """

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        cell: Literal["tanh", "gru", "lstm"] = "lstm",
        layers: int = 1,
        hidden: int = 128,
        embedding: int | None = None,
        dropout: float = 0.0,
        layer_norm: bool = False,
        tied: bool = False,
        forget_bias: float = 1.0,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell is {cell!r}, expected one of {', '.join(CELLS)}")
        if layers < 1 or hidden < 1 or (embedding is not None and embedding < 1):
            raise ValueError(f"layers {layers}, hidden {hidden}, embedding {embedding}: expected 1 or more")
        if tied and (embedding != hidden or output.size != output.width):
            raise ValueError(f"tied weights need embedding == hidden; got embedding {embedding}, hidden {hidden}")
        self.output = output
        self.cell = cell
        self.dropout = nn.Dropout(dropout)
        self.embedding = None if embedding is None else nn.Linear(output.width, embedding, bias=False)
        widths = [embedding or output.width] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(LAYERS[cell](width, hidden, batch_first=True) for width in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) if layer_norm else nn.Identity() for _ in widths)
        self.initial = nn.Parameter(torch.zeros(2 if cell == "lstm" else 1, layers, 1, hidden))
        self.readout = nn.Linear(hidden, output.size)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=hidden**-0.5 if tied else 1.0)
        if tied:
            del self.readout.weight
        self.tied = tied
        if cell == "lstm":
            for layer in self.layers:
                nn.init.constant_(layer.bias_ih_l0[hidden : 2 * hidden], forget_bias)
        if labels:
            self.label_state = LabelEmbedding(labels, self.initial.numel(), label_dropout)
            self.label_input = LabelEmbedding(labels, widths[0], label_dropout)
        self.labelled = bool(labels)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        if not x.shape[1]:
            return self.start(x.shape[0], context)[0].unsqueeze(1)[:, :0]
        return self.advance(x, None, context)[0]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, P) of the first symbol and the initial state, moved by the labels."""
        state = self.initial.expand(-1, -1, batch, -1)
        if self.labelled:
            states, layers, _, hidden = state.shape
            offset = self.label_state(context, batch).view(batch, states, layers, hidden)
            state = state + offset.permute(1, 2, 0, 3)
        elif context is not None and context.labels is not None:
            raise ValueError("this model takes no labels")
        top = self.norms[-1](state[0, -1])
        return self._read(self.dropout(top)), state.unbind()

    def step(self, x: Tensor, state: State, context: Context | None = None) -> tuple[Tensor, State]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the state after the last."""
        run = self._cell if x.shape[1] == 1 else self._fused
        values, states = None, []
        for index, norm in enumerate(self.norms):
            values, new = run(index, x, values, tuple(part[index] for part in state), context)
            values = self.dropout(norm(values))
            states.append(new)
        return self._read(values), tuple(torch.stack(parts) for parts in zip(*states, strict=True))

    def _fused(
        self, index: int, x: Tensor, values: Tensor | None, state: State, context: Context | None
    ) -> tuple[Tensor, State]:
        layer = self.layers[index]
        if values is None:
            values = self._embed(x)
            if self.labelled:
                values = values + self.label_input(context, x.shape[0]).unsqueeze(1)
        packed = tuple(part.unsqueeze(0).contiguous() for part in state)
        values, new = layer(values, packed if len(packed) > 1 else packed[0])
        return values, tuple(part.squeeze(0) for part in (new if len(packed) > 1 else (new,)))

    def _cell(
        self, index: int, x: Tensor, values: Tensor | None, state: State, context: Context | None
    ) -> tuple[Tensor, State]:
        layer = self.layers[index]
        weight = layer.weight_ih_l0
        if values is not None:
            inputs = F.linear(values[:, 0], weight)
        else:
            inputs = (
                self.output.project(x[:, 0], weight)
                if self.embedding is None
                else F.linear(self._embed(x)[:, 0], weight)
            )
            if self.labelled:
                inputs = inputs + F.linear(self.label_input(context, x.shape[0]), weight)
        new = CELLS[self.cell](layer, inputs, state)
        return new[0].unsqueeze(1), new

    def _embed(self, x: Tensor) -> Tensor:
        if self.embedding is None:
            return self.output.embed(x).to(self.initial.dtype)
        return self.output.project(x, self.embedding.weight)

    def _read(self, h: Tensor) -> Tensor:
        if self.tied:
            return F.linear(h, self.embedding.weight.t(), self.readout.bias)
        return self.readout(h)
