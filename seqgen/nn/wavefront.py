"""LSTM cells that run over positions front by front, such as the rows of an image or its diagonals."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Link(NamedTuple):
    """The positions from `to` on get what as many from `source` on are, in their order, by weights of that number."""

    weight: int
    to: int
    source: int
    length: int


class Front(NamedTuple):
    """The positions `start` to `end`, computed at once from those of earlier fronts."""

    start: int
    end: int
    links: tuple[Link, ...]


class Wavefront(torch.autograd.Function):
    """Hidden states h (D, U, N, B) of LSTM cells.

    For position n, with a sum over its links, that with weight k from a position n_k,

        i, f, g, o = given_n + sum_k W_k h_n_k,   c_n = s(f) c_n_0 + s(i) tanh(g),   h_n = s(o) tanh(c_n).

    The features come before the positions, so that what is done to each gate of a front is done to memory in a row.
    The gradient is written out: of a step that is as small as a diagonal of a small image, autograd's own book-keeping
    costs several times the work. Letters: D directions, U units, N positions, B batch.
    """

    @staticmethod
    def forward(ctx: Any, given: Tensor, weights: Tensor, fronts: Sequence[Front]) -> Tensor:
        """Front after front; the gates behind their sigmoids and tanh are kept."""
        batch = given.shape[3]
        gates = given.flatten(2).clone(memory_format=torch.contiguous_format)
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
    def backward(ctx: Any, d_found: Tensor) -> tuple[Tensor | None, ...]:
        """From the last front to the first."""
        weights, gates, cells, hidden = ctx.saved_tensors
        d_hidden = d_found.flatten(2).clone(memory_format=torch.contiguous_format)
        d_gates, d_cells, d_weights = torch.empty_like(gates), torch.zeros_like(cells), torch.zeros_like(weights)
        whole_f, d_whole_f = gates.chunk(4, 1)[1], d_gates.chunk(4, 1)[1]
        for front in reversed(ctx.fronts):
            here, links = _columns(front, ctx.batch)
            i, _, g, o = gates[:, :, here].chunk(4, 1)
            d_i, d_f, d_g, d_o = d_gates[:, :, here].chunk(4, 1)
            d_h, d_c, bent = d_hidden[:, :, here], d_cells[:, :, here], cells[:, :, here].tanh()
            _sigmoid_slope(torch.mul(d_h, bent, out=d_o), o)
            d_c.add_(_tanh_slope(d_h * o, bent))
            _sigmoid_slope(torch.mul(d_c, g, out=d_i), i)
            _tanh_slope(torch.mul(d_c, i, out=d_g), g)
            d_f.zero_()  # where no cell comes from
            for weight, at, source in links:
                if weight == 0:
                    f, d_next = whole_f[:, :, at], d_cells[:, :, at]
                    _sigmoid_slope(torch.mul(d_next, cells[:, :, source], out=d_whole_f[:, :, at]), f)
                    d_cells[:, :, source].addcmul_(d_next, f)
            for weight, at, source in links:
                d_hidden[:, :, source].baddbmm_(weights[weight].mT, d_gates[:, :, at])
                d_weights[weight].baddbmm_(d_gates[:, :, at], hidden[:, :, source].mT)
        return d_gates.view(*d_gates.shape[:2], -1, ctx.batch), d_weights, None


def _columns(front: Front, batch: int) -> tuple[slice, list[tuple[int, slice, slice]]]:
    """Columns (N B) of a front, and of each link: its weight, where to, where from."""

    def columns(start: int, length: int) -> slice:
        return slice(start * batch, (start + length) * batch)

    links = [(weight, columns(to, length), columns(source, length)) for weight, to, source, length in front.links]
    return columns(front.start, front.end - front.start), links


def _sigmoid_slope(gradient: Tensor, value: Tensor) -> Tensor:
    """The gradient before a sigmoid, in place of that behind it, given the sigmoid's value."""
    slope: Tensor = torch.ops.aten.sigmoid_backward.grad_input(gradient, value, grad_input=gradient)
    return slope


def _tanh_slope(gradient: Tensor, value: Tensor) -> Tensor:
    """The same of tanh."""
    slope: Tensor = torch.ops.aten.tanh_backward.grad_input(gradient, value, grad_input=gradient)
    return slope


def wavefront(given: Tensor, weights: Tensor, fronts: Sequence[Front]) -> Tensor:
    """h (D, U, N, B) of Wavefront from what positions give to the gates (D, 4 U, N, B), and W (K, D, 4 U, U)."""
    found: Tensor = Wavefront.apply(given.to(weights.dtype), weights, fronts)  # type: ignore[no-untyped-call]
    return found
