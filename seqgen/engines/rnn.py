"""The compiled sampler of recurrent networks."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.engine import Request, Sampler, offers
from seqgen.engines.kernel import Op
from seqgen.engines.offer import start
from seqgen.engines.packing import padded
from seqgen.engines.program import Program, Span
from seqgen.engines.running import Layout, Running
from seqgen.models.rnn import RNN
from seqgen.nn.cells import weights


class RNNLayout(Layout):
    """A step: for each layer one or two products, and the cell."""

    def __init__(self, model: RNN) -> None:
        program, self.model = Program(model.output), model
        self.size = size = padded(model.hidden)
        self.states = [[program.span(size) for _ in range(len(model.initial))] for _ in model.layers]
        layers = [weights(cast(nn.RNNBase, layer)) for layer in model.layers]
        gates = len(layers[0].weight_ih) // model.hidden
        pre, other = program.span(gates * size), program.span(gates * size)
        self.bias, self.embedded, x = program.span(gates * size), Span(0, 0), Span(0, 0)
        if model.embedding is not None:
            self.embedded, x = (program.span(model.embedding.out_features) for _ in range(2))
            program.symbol(x, self.embedded, model.embedding.weight.t())
        for index, (w, state) in enumerate(zip(layers, self.states, strict=True)):
            bias = self.bias if not index else program.span(gates * size, self._rows(self._biases(index)[0]))
            if index or model.embedding is not None:
                program.product(pre, bias, x, self._matrix(w.weight_ih))
            else:
                program.symbol(pre, bias, self._matrix(w.weight_ih))
            if model.kind == "gru":
                program.product(
                    other, program.span(gates * size, self._rows(w.bias_hh)), state[0], self._matrix(w.weight_hh)
                )
                program.add(Op.GRU, state[0], x=pre.offset, a=other.offset, n=size)
            else:
                program.product(pre, pre, state[0], self._matrix(w.weight_hh))
                if model.kind == "lstm":
                    program.add(Op.LSTM, state[0], a=state[1].offset, x=pre.offset, n=size)
                else:
                    program.add(Op.TANH, state[0], x=pre.offset, n=size)
            x = state[0]
            if model.norms:
                norm = cast(nn.LayerNorm, model.norms[index])
                x = program.norm(x, model.hidden, norm.weight, norm.bias, norm.eps)
        readout = model.embedding.weight.t() if model.embedding is not None and model.tied else model.readout.weight
        program.draw_from(program.affine(x, readout, model.readout.bias))
        super().__init__(program)

    def _biases(self, index: int) -> tuple[Tensor, Tensor]:
        """What is added to the inputs of a layer's gates before and after the product with its state."""
        w = weights(cast(nn.RNNBase, self.model.layers[index]))
        return (w.bias_ih, w.bias_hh) if self.model.kind == "gru" else (w.bias_ih + w.bias_hh, w.bias_hh)

    def _rows(self, value: Tensor) -> Tensor:
        """(..., G H) with every gate padded."""
        parts = value.reshape(*value.shape[:-1], -1, self.model.hidden)
        return F.pad(parts, (0, self.size - self.model.hidden)).flatten(-2)

    def _matrix(self, weight: Tensor) -> Tensor:
        """W (E, G H), padded, for torch's (G H, E)."""
        return self._rows(weight.t())

    def fill(self, memory: Running, request: Request) -> None:
        """The hidden states, and the biases of the first layer with the label embeddings."""
        for spans, state in zip(self.states, request.state, strict=True):
            for span, value in zip(spans, state, strict=True):
                memory.set(span, value)
        bias = self._biases(0)[0]
        if self.model.labelled:
            added = self.model.label_input(request.context, len(request.parameters))
            if self.model.embedding is not None:
                memory.set(self.embedded, added)
            else:
                bias = bias + F.linear(added, weights(cast(nn.RNNBase, self.model.layers[0])).weight_ih)
        memory.set(self.bias, self._rows(bias))


@offers(RNN)
def rnn(model: RNN, request: Request) -> Sampler:
    """A sampler of any recurrent network."""
    return start(model, request, lambda: RNNLayout(model))
