"""Hidden units on running pre-activations (as in NADE), recomputed in the backward pass to save memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 8
"""Positions between checkpoints of the pre-activations; those in between are recomputed for the gradient."""


Positions = Sequence[Tensor]
"""One tensor for each position."""


class Network(NamedTuple):
    """For each position x (B, E), W (E, H), V (P, H), and r (1, 1) or None for 1; whether f is relu, else sigmoid."""

    x: Positions
    weight: Positions
    readout: Positions
    scale: Positions | None
    rectified: bool

    def add(self, total: Tensor, t: int, out: Tensor) -> None:
        """out = a_t+1, given a_t."""
        multiply = torch.addcmul if self.x[t].shape[1] == 1 else torch.addmm
        multiply(total, self.x[t], self.weight[t], out=out)

    def units(self, total: Tensor, t: int, out: Tensor) -> None:
        """out = h_t, given a_t."""
        if self.scale is not None:
            total = torch.mul(total, self.scale[t], out=out)
        if self.rectified:
            torch.clamp(total, min=0, out=out)
        else:
            torch.sigmoid(total, out=out)

    def slope(self, d_units: Tensor, units: Tensor) -> None:
        """The gradient of the input of f, given that of its output, in place, and h_t."""
        if self.rectified:
            torch.ops.aten.threshold_backward.grad_input(d_units, units, 0, grad_input=d_units)
        else:
            torch.ops.aten.sigmoid_backward.grad_input(d_units, units, grad_input=d_units)


class RunningUnits(torch.autograd.Function):
    """Readouts o (T, B, P) of hidden units on running pre-activations, and the last pre-activations (B, H).

    With a_0 given and a_t+1 = a_t + x_t W_t for t = 0 ... T-2,

        h_t = f(r_t a_t),   o_t = V_t h_t,

    f the sigmoid or relu. The T B H numbers h are never in memory at once: a_t is saved every BLOCK positions, and the
    backward pass recomputes h block by block in reverse order (gradient checkpointing). The working set of a few B H
    numbers stays in the processor's cache. Letters: B batch, T positions, E inputs, H hidden units, P parameters. The
    arguments are those of `running_units`.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, x: Tensor, weight: Tensor, readout: Tensor, scale: Tensor | None, rectified: bool
    ) -> tuple[Tensor, Tensor]:
        """Position by position; a_t at the beginning of each block is saved."""
        network = _network(rectified, x, weight, readout, scale)
        rows, checkpoints = first.new_empty(len(readout), len(first), readout.shape[1]), []
        total, units = first.clone(memory_format=torch.contiguous_format), torch.empty_like(first)
        for t, row in enumerate(rows.unbind()):
            if t % BLOCK == 0:
                checkpoints.append(total.clone())
            network.units(total, t, units)
            torch.mm(units, network.readout[t].t(), out=row)
            if t < len(x):
                network.add(total, t, total)
        ctx.rectified = rectified
        ctx.save_for_backward(x, weight, readout, scale, *checkpoints)
        return rows, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor, d_total: Tensor) -> tuple[Tensor | None, ...]:
        """Block by block, in reverse order."""
        x, weight, readout, scale, *checkpoints = ctx.saved_tensors
        network = _network(ctx.rectified, x, weight, readout, scale)
        gradients = [
            torch.empty_like(tensor) if needed else None
            for tensor, needed in zip((x, weight, readout, scale), ctx.needs_input_grad[1:5], strict=True)
        ]
        gradient = Gradient(network, *_parts(*gradients))
        d_next = d_total.clone(memory_format=torch.contiguous_format)
        sums = d_next.new_empty(BLOCK, *d_next.shape).unbind()
        work = torch.empty_like(d_next), torch.empty_like(d_next)
        for block, start in reversed(list(enumerate(checkpoints))):
            begin, end = block * BLOCK, min(len(readout), (block + 1) * BLOCK)
            sums[0].copy_(start)
            for t in range(begin, end - 1):
                network.add(sums[t - begin], t, sums[t - begin + 1])
            for t in reversed(range(begin, end)):
                gradient.position(t, sums[t - begin], d_rows[t], d_next, *work)
        return d_next, *gradients, None


class Gradient(NamedTuple):
    """The gradients of x, W, V and r, None where they are not needed."""

    network: Network
    x: Positions | None
    weight: Positions | None
    readout: Positions | None
    scale: Positions | None

    def position(self, t: int, total: Tensor, d_row: Tensor, d_next: Tensor, units: Tensor, d_total: Tensor) -> None:
        """Compute those of position t; `d_next`, the gradient of a_t+1, becomes that of a_t. The rest are buffers."""
        x, weight, readout, scale, _ = self.network
        if t < len(x):  # a_t+1 = a_t + x_t W_t
            if self.weight is not None:
                torch.mm(x[t].t(), d_next, out=self.weight[t])
            if self.x is not None:
                torch.mm(d_next, weight[t].t(), out=self.x[t])
        self.network.units(total, t, units)
        if self.readout is not None:
            torch.mm(d_row.t(), units, out=self.readout[t])
        torch.mm(d_row, readout[t], out=d_total)
        self.network.slope(d_total, units)
        if scale is not None:
            if self.scale is not None:
                self.scale[t].copy_((d_total * total).sum())
            d_total.mul_(scale[t])
        d_next.add_(d_total)


def _network(rectified: bool, *tensors: Tensor | None) -> Network:
    x, weight, readout, scale = _parts(*tensors)
    return Network(x, weight, readout, scale, rectified)


def _parts(*tensors: Tensor | None) -> list[Any]:
    return [None if tensor is None else tensor.unbind() for tensor in tensors]


def running_units(
    first: Tensor, x: Tensor, weight: Tensor, readout: Tensor, scale: Tensor | None = None, rectified: bool = False
) -> tuple[Tensor, Tensor]:
    """`RunningUnits` for a_0 (B, H), x (T-1, B, E), W (T-1, E, H), V (T, P, H), and r (T, 1, 1) or None for 1."""
    rows_and_total: tuple[Tensor, Tensor] = RunningUnits.apply(first, x, weight, readout, scale, rectified)  # type: ignore[no-untyped-call]
    return rows_and_total
