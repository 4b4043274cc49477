"""The compiled sampler of WaveNet."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from seqgen.engine import Request, Sampler, offers
from seqgen.engines.kernel import Op
from seqgen.engines.offer import start
from seqgen.engines.packing import padded
from seqgen.engines.program import Program
from seqgen.engines.running import Layout, Running
from seqgen.models.wavenet import Queues, WaveNet
from seqgen.nn.prediction import Predicted, predict


class WaveNetLayout(Layout):
    """A step: the taps of each layer out of a ring of its past inputs, two products, and the skip sum."""

    def __init__(self, model: WaveNet) -> None:
        program, self.model = Program(model.output), model
        taps, depth = model.kernel - 1, len(model.dilations)
        self.size, self.half = size, half = padded(model.residual_size), padded(model.gate)
        self.gates = program.span(depth * 2 * half)  # biases, with those of labels and features
        self.rings = [program.span(lag * size) for lag in model.lags]
        inputs = program.span(model.kernel * size)  # of a convolution, the newest last
        h = inputs.part(taps * size, size)
        pre, z = program.span(2 * half), program.span(half)
        skip_bias, skip = program.span(len(model.skip.bias), model.skip.bias), program.span(len(model.skip.bias))
        if model.features is not None:
            program.add(Op.FETCH, self.gates, m=self.gates.length)
        bias, weight = program.span(size, model.input.bias), model.input.weight.t()
        if model.prediction:
            program.product(h, bias, program.prediction(model.prediction, self.gates.length), weight)
        else:
            program.symbol(h, bias, weight, model.scalar_input)
        for layer, (dilation, lag) in enumerate(zip(model.dilations, model.lags, strict=True)):
            program.add(Op.QUEUE, inputs, a=self.rings[layer].offset, x=h.offset, n=lag, m=size, extra=dilation)
            program.product(pre, self.gates.part(layer * 2 * half, 2 * half), inputs, self._taps(layer))
            program.add(Op.GATE, z, x=pre.offset, n=half)
            if layer + 1 < depth:
                program.product(h, h, z, model.residual[layer])
            program.product(skip, skip if layer else skip_bias, z, self._skip(layer))
        x = program.add(Op.RELU, skip, x=skip.offset, n=skip.length)
        x = program.affine(x, model.end.weight, model.end.bias)
        program.add(Op.RELU, x, x=x.offset, n=x.length)
        program.draw_from(program.affine(x, model.readout.weight, model.readout.bias))
        super().__init__(program)

    def _taps(self, layer: int) -> Tensor:
        """The weights (k R, 2 G) of a convolution, padded."""
        kernel, size = self.model.kernel, self.model.residual_size
        weight = self.model.taps[layer, : kernel * size].reshape(kernel, size, 2, -1)
        missing = self.half - self.model.gate, self.size - self.model.residual_size
        padded_taps: Tensor = F.pad(weight, (0, missing[0], 0, 0, 0, missing[1]))
        return padded_taps.flatten(2).flatten(0, 1)

    def _skip(self, layer: int) -> Tensor:
        """The weights (G, S) from a layer to the skip sum."""
        weight: Tensor = self.model.skip.weight[:, layer * self.model.gate : (layer + 1) * self.model.gate]
        return weight.t()

    def _halves(self, gates: Tensor) -> Tensor:
        """Biases of gates (..., L, B, 2 G) as rows (B, ..., L 2 G), padded."""
        if missing := self.half - self.model.gate:
            gates = F.pad(gates.reshape(*gates.shape[:-1], 2, -1), (0, missing)).flatten(-2)
        return gates.movedim(-2, 0).flatten(-2)

    def fill(self, memory: Running, request: Request) -> None:
        """Queues as rings: the input number i is at i - 1 modulo the length of the ring."""
        state = Queues(*request.state)
        memory.set(self.gates, self._halves(state.gates))
        for ring, queue, lag in zip(self.rings, self.model.queues(state), self.model.lags, strict=True):
            queue = queue.roll(state.time, 1) if state.time % lag else queue
            memory.set(ring, F.pad(queue, (0, self.size - queue.shape[-1])).flatten(1))
        if self.model.features is not None and (order := self.model.prediction):
            values = state.past[:, [place % order for place in range(-state.time, order - state.time)]]
            memory.moves = torch.cat([torch.stack(self._predicted(request), 1), values], 1).numpy()

    def next_parameters(self, request: Request) -> Tensor:
        """The parameters of the prediction error."""
        if not self.model.prediction:
            return request.parameters
        mean, gain = self._predicted(request)
        parameters: Tensor = self.model.output.moved(request.parameters, -mean / gain, 1 / gain)
        return parameters

    def _predicted(self, request: Request) -> Predicted:
        """The prediction and the gain (B,) of the next symbol."""
        state, nothing = Queues(*request.state), torch.zeros(len(request.parameters), 0, dtype=torch.float64)
        frames = self.model.features.ignored_part(request.context)
        found = predict(state.past, nothing, frames, self.model.feature_hop, state.time)
        return Predicted(*(part[:, 0] for part in found))

    def outside(self, request: Request) -> Callable[[int, int], Tensor] | None:
        """The biases of the gates with local conditioning."""
        if self.model.features is None:
            return None
        state, features = Queues(*request.state), self.model.features
        predictors = features.ignored_part(request.context)  # (B, F, P + 1 or 0)

        def inputs(first: int, count: int) -> Tensor:
            gates = self._halves(self.model.conditioned(state.gates, request.context, first, count))
            frames = torch.arange(first, first + count) // self.model.feature_hop
            return torch.cat([gates, predictors[:, frames].to(gates.dtype)], 2)

        return inputs


@offers(WaveNet)
def wavenet(model: WaveNet, request: Request) -> Sampler:
    """A sampler of any WaveNet."""
    return start(model, request, lambda: WaveNetLayout(model))
