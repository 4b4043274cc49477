"""Recurrent networks."""

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Context, Model
from seqgen.nn.cells import KINDS, State, chunk, weights
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order
from seqgen.output import Output

States = tuple[State, ...]
"""The state of each layer."""


class RNN(Model):
    """A recurrent network (Graves 2013, arXiv:1308.0850): `h_t = cell(x_t, h_t-1)`, `o_t = W h_t + b`.

    The parameters of x_1 come from the learnt initial state h_0 and those of x_t+1 from h_t. A class enters as its
    one-hot vector, which single steps implement as a look-up, and a real number as it is. Label embeddings are added to
    h_0 and to the input of the first layer.

    Args:
        output: The output distribution.
        labels: The number of classes of each label of a sequence.
        cell: The kind of recurrent cell.
        layers: The number of layers.
        hidden: H, units of each layer.
        embedding: Width of a learnt embedding of symbols; None for one-hot input.
        dropout: Dropout probability of the outputs of each layer.
        layer_norm: Whether the outputs of each layer are normalised. Deviation: Ba et al. 2016 (arXiv:1607.06450)
            normalise the pre-activations inside the cell, which torch's fused layers do not offer.
        tied: Whether the embedding matrix is W as well (Press & Wolf 2017, arXiv:1608.05859); needs
            embedding == hidden.
        forget_bias: Initial forget bias of the LSTM (Jozefowicz et al. 2015).

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
    ) -> None:
        super().__init__()
        if cell not in KINDS:
            raise SeqgenError(f"cell is {cell!r}, expected one of {', '.join(KINDS)}")
        if layers < 1 or hidden < 1 or (embedding is not None and embedding < 1):
            raise SeqgenError(f"layers {layers}, hidden {hidden}, embedding {embedding}: expected 1 or more")
        if not 0 <= dropout <= 1:
            raise SeqgenError(f"dropout is {dropout}, expected a number from 0 to 1")
        if tied and (embedding != hidden or output.size != output.width):
            raise SeqgenError(f"tied weights need embedding == hidden; got embedding {embedding}, hidden {hidden}")
        self.output = output
        self.label_sizes = tuple(labels)
        self.hidden = hidden
        layer, self.cell = KINDS[cell]
        self.kind = cell
        widths = [embedding or output.width] + [hidden] * (layers - 1)
        self.layers = nn.ModuleList(layer(width, hidden, batch_first=True) for width in widths)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in widths if layer_norm)
        self.dropout = nn.Dropout(dropout)
        self.initial = nn.Parameter(torch.zeros(2 if cell == "lstm" else 1, layers, 1, hidden))
        self.embedding = None if embedding is None else nn.Linear(output.width, embedding, bias=False)
        self.readout = nn.Linear(hidden, output.size)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=hidden**-0.5 if tied else 1.0)
        self.tied = tied
        if tied:
            del self.readout.weight
        if cell == "lstm":
            for one in self.layers:
                nn.init.constant_(one.get_parameter("bias_ih_l0")[hidden : 2 * hidden], forget_bias)
        self.labelled = bool(labels)
        if labels:
            self.label_state = LabelEmbedding(labels, self.initial.numel())
            self.label_input = LabelEmbedding(labels, widths[0])

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        if not x.shape[1]:
            return self.start(x.shape[0], context)[0].unsqueeze(1)[:, :0]
        return self.advance(x, None, context)[0]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, States]:
        """Parameters (B, P) of the first symbol, and the initial state: for each layer (h,) or (h, c), each (B, H)."""
        refuse_order(context)
        state = self.initial.expand(-1, -1, batch, -1)
        if self.labelled:
            parts, layers, _, hidden = state.shape
            offset = self.label_state(context, batch).view(batch, parts, layers, hidden)
            state = state + offset.permute(1, 2, 0, 3)
        else:
            refuse_labels(context)
        states = [one.unbind() for one in state.unbind(1)]
        return self._read(self._regularise(-1, states[-1][0])), tuple(states)

    def step(self, x: Tensor, state: States, context: Context | None = None) -> tuple[Tensor, States]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the state after the last."""
        if x.shape[1] == 1:
            return self._single(x, state, context)
        values, states = self._embed(x, context), []
        for index, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            outputs, after = chunk(cast(nn.RNNBase, layer), values, before)
            values = self._regularise(index, outputs)
            states.append(after)
        return self._read(values), tuple(states)

    def _single(self, x: Tensor, state: States, context: Context | None) -> tuple[Tensor, States]:
        # A step of sampling is a few matrix-vector products, so the overhead of each call matters.
        values, states = x, []
        for index, (layer, before) in enumerate(zip(self.layers, state, strict=True)):
            w = weights(cast(nn.RNNBase, layer))
            inputs = F.linear(values, w.weight_ih) if index else self._project(x, w.weight_ih, context)
            after = self.cell(w, inputs, before)
            values = self._regularise(index, after[0])
            states.append(after)
        return self._read(values).unsqueeze(1), tuple(states)

    def _regularise(self, index: int, outputs: Tensor) -> Tensor:
        """Layer norm and dropout of the outputs (..., H) of layer `index`."""
        if self.norms:
            outputs = self.norms[index](outputs)
        return self.dropout(outputs) if self.training else outputs

    def _embed(self, x: Tensor, context: Context | None) -> Tensor:
        """Inputs (B, T, E) of the first layer for symbols x (B, T)."""
        if self.embedding is None:
            values = self.output.embed(x).to(self.initial.dtype)
        else:
            values = self.output.project(x, self.embedding.weight)
        return values + self.label_input(context, len(x)).unsqueeze(1) if self.labelled else values

    def _project(self, x: Tensor, weight: Tensor, context: Context | None) -> Tensor:
        """The input of the first layer for one symbol x (B, 1), times weight (G H, E): (B, G H)."""
        if self.embedding is not None:
            return F.linear(self._embed(x, context)[:, 0], weight)
        inputs = self.output.project(x[:, 0], weight)
        return inputs + F.linear(self.label_input(context, len(x)), weight) if self.labelled else inputs

    def _read(self, h: Tensor) -> Tensor:
        """Parameters (..., P) from the outputs (..., H) of the last layer."""
        if self.embedding is not None and self.tied:
            return F.linear(h, self.embedding.weight.t(), self.readout.bias)
        return F.linear(h, self.readout.weight, self.readout.bias)
