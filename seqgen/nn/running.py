"""Hidden units on a running sum of inputs, in memory that does not grow with the number of positions."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1 << 19
"""Hidden units that are held at once: two megabytes in float32, which a processor's cache holds."""


class RunningUnits(torch.autograd.Function):
    """Readouts (T, B, P) of hidden units on running sums, and the last sum (B, H).

    With a_0 given and a_t+1 = a_t + x_t W_t for t = 0 ... T-2,

        h_t = f(r_t a_t),   o_t = V_t h_t,

    f the sigmoid or the rectifier. All h together are T B H numbers, and are never held at once: blocks of positions
    are computed one after the other, and computed again for the gradient, each from the sum that it begins with.
    Letters: B batch, T positions, E inputs, H hidden units, P parameters.

    The arguments are those of `running_units`.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, x: Tensor, weight: Tensor, readout: Tensor, scale: Tensor | None, rectified: bool
    ) -> tuple[Tensor, Tensor]:
        """Blocks from the first to the last; the sum that each begins with is kept."""
        rows = first.new_empty(len(readout), len(first), readout.shape[1])
        blocks, total, starts = _blocks(len(readout), first), first, []
        for block in blocks:
            starts.append(total)
            sums = _sums(total, x[block], weight[block], min(block.stop, len(readout)) - block.start)
            total = sums[-1].clone()
            if len(x) >= block.stop:
                total.addmm_(x[block.stop - 1], weight[block.stop - 1])
            torch.bmm(_units(sums, scale, block, rectified), readout[block].mT, out=rows[block])
        ctx.blocks, ctx.rectified = blocks, rectified
        ctx.save_for_backward(x, weight, readout, scale, *starts)
        return rows, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor, d_total: Tensor) -> tuple[Tensor | None, ...]:
        """Blocks from the last to the first; `behind` is the gradient of all that comes behind a sum."""
        x, weight, readout, scale, *starts = ctx.saved_tensors
        d_x, d_weight, d_readout, d_scale = (
            torch.empty_like(tensor) if wanted else None
            for tensor, wanted in zip((x, weight, readout, scale), ctx.needs_input_grad[1:5], strict=True)
        )
        behind = d_total
        for block, start in zip(reversed(ctx.blocks), reversed(starts), strict=True):
            count = min(block.stop, len(readout)) - block.start
            sums = _sums(start, x[block], weight[block], count)
            units = _units(sums.clone() if scale is not None else sums, scale, block, ctx.rectified)
            if d_readout is not None:
                torch.bmm(d_rows[block].mT, units, out=d_readout[block])
            d_units = torch.bmm(d_rows[block], readout[block])
            d_sums = _slope(d_units, units, ctx.rectified)
            if scale is not None:
                if d_scale is not None:
                    torch.sum(d_sums * sums, (1, 2), keepdim=True, out=d_scale[block])
                d_sums = d_sums * scale[block]
            d_inputs, behind = _from_behind(d_sums, behind)
            d_inputs = d_inputs[: len(x[block])]
            if d_weight is not None:
                torch.bmm(x[block].mT, d_inputs, out=d_weight[block])
            if d_x is not None:
                torch.bmm(d_inputs, weight[block].mT, out=d_x[block])
        return behind, d_x, d_weight, d_readout, d_scale, None


def _blocks(length: int, first: Tensor) -> list[slice]:
    size = max(1, BLOCK // max(1, first.numel()))
    return [slice(begin, begin + size) for begin in range(0, length, size)]


def _sums(start: Tensor, x: Tensor, weight: Tensor, count: int) -> Tensor:
    """The sums (count, B, H) of a block that begins with `start`."""
    sums = start.new_empty(count, *start.shape)
    sums[0] = start
    for place in range(count - 1):
        torch.addmm(sums[place], x[place], weight[place], out=sums[place + 1])
    return sums


def _units(sums: Tensor, scale: Tensor | None, block: slice, rectified: bool) -> Tensor:
    """h (n, B, H) in the memory of the sums."""
    if scale is not None:
        sums.mul_(scale[block])
    return sums.relu_() if rectified else sums.sigmoid_()


def _slope(d_units: Tensor, units: Tensor, rectified: bool) -> Tensor:
    """The gradient before f, given that behind it and what it came to."""
    if rectified:
        before: Tensor = torch.ops.aten.threshold_backward(d_units, units, 0)
    else:
        before = torch.ops.aten.sigmoid_backward(d_units, units)
    return before


def _from_behind(d_sums: Tensor, behind: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients (n, B, H) of x_t W_t, which are in all sums behind t, and (B, H) of the block's first sum."""
    d_inputs = torch.empty_like(d_sums)
    d_inputs[-1] = behind
    for place in range(len(d_sums) - 1, 0, -1):
        torch.add(d_inputs[place], d_sums[place], out=d_inputs[place - 1])
    return d_inputs, d_inputs[0] + d_sums[0]


def running_units(
    first: Tensor, x: Tensor, weight: Tensor, readout: Tensor, scale: Tensor | None = None, rectified: bool = False
) -> tuple[Tensor, Tensor]:
    """RunningUnits for a_0 (B, H), x (T-1, B, E), W (T-1, E, H), V (T, P, H) and r (T, 1, 1), None for 1."""
    found: tuple[Tensor, Tensor] = RunningUnits.apply(first, x, weight, readout, scale, rectified)  # type: ignore[no-untyped-call]
    return found
