"""Recurrent cells, one step of `torch.nn.RNN`, `GRU` and `LSTM` without repacking their weights.

A one-step call of torch's layers copies all weights into a packed form first, which at batch 1 takes several times
the arithmetic. These functions compute the same numbers from the same parameters as plain matrix-vector products.
Letters: B batch, H hidden units, G gates.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Cell = Callable[[nn.RNNBase, Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]


def tanh(layer: nn.RNNBase, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), given inputs W_ih x (B, H) and the state (h,): (h',)."""
    return ((inputs + layer.bias_ih_l0 + _recurrent(layer, state[0])).tanh(),)


def gru(layer: nn.RNNBase, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Cho et al. 2014 (arXiv:1406.1078), the reset gate behind the product; inputs W_ih x (B, 3 H)."""
    (h,) = state
    reset_x, update_x, new_x = (inputs + layer.bias_ih_l0).chunk(3, 1)
    reset_h, update_h, new_h = _recurrent(layer, h).chunk(3, 1)
    update = (update_x + update_h).sigmoid()
    new = (new_x + (reset_x + reset_h).sigmoid() * new_h).tanh()
    return (torch.lerp(new, h, update),)


def lstm(layer: nn.RNNBase, inputs: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000); inputs W_ih x (B, 4 H), state (h, c)."""
    h, c = state
    i, f, g, o = (inputs + layer.bias_ih_l0 + _recurrent(layer, h)).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _recurrent(layer: nn.RNNBase, h: Tensor) -> Tensor:
    return F.linear(h, layer.weight_hh_l0, layer.bias_hh_l0)  # (B, G H)


CELLS: dict[str, Cell] = {"tanh": tanh, "gru": gru, "lstm": lstm}
LAYERS: dict[str, type[nn.RNNBase]] = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
