"""Recurrent layers: whole chunks by torch's fused kernels, single steps by plain cells on the same parameters.

A single step of torch's layers first packs all weights, which at batch 1 takes several times as long as the arithmetic;
the cells here are matrix-vector products without packing. Letters: B batch, T time, E inputs, H hidden units, G gates;
a state is (h,) or (h, c), each (B, H).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

State = tuple[Tensor, ...]


class Weights(NamedTuple):
    """The parameters of one layer: weight_ih (G H, E), weight_hh (G H, H) and their biases (G H,)."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


Cell = Callable[[Weights, Tensor, State], State]


def weights(layer: nn.RNNBase) -> Weights:
    """The parameters of a torch module of one layer."""
    return Weights(*layer.all_weights[0])


def chunk(layer: nn.RNNBase, values: Tensor, state: State) -> tuple[Tensor, State]:
    """Outputs (B, T, H) for values (B, T, E), and the state after the last."""
    packed = tuple(part.unsqueeze(0).contiguous() for part in state)
    outputs, after = layer(values, packed if len(packed) > 1 else packed[0])
    return outputs, tuple(part.squeeze(0) for part in (after if len(packed) > 1 else (after,)))


def tanh(w: Weights, inputs: Tensor, state: State) -> State:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), given inputs W_ih x (B, H)."""
    return (_tanh(torch.addmm(inputs + (w.bias_ih + w.bias_hh), state[0], w.weight_hh.t())),)


def gru(w: Weights, inputs: Tensor, state: State) -> State:
    """Cho et al. 2014 (arXiv:1406.1078), the reset gate applied after the product W_hh h; inputs W_ih x (B, 3 H)."""
    (h,) = state
    reset_x, update_x, new_x = (inputs + w.bias_ih).chunk(3, 1)
    reset_h, update_h, new_h = F.linear(h, w.weight_hh, w.bias_hh).chunk(3, 1)
    new = _tanh(torch.addcmul(new_x, (reset_x + reset_h).sigmoid(), new_h))
    return (torch.lerp(new, h, (update_x + update_h).sigmoid()),)


def lstm(w: Weights, inputs: Tensor, state: State) -> State:
    """Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000); inputs W_ih x (B, 4 H)."""
    h, c = state
    gates = torch.addmm(inputs + (w.bias_ih + w.bias_hh), h, w.weight_hh.t())  # (B, 4 H)
    g = _tanh(gates.chunk(4, 1)[2])
    i, f, _, o = gates.sigmoid().chunk(4, 1)
    c = torch.addcmul(f * c, i, g)
    return o * _tanh(c), c


class Gated(torch.autograd.Function):
    """tanh of the first half of the channels times the sigmoid of the second.

    Its gradient is written to one tensor, and follows from the two factors. tanh(x) is 2 sigmoid(2 x) - 1, which torch
    computes three times as fast, with the absolute error of float32 near 1.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor) -> Tensor:
        """z (..., G) from gates (..., 2 G)."""
        filters, gate = gates.chunk(2, -1)
        tanh, sigmoid = (filters + filters).sigmoid_().mul_(2).sub_(1), gate.sigmoid()
        ctx.save_for_backward(tanh, sigmoid)
        return tanh * sigmoid

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """That of the gates."""
        tanh, sigmoid = ctx.saved_tensors
        gates = gradient.new_empty(*gradient.shape[:-1], 2 * gradient.shape[-1])
        filters, gate = gates.chunk(2, -1)
        scaled = gradient * sigmoid
        torch.addcmul(scaled, scaled * tanh, tanh, value=-1, out=filters)  # d s (1 - t^2)
        scaled.mul_(tanh)
        torch.addcmul(scaled, scaled, sigmoid, value=-1, out=gate)  # d t s (1 - s)
        return gates


def gated(gates: Tensor) -> Tensor:
    """Gated activation: tanh of the first half of the channels times the sigmoid of the second."""
    z: Tensor = Gated.apply(gates)  # type: ignore[no-untyped-call]
    return z


def _tanh(x: Tensor) -> Tensor:
    # torch.tanh starts every thread even for a few hundred numbers: 90 us against 8 here, six times a step.
    s = (x + x).sigmoid()
    return s + s - 1


KINDS: dict[str, tuple[Callable[..., nn.RNNBase], Cell]] = {
    "tanh": (nn.RNN, tanh),
    "gru": (nn.GRU, gru),
    "lstm": (nn.LSTM, lstm),
}
"""By name: the torch layer for chunks and the cell for single steps, on the same parameters."""
