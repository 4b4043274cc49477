"""LSTM cells over positions that are computed in wavefronts, such as the rows of an image or its diagonals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Link(NamedTuple):
    """Recurrent connections by W[weight], from `length` positions from `source` on to as many from `to` on."""

    weight: int
    to: int
    source: int
    length: int


class Front(NamedTuple):
    """Positions start ... end - 1, computed in parallel from those of earlier fronts."""

    start: int
    end: int
    links: tuple[Link, ...]


class Wavefront(torch.autograd.Function):
    """Hidden states h (D, U, N, B) of LSTM cells.

    With n_k the position that link k connects to position n, and x_n its input,

        i, f, g, o = x_n + sum_k W_k h_n_k,   c_n = s(f) c_n_0 + s(i) tanh(g),   h_n = s(o) tanh(c_n);

    the cell comes from link 0 alone. Features come before positions in memory, so that a gate of a front is contiguous
    there. The backward pass is written out, since for fronts as small as a diagonal of a small image the overhead of
    autograd is several times the arithmetic. Letters: D directions, U units, N positions, B batch.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, fronts: Sequence[Front]) -> Tensor:
        """Front by front; the activated gates are saved for the gradient."""
        batch = x.shape[3]
        gates = x.flatten(2).clone(memory_format=torch.contiguous_format)
        i, f, g, o = gates.chunk(4, 1)
        hidden, cells = torch.empty_like(i), torch.empty_like(i)
        for front in fronts:
            here, links = _columns(front, batch)
            for weight, at, source in links:
                gates[:, :, at].baddbmm_(weights[weight], hidden[:, :, source])
            for gate in (i, f, o):
                gate[:, :, here].sigmoid_()
            torch.mul(i[:, :, here], g[:, :, here].tanh_(), out=cells[:, :, here])
            for weight, at, source in links:
                if weight == 0:
                    cells[:, :, at].addcmul_(f[:, :, at], cells[:, :, source])
            torch.mul(o[:, :, here], cells[:, :, here].tanh(), out=hidden[:, :, here])
        ctx.fronts, ctx.batch = fronts, batch
        ctx.save_for_backward(weights, gates, cells, hidden)
        return hidden.view(*hidden.shape[:2], -1, batch)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        """Fronts in reverse order."""
        weights, gates, cells, hidden = ctx.saved_tensors
        d_hidden = d_out.flatten(2).clone(memory_format=torch.contiguous_format)
        d_gates, d_cells, d_weights = torch.empty_like(gates), torch.zeros_like(cells), torch.zeros_like(weights)
        all_f, d_all_f = gates.chunk(4, 1)[1], d_gates.chunk(4, 1)[1]
        for front in reversed(ctx.fronts):
            here, links = _columns(front, ctx.batch)
            i, _, g, o = gates[:, :, here].chunk(4, 1)
            d_i, d_f, d_g, d_o = d_gates[:, :, here].chunk(4, 1)
            d_h, d_c, tanh_c = d_hidden[:, :, here], d_cells[:, :, here], cells[:, :, here].tanh()
            _sigmoid_slope(torch.mul(d_h, tanh_c, out=d_o), o)
            d_c.add_(_tanh_slope(d_h * o, tanh_c))
            _sigmoid_slope(torch.mul(d_c, g, out=d_i), i)
            _tanh_slope(torch.mul(d_c, i, out=d_g), g)
            d_f.zero_()  # for positions without link 0
            for weight, at, source in links:
                if weight == 0:
                    f, d_next = all_f[:, :, at], d_cells[:, :, at]
                    _sigmoid_slope(torch.mul(d_next, cells[:, :, source], out=d_all_f[:, :, at]), f)
                    d_cells[:, :, source].addcmul_(d_next, f)
            for weight, at, source in links:
                d_hidden[:, :, source].baddbmm_(weights[weight].mT, d_gates[:, :, at])
                d_weights[weight].baddbmm_(d_gates[:, :, at], hidden[:, :, source].mT)
        return d_gates.view(*d_gates.shape[:2], -1, ctx.batch), d_weights, None


def _columns(front: Front, batch: int) -> tuple[slice, list[tuple[int, slice, slice]]]:
    """The columns (of N B) of a front, and for each link its weight, target columns and source columns."""

    def columns(start: int, length: int) -> slice:
        return slice(start * batch, (start + length) * batch)

    links = [(weight, columns(to, length), columns(source, length)) for weight, to, source, length in front.links]
    return columns(front.start, front.end - front.start), links


def _sigmoid_slope(gradient: Tensor, value: Tensor) -> Tensor:
    """The gradient of the input of a sigmoid, given that of its output, in place, and its output."""
    slope: Tensor = torch.ops.aten.sigmoid_backward.grad_input(gradient, value, grad_input=gradient)
    return slope


def _tanh_slope(gradient: Tensor, value: Tensor) -> Tensor:
    """The same for tanh."""
    slope: Tensor = torch.ops.aten.tanh_backward.grad_input(gradient, value, grad_input=gradient)
    return slope


def wavefront(x: Tensor, weights: Tensor, fronts: Sequence[Front]) -> Tensor:
    """`Wavefront`: hidden states (D, U, N, B) for gate inputs x (D, 4 U, N, B) and weights W (K, D, 4 U, U)."""
    hidden: Tensor = Wavefront.apply(x.to(weights.dtype), weights, fronts)  # type: ignore[no-untyped-call]
    return hidden
