"""WaveNet."""

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Context, Model
from seqgen.nn.cells import gated
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order
from seqgen.nn.upsample import Upsample
from seqgen.output import Output

RECENT = 16
"""Single steps after which the queues are tidied."""
AHEAD = 64
"""Symbols whose conditioning is computed at once."""


class Queues(NamedTuple):
    """What a WaveNet remembers: of every layer the last (k - 1) d inputs, d its dilation; `time` symbols are taken in.

    `old` (S, B, R) holds them layer by layer, the oldest first, as they were `len(recent)` steps ago; `recent` are the
    inputs (L, B, R) of all layers at the steps since. `labels` (L, B, 2 G) is what the labels add to the gates, `ahead`
    (A, L, B, 2 G) the same with the features' share for steps `begun`, `begun` + 1, ...
    """

    old: Tensor
    recent: tuple[Tensor, ...]
    time: int
    labels: Tensor
    ahead: Tensor
    begun: int


class WaveNet(Model):
    """Dilated causal convolutions (van den Oord et al. 2016, arXiv:1609.03499).

    With h the input of a layer, d its dilation, l a label and y the upsampled features,

        z = tanh(W_f * h + V_f y + l_f) sigmoid(W_g * h + V_g y + l_g),   h' = h + W_r z,

    and the parameters are W_2 relu(W_1 relu(b + sum over layers of W_s z)). Dilations are 1, 2, 4, ... 2^(layers - 1),
    `blocks` times over. Deviations: the first layer is a look-up of one symbol, not a convolution; before the first
    symbol stands a learnt vector, before that zeros; W_r and W_s have no biases, which those of the gates and of W_1
    make up for, and the last layer has no W_r, which nothing would read.

    Args:
        output: What the parameters mean.
        labels: The number of classes of every label of a sequence (global conditioning).
        layers: Layers of a block.
        blocks: How often the dilations begin again.
        kernel: k, the taps of a convolution.
        residual: R, channels between layers.
        gate: G, channels of z.
        skip: Channels of the sum over layers.
        end: Channels between W_1 and W_2.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last), not as its one-hot vector.
        dropout: Probability of a zero among the inputs of each layer, in training.
        features: D, numbers in a frame of local conditioning; 0 for none.
        hop: Symbols of a frame.
        upsampling: How frames become conditioning of every symbol.
        condition: Channels of the upsampled features y.

    >>> from seqgen.outputs import Categorical
    >>> model = WaveNet(Categorical(256), layers=10, blocks=3)
    >>> model.receptive_field
    3070
    """

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        layers: int = 10,
        blocks: int = 3,
        kernel: int = 2,
        residual: int = 64,
        gate: int = 64,
        skip: int = 256,
        end: int = 256,
        scalar: bool = False,
        dropout: float = 0.0,
        features: int = 0,
        hop: int = 1,
        upsampling: Literal["repeat", "learnt"] = "learnt",
        condition: int = 64,
    ) -> None:
        super().__init__()
        sizes = {"layers": layers, "blocks": blocks, "residual": residual, "gate": gate, "skip": skip, "end": end}
        if wrong := [f"{name} {size}" for name, size in sizes.items() if size < 1]:
            raise SeqgenError(f"{', '.join(wrong)}: expected 1 or more")
        if kernel < 2 or features < 0 or not 0 <= dropout <= 1:
            raise SeqgenError(
                f"kernel {kernel}, features {features}, dropout {dropout}: expected 2 or more, 0 or more, 0 to 1"
            )
        self.output = output
        self.label_sizes = tuple(labels)
        self.feature_size, self.feature_hop = features, hop
        self.scalar_input = scalar and output.width > 1
        self.kernel, self.residual_size, self.gate = kernel, residual, gate
        self.dilations: list[int] = [2**layer for layer in range(layers)] * blocks
        self.lags: list[int] = [(kernel - 1) * dilation for dilation in self.dilations]
        depth = len(self.dilations)
        self.input = nn.Linear(1 if self.scalar_input else output.width, residual)
        self.first = nn.Parameter(0.1 * torch.randn(residual))
        self.dropout = nn.Dropout(dropout)
        self.features = Upsample(features, hop, condition, upsampling) if features else None
        width = kernel * residual + (condition if features else 0)
        self.taps = nn.Parameter(torch.randn(depth, width, 2 * gate) / width**0.5)  # oldest tap first, then features
        self.bias = nn.Parameter(torch.zeros(depth, 2 * gate))
        self.residual = nn.Parameter(torch.randn(depth - 1, gate, residual) / (gate * depth) ** 0.5)
        self.skip = nn.Linear(depth * gate, skip)
        self.end = nn.Linear(skip, end)
        self.readout = nn.Linear(end, output.size)
        self.labels = LabelEmbedding(labels, depth * 2 * gate) if labels else None
        self._places()

    def _places(self) -> None:
        """Where in the queues the earlier inputs lie that a step meets, sorted by how long ago they were."""
        ends = itertools.accumulate(self.lags)
        # The queue of a layer ends where the next one's begins, so an input of `ago` steps ago lies `ago` before that.
        taps = [
            (ago, layer, end - ago)
            for layer, (dilation, lag, end) in enumerate(zip(self.dilations, self.lags, ends, strict=True))
            for ago in range(lag, 0, -dilation)
        ]
        order = sorted(range(len(taps)), key=lambda tap: -taps[tap][0])
        self.taken = [taps[tap][:2] for tap in order]
        self.register_buffer("places", torch.tensor([taps[tap][2] for tap in order]), persistent=False)
        self.register_buffer("unsorted", torch.tensor(order).argsort(), persistent=False)

    @property
    def receptive_field(self) -> int:
        """How many symbols back a row sees."""
        return sum(self.lags) + 1

    # -- whole chunks

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        if not x.shape[1]:
            return self.start(len(x), context)[0].unsqueeze(1)[:, :0]
        inputs = torch.cat([self.first.expand(len(x), 1, -1), self._embed(x[:, :-1])], 1)
        return self._rows(inputs, None, self._labels(context, len(x)), context, 0)[0]

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Queues]:
        """Parameters (B, P) of the first symbol, and the queues with what stands before it."""
        labels = self._labels(context, batch)
        empty = list(torch.split(self.first.new_zeros(batch, sum(self.lags), self.residual_size), self.lags, 1))
        rows, old = self._rows(self.first.expand(batch, 1, -1), empty, labels, context, 0)
        return rows[:, 0], Queues(old, (), 0, labels, labels[None, :0], 0)

    def step(self, x: Tensor, state: Queues, context: Context | None = None) -> tuple[Tensor, Queues]:
        """Parameters (B, T, P) after each symbol of x (B, T), and the queues after the last."""
        state = Queues(*state)
        if x.shape[1] == 1:
            return self._single(x, state, context)
        rows, old = self._rows(self._embed(x), self._queues(state), state.labels, context, state.time + 1)
        return rows, state._replace(old=old, recent=(), time=state.time + x.shape[1])

    def _rows(
        self, h: Tensor, queues: list[Tensor] | None, labels: Tensor, context: Context | None, time: int
    ) -> tuple[Tensor, Tensor]:
        """Parameters (B, T, P) for inputs (B, T, R) at steps `time`, ...; and the queues after them, if any went in."""
        length = h.shape[1]
        features = [] if self.features is None else [self.features(context, time, length)]  # (B, T, C)
        passed, kept = [], []
        for layer, (dilation, lag) in enumerate(zip(self.dilations, self.lags, strict=True)):
            if queues is None:
                known = F.pad(h, (0, 0, lag, 0))
            else:
                known = torch.cat([queues[layer], h], 1)
                kept.append(known[:, length:].transpose(0, 1))
            taps = [known[:, place : place + length] for place in range(0, lag + 1, dilation)]
            inputs = self.dropout(torch.cat([*taps, *features], 2))
            z = gated(torch.baddbmm(labels[layer].unsqueeze(1), inputs, self.taps[layer].expand(len(h), -1, -1)))
            passed.append(z)
            if layer + 1 < len(self.dilations):
                h = torch.baddbmm(h, z, self.residual[layer].expand(len(h), -1, -1))
        return self._read(torch.cat(passed, 2)), torch.cat(kept or [h])

    def _queues(self, state: Queues) -> list[Tensor]:
        """The queue (B, (k - 1) d, R) of each layer."""
        queues = torch.split(state.old, self.lags)
        if state.recent:
            recent = torch.stack(state.recent, 1)  # (L, steps, B, R)
            both = zip(queues, recent.unbind(), strict=True)
            queues = tuple(torch.cat([old, new])[len(new) :] for old, new in both)
        return [queue.transpose(0, 1) for queue in queues]

    # -- single steps, for sampling: few and large operations, as each costs more than its arithmetic

    def _single(self, x: Tensor, state: Queues, context: Context | None) -> tuple[Tensor, Queues]:
        state = self._look_ahead(self._tidy(state), context)
        gates = state.labels if self.features is None else state.ahead[state.time + 1 - state.begun]
        width = (self.kernel - 1) * self.residual_size
        gates = torch.baddbmm(gates, self._past(state), self.taps[:, :width])  # all that does not wait for this symbol
        now = self.taps[:, width : width + self.residual_size].unbind()
        h, inputs, passed = self._embed(x)[:, 0], [], []
        for gate, tap, residual in zip(gates.unbind(), now, (*self.residual.unbind(), None), strict=True):
            inputs.append(h)
            z = gated(torch.addmm(gate, h, tap))
            passed.append(z)
            if residual is not None:
                h = torch.addmm(h, z, residual)
        rows = self._read(torch.cat(passed, 1)).unsqueeze(1)
        return rows, state._replace(recent=(*state.recent, torch.stack(inputs)), time=state.time + 1)

    def _past(self, state: Queues) -> Tensor:
        """The earlier inputs (L, B, (k - 1) R) that this step's convolutions meet."""
        steps = len(state.recent)
        far = sum(ago > steps for ago, _ in self.taken)
        places = self.get_buffer("places")[:far] + steps
        near = [state.recent[steps - ago][layer].unsqueeze(0) for ago, layer in self.taken[far:]]
        past = torch.cat([state.old.index_select(0, places), *near])
        past = past.index_select(0, self.get_buffer("unsorted"))  # layer by layer, the oldest first
        taps, batch, width = self.kernel - 1, past.shape[1], self.residual_size
        return past.view(-1, taps, batch, width).transpose(1, 2).reshape(-1, batch, taps * width)

    def _tidy(self, state: Queues) -> Queues:
        """With the recent inputs among the old ones, once they are many."""
        if len(state.recent) < RECENT:
            return state
        return state._replace(old=torch.cat([queue.transpose(0, 1) for queue in self._queues(state)]), recent=())

    def _look_ahead(self, state: Queues, context: Context | None) -> Queues:
        """With the conditioning of the next steps at hand, which costs less for many at once."""
        begun = state.time + 1
        if self.features is None or 0 <= begun - state.begun < len(state.ahead):
            return state
        y = self.features(context, begun, max(1, min(AHEAD, self.features.covered(context) - begun)))  # (B, A, C)
        y = y.transpose(0, 1).flatten(0, 1)
        shares = y.matmul(self.taps[:, self.kernel * self.residual_size :])  # (L, A B, 2 G)
        shares = shares.view(len(shares), -1, *state.labels.shape[1:]) + state.labels.unsqueeze(1)
        return state._replace(ahead=shares.transpose(0, 1), begun=begun)

    # -- parts

    def _embed(self, x: Tensor) -> Tensor:
        """Inputs (B, T, R) of the first layer."""
        if self.scalar_input:
            place = 2 * x.unsqueeze(-1).to(self.first.dtype) / (self.output.width - 1) - 1
            return F.linear(place, self.input.weight, self.input.bias)
        return self.output.project(x, self.input.weight) + self.input.bias

    def _labels(self, context: Context | None, batch: int) -> Tensor:
        """The gates' biases (L, B, 2 G) with what the labels add."""
        refuse_order(context)
        bias = self.bias.unsqueeze(1)
        if self.labels is not None:
            added: Tensor = self.labels(context, batch)
            return bias + added.view(batch, *self.bias.shape).transpose(0, 1)
        refuse_labels(context)
        return bias.expand(-1, batch, -1)

    def _read(self, z: Tensor) -> Tensor:
        """Parameters (..., P) from the outputs (..., L G) of all layers."""
        out: Tensor = self.readout(F.relu(self.end(F.relu(self.skip(z)))))
        return out
