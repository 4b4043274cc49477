"""WaveNet."""

import itertools
from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Context, Model
from seqgen.nn.cells import gated
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order
from seqgen.nn.prediction import Predicted, inputs, predict
from seqgen.nn.upsample import Upsample
from seqgen.output import Output

RECENT = 16
"""Single steps after which recent inputs are merged into the queues."""
AHEAD = 64
"""Symbols whose conditioning is computed at once in single steps."""


class Queues(NamedTuple):
    """The state after `time` symbols: the last (k - 1) d inputs of each layer of dilation d (Fast WaveNet queues).

    `old` (S, B, R) holds the queues of all layers one after the other, oldest input first, as of `len(recent)` steps
    ago; `recent` are the inputs (L, B, R) of all layers at the steps since. `gates` (L, B, 2 G) are the biases of the
    gates with the label embeddings added; `conditioned` (A, L, B, 2 G) are those with local conditioning added as well,
    for A steps from step `conditioned_from` on. `past` (B, P), float64, are the last values that symbols are predicted
    from.
    """

    old: Tensor
    recent: tuple[Tensor, ...]
    time: int
    gates: Tensor
    conditioned: Tensor
    conditioned_from: int
    past: Tensor


class WaveNet(Model):
    """Dilated causal convolutions (van den Oord et al. 2016, arXiv:1609.03499).

    With h the input of a layer, * its dilated convolution, l a label embedding and y the upsampled features,

        z = tanh(W_f * h + V_f y + l_f) sigmoid(W_g * h + V_g y + l_g),   h' = h + W_r z,

    and the parameters are W_2 relu(W_1 relu(b + sum over layers of W_s z)). Dilations are 1, 2, 4, ... 2^(layers - 1),
    repeated `blocks` times. With linear prediction (LP-WaveNet, Hwang et al. 2018, arXiv:1811.11913) they are the
    parameters of e_t in x_t = p_t + g_t e_t: the features give the gain g_t and the coefficients of the prediction p_t,
    which is linear in the last symbols. The inputs of a step are then the last x, the next p and the last e.

    Deviations: the first layer is a linear map of one symbol, not a convolution; sequences are padded on the left with
    one learnt vector, then zeros; W_r and W_s have no biases, as those of the gates and of W_1 suffice; the last layer
    has no W_r, since its h' is unused.

    Args:
        output: The output distribution.
        labels: The number of classes of each label of a sequence (global conditioning).
        layers: The number of layers of a block.
        blocks: The number of blocks.
        kernel: k, the kernel size of the dilated convolutions.
        residual: R, residual channels.
        gate: G, gate channels (of z).
        skip: Skip channels (of the sum over layers).
        end: Channels between W_1 and W_2.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last) instead of a one-hot vector.
        dropout: Dropout probability of the inputs of each layer.
        features: D, numbers in a frame of local conditioning; 0 for none.
        hop: Symbols of a frame.
        upsampling: `repeat` for nearest-neighbour upsampling of frames, `learnt` for a transposed convolution.
        condition: Channels of the upsampled features y.
        encoder: Convolutions over three frames that features pass before upsampling.
        prediction: P, the order of a linear predictor of the symbols, for outputs with means: after `features` numbers,
            a frame has P coefficients, newest symbol first, and the logarithm of the gain (`LogMel(prediction=P)`).

    >>> from seqgen.outputs import Categorical
    >>> model = WaveNet(Categorical(256), layers=10, blocks=3)
    >>> model.receptive_field
    3070
    """

    input_axes = MappingProxyType({"taps": 1, "residual": 1})
    added = frozenset({"encoder", "prediction"})

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
        encoder: int = 0,
        prediction: int = 0,
    ) -> None:
        super().__init__()
        sizes = {"layers": layers, "blocks": blocks, "residual": residual, "gate": gate, "skip": skip, "end": end}
        if wrong := [f"{name} {size}" for name, size in sizes.items() if size < 1]:
            raise SeqgenError(f"{', '.join(wrong)}: expected 1 or more")
        if kernel < 2 or features < 0 or not 0 <= dropout <= 1:
            raise SeqgenError(
                f"kernel {kernel}, features {features}, dropout {dropout}: expected 2 or more, 0 or more, 0 to 1"
            )
        if prediction and not (prediction > 0 and features and output.locations):
            raise SeqgenError(
                f"prediction is {prediction} with {features} features and {type(output).__name__}, expected 0, or 1 or "
                "more with features and an output with means, such as DiscretizedLogistics"
            )
        self.output = output
        self.label_sizes = tuple(labels)
        predictor = prediction + 1 if prediction else 0  # numbers of a frame
        self.feature_size, self.feature_hop = features + predictor, hop
        self.prediction = prediction
        self.scalar_input = scalar and output.width > 1
        self.kernel, self.residual_size, self.gate = kernel, residual, gate
        self.dilations: list[int] = [2**layer for layer in range(layers)] * blocks
        self.lags: list[int] = [(kernel - 1) * dilation for dilation in self.dilations]
        depth = len(self.dilations)
        self.input = nn.Linear(3 if prediction else 1 if self.scalar_input else output.width, residual)
        self.first = nn.Parameter(0.1 * torch.randn(residual))
        self.dropout = nn.Dropout(dropout)
        self.features = Upsample(features, hop, condition, upsampling, encoder, predictor) if features else None
        if self.features is not None:
            self.feature_reach = self.features.reach
        width = kernel * residual + (condition if features else 0)
        self.taps = nn.Parameter(torch.randn(depth, width, 2 * gate) / width**0.5)  # the oldest tap first, then y
        self.bias = nn.Parameter(torch.zeros(depth, 2 * gate))
        self.residual = nn.Parameter(torch.randn(depth - 1, gate, residual) / (gate * depth) ** 0.5)
        self.skip = nn.Linear(depth * gate, skip)
        self.end = nn.Linear(skip, end)
        self.readout = nn.Linear(end, output.size)
        self.labels = LabelEmbedding(labels, depth * 2 * gate) if labels else None
        self._index_taps()

    def _index_taps(self) -> None:
        """Index the past inputs of every layer's convolution in `Queues.old`, sorted by their age, oldest first."""
        ends = itertools.accumulate(self.lags)
        # The queues are concatenated, so the input of `ago` steps ago is `ago` before the end of its layer's queue.
        taps = [
            (ago, layer, end - ago)
            for layer, (dilation, lag, end) in enumerate(zip(self.dilations, self.lags, ends, strict=True))
            for ago in range(lag, 0, -dilation)
        ]
        order = sorted(range(len(taps)), key=lambda tap: -taps[tap][0])
        self.taps_by_age = [taps[tap][:2] for tap in order]
        self.register_buffer("places", torch.tensor([taps[tap][2] for tap in order]), persistent=False)
        self.register_buffer("unsorted", torch.tensor(order).argsort(), persistent=False)

    @property
    def receptive_field(self) -> int:
        """The number of preceding symbols that a row depends on."""
        return sum(self.lags) + 1 + self.prediction

    # -- whole chunks

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        if not x.shape[1]:
            return self.start(len(x), context)[0].unsqueeze(1)[:, :0]
        h, predicted, _ = self._inputs(x[:, :-1], self._silence(len(x)), context, 0)
        h = torch.cat([self.first.expand(len(x), 1, -1), h], 1)
        return self._moved(self._rows(h, None, self._gate_biases(context, len(x)), context, 0)[0], predicted)

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Queues]:
        """Parameters (B, P) of the first symbol, and the queues of the left padding."""
        gates = self._gate_biases(context, batch)
        empty = list(torch.split(self.first.new_zeros(batch, sum(self.lags), self.residual_size), self.lags, 1))
        rows, old = self._rows(self.first.expand(batch, 1, -1), empty, gates, context, 0)
        past, nothing = self._silence(batch), torch.zeros(batch, 0, dtype=self.output.dtype, device=self.device)
        _, predicted, _ = self._inputs(nothing, past, context, 0)
        return self._moved(rows, predicted)[:, 0], Queues(old, (), 0, gates, gates[None, :0], 0, past)

    def step(self, x: Tensor, state: Queues, context: Context | None = None) -> tuple[Tensor, Queues]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the queues after the last."""
        state = Queues(*state)
        h, predicted, past = self._inputs(x, state.past, context, state.time)
        if x.shape[1] == 1:
            rows, state = self._single(h, state, context)
        else:
            rows, old = self._rows(h, self.queues(state), state.gates, context, state.time + 1)
            state = state._replace(old=old, recent=(), time=state.time + x.shape[1])
        rows = self._moved(rows, None if predicted is None else Predicted(*(part[:, 1:] for part in predicted)))
        return rows, state._replace(past=past)

    def _rows(
        self, h: Tensor, queues: list[Tensor] | None, gates: Tensor, context: Context | None, time: int
    ) -> tuple[Tensor, Tensor]:
        """Parameters (B, T, P) for inputs h (B, T, R) from step `time` on, and `Queues.old` after them.

        `queues` are those before the inputs; None for zeros, then the returned queues have no meaning.
        """
        length = h.shape[1]
        features = [] if self.features is None else [self.features(context, time, length)]  # (B, T, C)
        outputs, kept = [], []
        for layer, (dilation, lag) in enumerate(zip(self.dilations, self.lags, strict=True)):
            if queues is None:
                padded = F.pad(h, (0, 0, lag, 0))
            else:
                padded = torch.cat([queues[layer], h], 1)
                kept.append(padded[:, length:].transpose(0, 1))
            taps = [padded[:, start : start + length] for start in range(0, lag + 1, dilation)]
            seen = self.dropout(torch.cat([*taps, *features], 2))
            z = gated(torch.baddbmm(gates[layer].unsqueeze(1), seen, self.taps[layer].expand(len(h), -1, -1)))
            outputs.append(z)
            if layer + 1 < len(self.dilations):
                h = torch.baddbmm(h, z, self.residual[layer].expand(len(h), -1, -1))
        return self._read(torch.cat(outputs, 2)), torch.cat(kept or [h])

    def queues(self, state: Queues) -> list[Tensor]:
        """The queue (B, (k - 1) d, R) of each layer, with the recent inputs."""
        queues = torch.split(state.old, self.lags)
        if state.recent:
            recent = torch.stack(state.recent, 1)  # (L, steps, B, R)
            pairs = zip(queues, recent.unbind(), strict=True)
            queues = tuple(torch.cat([old, new])[len(new) :] for old, new in pairs)
        return [queue.transpose(0, 1) for queue in queues]

    # -- single steps, for sampling: few and large operations, since the overhead of each exceeds its arithmetic

    def _single(self, h: Tensor, state: Queues, context: Context | None) -> tuple[Tensor, Queues]:
        state = self._condition(self._merge_recent(state), context)
        gates = state.gates if self.features is None else state.conditioned[state.time + 1 - state.conditioned_from]
        width = (self.kernel - 1) * self.residual_size
        gates = torch.baddbmm(gates, self._past(state), self.taps[:, :width])  # all that does not depend on this symbol
        now = self.taps[:, width : width + self.residual_size].unbind()
        h, recent, outputs = h[:, 0], [], []
        for gate, tap, residual in zip(gates.unbind(), now, (*self.residual.unbind(), None), strict=True):
            recent.append(h)
            z = gated(torch.addmm(gate, h, tap))
            outputs.append(z)
            if residual is not None:
                h = torch.addmm(h, z, residual)
        rows = self._read(torch.cat(outputs, 1)).unsqueeze(1)
        return rows, state._replace(recent=(*state.recent, torch.stack(recent)), time=state.time + 1)

    def _past(self, state: Queues) -> Tensor:
        """The past inputs (L, B, (k - 1) R) of this step's convolutions."""
        steps = len(state.recent)
        far = sum(ago > steps for ago, _ in self.taps_by_age)
        places = self.get_buffer("places")[:far] + steps
        near = [state.recent[steps - ago][layer].unsqueeze(0) for ago, layer in self.taps_by_age[far:]]
        past = torch.cat([state.old.index_select(0, places), *near])
        past = past.index_select(0, self.get_buffer("unsorted"))  # layer by layer, the oldest first
        taps, batch, width = self.kernel - 1, past.shape[1], self.residual_size
        return past.view(-1, taps, batch, width).transpose(1, 2).reshape(-1, batch, taps * width)

    def _merge_recent(self, state: Queues) -> Queues:
        """The state with the recent inputs merged into the queues, once there are RECENT of them."""
        if len(state.recent) < RECENT:
            return state
        return state._replace(old=torch.cat([queue.transpose(0, 1) for queue in self.queues(state)]), recent=())

    def _condition(self, state: Queues, context: Context | None) -> Queues:
        """The state with the local conditioning of the next step, which is computed for AHEAD steps at once."""
        step = state.time + 1
        if self.features is None or 0 <= step - state.conditioned_from < len(state.conditioned):
            return state
        count = max(1, min(AHEAD, self.features.length(context) - step))
        return state._replace(conditioned=self.conditioned(state.gates, context, step, count), conditioned_from=step)

    def conditioned(self, gates: Tensor, context: Context | None, first: int, count: int) -> Tensor:
        """Gates (L, B, 2 G) with the local conditioning of `count` steps from `first` on: (count, L, B, 2 G)."""
        assert self.features is not None  # for models with features
        y = self.features(context, first, count).transpose(0, 1).flatten(0, 1)  # (count B, C)
        added: Tensor = y.matmul(self.taps[:, self.kernel * self.residual_size :])  # (L, count B, 2 G)
        return (added.view(len(added), -1, *gates.shape[1:]) + gates.unsqueeze(1)).transpose(0, 1)

    # -- input, biases and output

    def _inputs(
        self, x: Tensor, past: Tensor, context: Context | None, time: int
    ) -> tuple[Tensor, Predicted | None, Tensor]:
        """Inputs (B, T, R) of the first layer for symbols x (B, T) from number `time` on.

        Then the predictions of these symbols and of the next one, if there are any, and the values `past` after them.
        """
        if not self.prediction:
            return self._embed(x), None, past
        assert self.features is not None  # a model with prediction has features
        values = self.output.embed(x).squeeze(-1).double()
        predicted = predict(past, values, self.features.ignored_part(context), self.feature_hop, time)
        h: Tensor = self.input(inputs(values, predicted).to(self.first.dtype))
        return h, predicted, torch.cat([past, values], 1)[:, values.shape[1] :]

    def _silence(self, batch: int) -> Tensor:
        """The values (B, P) before the first symbol."""
        return self.first.new_zeros(batch, self.prediction, dtype=torch.float64)

    def _moved(self, rows: Tensor, predicted: Predicted | None) -> Tensor:
        """Parameters of symbols from those of their prediction errors (B, T, P)."""
        return rows if predicted is None else self.output.moved(rows, *predicted)

    def _embed(self, x: Tensor) -> Tensor:
        """Inputs (B, T, R) of the first layer."""
        if self.scalar_input:
            value = 2 * x.unsqueeze(-1).to(self.first.dtype) / (self.output.width - 1) - 1
            return F.linear(value, self.input.weight, self.input.bias)
        return self.output.project(x, self.input.weight) + self.input.bias

    def _gate_biases(self, context: Context | None, batch: int) -> Tensor:
        """The biases of the gates (L, B, 2 G) with the label embeddings added."""
        refuse_order(context)
        bias = self.bias.unsqueeze(1)
        if self.labels is not None:
            added: Tensor = self.labels(context, batch)
            return bias + added.view(batch, *self.bias.shape).transpose(0, 1)
        refuse_labels(context)
        return bias.expand(-1, batch, -1)

    def _read(self, z: Tensor) -> Tensor:
        """Parameters (..., P) from the outputs z (..., L G) of all layers."""
        out: Tensor = self.readout(F.relu(self.end(F.relu(self.skip(z)))))
        return out
