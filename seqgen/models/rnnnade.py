"""Recurrent networks over frames with a NADE inside each frame."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Context, Model
from seqgen.nn.cells import KINDS, State, chunk, weights
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order
from seqgen.nn.running import running_units
from seqgen.output import Output


class Partial(NamedTuple):
    """The state between two symbols.

    `states` are those of the recurrent layers after the last whole frame, (h,) or (h, c) each, (B, H). `symbols` (B, m)
    are those of the frame since, m < M, and `total` (B, N) the pre-activations of the next symbol.
    """

    states: tuple[State, ...]
    symbols: Tensor
    total: Tensor


class RNNNADE(Model):
    """RNN-NADE (Boulanger-Lewandowski, Bengio & Vincent 2012, arXiv:1206.6392): a density of sequences of frames.

    A frame is a vector x_f of M = `width` symbols. Frames follow each other: symbol m of frame f is symbol f M + m of
    the sequence. A recurrent network reads whole frames, and its hidden state is the bias of a NADE within the next:

        h_f = RNN(relu(A e(x_f-1) + l), h_f-1),   a_f,0 = c + W h_f,
        o_f,m = b_m + U_m relu(a_f,m),            a_f,m+1 = a_f,m + V_m e(x_f,m),

    with e the embedding of symbols and l a label embedding, which the initial state has as well. A sequence may end
    within a frame. A sample of a frame costs one recurrent step and O(M N).

    Deviations: frames are embedded by one layer; units are relu, not sigmoid; the hidden state gives the biases of the
    hidden units, not those of the symbols too, and the units have their own readout U_m for every place.

    Args:
        output: The output distribution.
        labels: The number of classes of each label of a sequence.
        width: M, symbols of a frame, 2 or more.
        cell: The kind of recurrent cell.
        layers: The number of recurrent layers.
        hidden: H, units of each recurrent layer and of the embedding of frames.
        units: N, hidden units of the NADE.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last) instead of a one-hot vector.
        dropout: Dropout probability of the inputs and of the outputs of the recurrent layers.

    >>> from seqgen.outputs import Categorical
    >>> model = RNNNADE(Categorical(4), width=3, hidden=5, units=6)
    >>> model(torch.tensor([[0, 1, 2, 2, 3]])).shape  # one frame, and two symbols of the next
    torch.Size([1, 5, 4])
    """

    input_axes = MappingProxyType({"weight": 0, "readout": -1})

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        *,
        width: int,
        cell: Literal["gru", "lstm"] = "gru",
        layers: int = 1,
        hidden: int = 256,
        units: int = 128,
        scalar: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in KINDS:
            raise SeqgenError(f"cell is {cell!r}, expected one of {', '.join(KINDS)}")
        if width < 2 or min(layers, hidden, units) < 1:
            raise SeqgenError(
                f"width {width}, layers {layers}, hidden {hidden}, units {units}: expected width of 2 or more and the "
                "others of 1 or more"
            )
        if not 0 <= dropout <= 1:
            raise SeqgenError(f"dropout is {dropout}, expected a number from 0 to 1")
        self.output = output
        self.label_sizes = tuple(labels)
        self.frame = width
        self.scalar_input = scalar and output.width > 1
        embedded = 1 if scalar else output.width
        layer, self.cell = KINDS[cell]
        self.embedding = nn.Linear(width * embedded, hidden)
        self.layers = nn.ModuleList(layer(hidden, hidden, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.initial = nn.Parameter(torch.zeros(2 if cell == "lstm" else 1, layers, 1, hidden))
        self.first = nn.Linear(hidden, units)
        self.weight = nn.Parameter(torch.randn(width - 1, embedded, units) / width**0.5)
        self.readout = nn.Parameter(torch.randn(width, output.size, units) / units**0.5)
        self.readout_bias = nn.Parameter(torch.zeros(width, output.size))
        self.label_state = LabelEmbedding(labels, self.initial.numel()) if labels else None
        self.label_input = LabelEmbedding(labels, hidden) if labels else None

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        refuse_order(context)
        states = self._initial(context, len(x))
        if not x.shape[1]:
            return self.readout_bias.new_zeros(len(x), 0, self.output.size)
        values = self._embed(x)
        whole = (x.shape[1] - 1) // self.frame * self.frame
        hidden, _ = self._frames(values[:, :whole], states, context)
        return self._rows(hidden, values)[:, : x.shape[1]]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Partial]:
        """Parameters (B, P) of the first symbol, and the state before it."""
        refuse_order(context)
        states = self._initial(context, batch)
        total = self.first(self.dropout(states[-1][0]))
        nothing = torch.zeros(batch, 0, dtype=self.output.dtype, device=self.device)
        return self._read(total, 0), Partial(states, nothing, total)

    def step(self, x: Tensor, state: Partial, context: Context | None = None) -> tuple[Tensor, Partial]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the state after the last."""
        if x.shape[1] == 1:
            return self._single(x, Partial(*state), context)
        states, before, _ = state
        symbols = torch.cat([before, x], 1)
        values = self._embed(symbols)
        rest = symbols.shape[1] % self.frame
        whole = symbols.shape[1] - rest
        hidden, states = self._frames(values[:, :whole], states, context)
        rows = self._rows(hidden, values)[:, before.shape[1] + 1 : symbols.shape[1] + 1]
        added = torch.einsum("bme,men->bn", values[:, whole:], self.weight[:rest])
        return rows, Partial(states, symbols[:, whole:], self.first(hidden[:, -1]) + added)

    def _single(self, x: Tensor, state: Partial, context: Context | None) -> tuple[Tensor, Partial]:
        """`step` of one symbol, in O(N), and a recurrent step at the end of a frame."""
        symbols = torch.cat([state.symbols, x], 1)
        place = symbols.shape[1]
        if place < self.frame:
            total = torch.addmm(state.total, self._embed(x)[:, 0], self.weight[place - 1])
            return self._read(total, place).unsqueeze(1), Partial(state.states, symbols, total)
        values, states = self._inputs(self._embed(symbols), context)[:, 0], []
        for layer, before in zip(self.layers, state.states, strict=True):
            w = weights(cast(nn.RNNBase, layer))
            after = self.cell(w, F.linear(values, w.weight_ih), before)
            values = self.dropout(after[0])
            states.append(after)
        total = self.first(values)
        return self._read(total, 0).unsqueeze(1), Partial(tuple(states), symbols[:, :0], total)

    # -- parts

    def _initial(self, context: Context | None, batch: int) -> tuple[State, ...]:
        """The states before the first frame."""
        state = self.initial.expand(-1, -1, batch, -1)
        if self.label_state is None:
            refuse_labels(context)
        else:
            parts, layers, _, hidden = state.shape
            state = state + self.label_state(context, batch).view(batch, parts, layers, hidden).permute(1, 2, 0, 3)
        return tuple(one.unbind() for one in state.unbind(1))

    def _embed(self, x: Tensor) -> Tensor:
        """Embedded symbols (B, T, E) of x (B, T)."""
        dtype = self.initial.dtype
        if self.scalar_input:
            return (2 * x.to(dtype) / max(1, self.output.width - 1) - 1).unsqueeze(-1)
        return self.output.embed(x).to(dtype)

    def _inputs(self, values: Tensor, context: Context | None) -> Tensor:
        """Inputs (B, F, H) of the first recurrent layer from embedded whole frames (B, F M, E)."""
        inputs = self.embedding(values.reshape(len(values), values.shape[1] // self.frame, -1))
        if self.label_input is not None:
            inputs = inputs + self.label_input(context, len(values)).unsqueeze(1)
        return cast(Tensor, self.dropout(inputs.relu()))

    def _frames(
        self, values: Tensor, states: tuple[State, ...], context: Context | None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Hidden states (B, F + 1, H) before each of F frames (B, F M, E) and after the last, and the next states."""
        first = self.dropout(states[-1][0]).unsqueeze(1)
        if not values.shape[1]:
            return first, states
        values, after = self._inputs(values, context), []
        for layer, before in zip(self.layers, states, strict=True):
            values, state = chunk(cast(nn.RNNBase, layer), values, before)
            values = self.dropout(values)
            after.append(state)
        return torch.cat([first, values], 1), tuple(after)

    def _rows(self, hidden: Tensor, values: Tensor) -> Tensor:
        """Parameters (B, F M, P) of F frames with hidden states (B, F, H) before them; known are values (B, T, E)."""
        batch, frames, _ = hidden.shape
        padded = F.pad(values, (0, 0, 0, frames * self.frame - values.shape[1]))
        inputs = padded.reshape(batch * frames, self.frame, -1)[:, :-1].transpose(0, 1).contiguous()  # (M - 1, B F, E)
        rows, _ = running_units(self.first(hidden).flatten(0, 1), inputs, self.weight, self.readout, None, True)
        return (rows.transpose(0, 1) + self.readout_bias).reshape(batch, frames * self.frame, -1)

    def _read(self, total: Tensor, place: int) -> Tensor:
        """Parameters (B, P) of symbol `place` of a frame from pre-activations (B, N)."""
        return torch.addmm(self.readout_bias[place], total.relu(), self.readout[place].t())
