"""Hidden units on a running sum of inputs, in memory that does not grow with the number of positions."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 1 << 18
"""Hidden units that are held at once: one megabyte in float32, which stays in a processor's cache."""


class Sums(NamedTuple):
    """a_0 (B, H) and what is added to it: x (T-1, B, E), W (T-1, E, H); they are scaled by r (T, 1, 1), None for 1."""

    first: Tensor
    x: Tensor
    weight: Tensor
    scale: Tensor | None

    def block(self, before: Tensor, positions: range) -> Tensor:
        """a_t (n, B, H) for n positions, given that before them."""
        sums = before.new_empty(len(positions), *before.shape)
        multiply = torch.addcmul if self.x.shape[2] == 1 else torch.addmm
        for place, t in enumerate(positions):
            if t:
                multiply(before, self.x[t - 1], self.weight[t - 1], out=sums[place])
            else:
                sums[place] = before
            before = sums[place]
        return sums

    def units(self, sums: Tensor, positions: range, rectified: bool) -> Tensor:
        """h_t (n, B, H), in the memory of the sums unless these are scaled."""
        if self.scale is not None:
            sums = sums * self.scale[positions.start : positions.stop]
        return sums.relu_() if rectified else sums.sigmoid_()


class RunningUnits(torch.autograd.Function):
    """Readouts (T, B, P) of hidden units on running sums, and the last sum (B, H).

    With a_0 given and a_t+1 = a_t + x_t W_t for t = 0 ... T-2,

        h_t = f(r_t a_t),   o_t = V_t h_t,

    f the sigmoid or the rectifier. All h together are T B H numbers, and are never held at once: blocks of positions
    are computed one after the other, and computed again for the gradient, each from the sum before it. Letters: B
    batch, T positions, E inputs, H hidden units, P parameters. The arguments are those of `running_units`.
    """

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, x: Tensor, weight: Tensor, readout: Tensor, scale: Tensor | None, rectified: bool
    ) -> tuple[Tensor, Tensor]:
        """Blocks from the first to the last; the sums before them are kept."""
        source, rows = Sums(first, x, weight, scale), first.new_empty(len(readout), len(first), readout.shape[1])
        blocks, before = _blocks(len(readout), first.numel()), [first]
        for block in blocks:
            sums = source.block(before[-1], block)
            before.append(sums[-1].clone())
            units = source.units(sums, block, rectified)
            torch.bmm(units, _part(readout, block).mT, out=_part(rows, block))
        ctx.blocks, ctx.rectified = blocks, rectified
        ctx.save_for_backward(x, weight, readout, scale, *before[:-1])
        return rows, before[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor, d_total: Tensor) -> tuple[Tensor | None, ...]:
        """Blocks from the last to the first; `behind` is the gradient of all that comes behind a sum."""
        x, weight, readout, scale, *before = ctx.saved_tensors
        source = Sums(before[0], x, weight, scale)
        found = [
            torch.empty_like(tensor) if wanted else None
            for tensor, wanted in zip((x, weight, readout, scale), ctx.needs_input_grad[1:5], strict=True)
        ]
        behind = d_total
        for block, start in zip(reversed(ctx.blocks), reversed(before), strict=True):
            behind = _backward(source, readout, ctx.rectified, block, start, _part(d_rows, block), behind, found)
        return behind, *found, None


def _backward(
    source: Sums,
    readout: Tensor,
    rectified: bool,
    block: range,
    start: Tensor,
    d_rows: Tensor,
    behind: Tensor,
    found: list[Tensor | None],
) -> Tensor:
    """Fill a block of the gradients of x, W, V and r; that of its first sum (B, H), with all behind it."""
    d_x, d_weight, d_readout, d_scale = found
    sums = source.block(start, block)
    units = source.units(sums, block, rectified)
    if d_readout is not None:
        torch.bmm(d_rows.mT, units, out=_part(d_readout, block))
    slope = torch.ops.aten.threshold_backward if rectified else torch.ops.aten.sigmoid_backward
    d_sums = torch.bmm(d_rows, _part(readout, block))
    d_sums = slope(d_sums, units, 0) if rectified else slope(d_sums, units)
    if source.scale is not None:
        if d_scale is not None:
            torch.sum(d_sums * sums, (1, 2), keepdim=True, out=_part(d_scale, block))
        d_sums *= _part(source.scale, block)
    for place in reversed(range(len(block))):  # a sum is in all that come behind it
        behind = d_sums[place].add_(behind)
    inputs = range(max(0, block.start - 1), block.stop - 1)  # the last input of position t is x_t-1
    d_inputs = d_sums[len(block) - len(inputs) :]
    if d_weight is not None:
        torch.bmm(_part(source.x, inputs).mT, d_inputs, out=_part(d_weight, inputs))
    if d_x is not None:
        torch.bmm(d_inputs, _part(source.weight, inputs).mT, out=_part(d_x, inputs))
    return behind


def _blocks(length: int, size: int) -> list[range]:
    step = max(1, BLOCK // max(1, size))
    return [range(begin, min(length, begin + step)) for begin in range(0, length, step)]


def _part(tensor: Tensor, positions: range) -> Tensor:
    return tensor[positions.start : positions.stop]


def running_units(
    first: Tensor, x: Tensor, weight: Tensor, readout: Tensor, scale: Tensor | None = None, rectified: bool = False
) -> tuple[Tensor, Tensor]:
    """RunningUnits for a_0 (B, H), x (T-1, B, E), W (T-1, E, H), V (T, P, H) and r (T, 1, 1), None for 1."""
    found: tuple[Tensor, Tensor] = RunningUnits.apply(first, x, weight, readout, scale, rectified)  # type: ignore[no-untyped-call]
    return found
