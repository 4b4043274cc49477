"""Products and convolutions that see of a pixel only what comes before: rows above, columns left, earlier channels.

Letters: B batch, n rows, W columns, C channels, L layers; the features of a pixel are C groups of equal size, one a
channel. Images are (B, n, W, features), so that a product with a matrix needs no turning.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError


class ChannelLinear(nn.Module):
    """L products of a pixel's features with matrices (inputs, outputs), each masked as of type B, or A.

    Masks of van den Oord et al. 2016 (arXiv:1601.06759): group c of the outputs sees the groups c' <= c of the inputs
    (B), or c' < c (A). The outputs come in `parts`, such as the gates of a cell, each of which has all groups.

    Args:
        layers: L.
        channels: C.
        inputs: Features of a pixel on the way in, a multiple of C.
        outputs: Those of each part.
        parts: How many.
        strict: Whether the mask is of type A.
        bias: Whether something is added.
    """

    mask: Tensor | None

    def __init__(
        self, layers: int, channels: int, inputs: int, outputs: int, parts: int = 1, strict: bool = False,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if inputs % channels or outputs % channels:
            raise SeqgenError(f"{inputs} and {outputs} features of {channels} channels: expected multiples of them")
        source = torch.arange(channels).repeat_interleave(inputs // channels).unsqueeze(1)
        target = torch.arange(channels).repeat_interleave(outputs // channels).repeat(parts)
        seen = source < target if strict else source <= target
        # Not saved: the arguments say it all. Never multiplied into the weights in place. A product with bools is slow.
        mask = None if bool(seen.all()) else seen.to(torch.get_default_dtype())
        self.register_buffer("mask", mask, persistent=False)
        self.weight = nn.Parameter(torch.randn(layers, inputs, parts * outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(layers, parts * outputs)) if bias else None

    @property
    def matrices(self) -> Tensor:
        """The masked weights (L, inputs, parts outputs)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor, layer: int = 0) -> Tensor:
        """(..., parts outputs) from (..., inputs)."""
        weight = self.weight[layer] if self.mask is None else self.weight[layer] * self.mask
        return F.linear(x, weight.t(), None if self.bias is None else self.bias[layer])


class FirstConvolution(nn.Module):
    """The convolution of type A that an image enters by: a pixel sees those above and left of it, and earlier channels.

    The inputs (B, n, W, I) hold for each pixel the symbols of C channels, embedded, and behind them a one, which tells
    a pixel of the image from the zeros around it.

    Args:
        channels: C.
        width: Numbers of an embedded symbol.
        features: S, of a pixel on the way out.
        kernel: k, odd: columns seen, and twice the rows above.
    """

    def __init__(self, channels: int, width: int, features: int, kernel: int) -> None:
        super().__init__()
        self.reach, inputs = reach(kernel), channels * width + 1
        scale = (inputs * kernel * (self.reach + 0.5)) ** -0.5
        self.above = nn.Parameter(scale * torch.randn(features, inputs, self.reach, kernel))
        self.left = nn.Parameter(scale * torch.randn(self.reach * inputs, features))  # the farthest first
        self.bias = nn.Parameter(torch.zeros(features))
        self.own = None
        if channels > 1:
            self.own = ChannelLinear(1, channels, channels * width, features, strict=True, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, n, W, S)."""
        own = self.left.new_zeros(inputs.shape[-1], self.left.shape[1])
        if self.own is not None:
            own = F.pad(self.own.matrices[0], (0, 0, 0, 1))
        kernel = torch.cat([self.above, across(self.left, own, self.reach)], 2)
        return convolve(inputs, kernel, self.reach, self.reach) + self.bias

    def row(self, inputs: Tensor) -> Tensor:
        """What the last rows (B, k // 2, W, I) give to the pixels of the next one: (W, B, S)."""
        return convolve(inputs, self.above, 0, self.reach)[:, 0].transpose(0, 1) + self.bias

    def pixel(self, above: Tensor, left: tuple[Tensor, ...], own: Tensor) -> Tensor:
        """Features (B, S) of a pixel from those above it, from inputs (B, I) left of it, and its own symbols."""
        if self.own is not None:
            above = torch.addmm(above, own, self.own.matrices[0])
        if not left:
            return above
        past = torch.cat(left[-self.reach :], 1)
        return torch.addmm(above, past, self.left[-past.shape[1] :])


def reach(kernel: int) -> int:
    """How far an odd kernel reaches to either side. Raises SeqgenError for others."""
    if kernel < 3 or kernel % 2 == 0:
        raise SeqgenError(f"a kernel is {kernel}, expected an odd number of 3 or more")
    return kernel // 2


def across(left: Tensor, own: Tensor, right: int = 0) -> Tensor:
    """The kernel (O, I, 1, taps) of a row from matrices (r I, O) and (I, O), with zeros for what lies right."""
    taps = torch.cat([left, own]).view(-1, *own.shape)  # (r + 1, I, O)
    return F.pad(taps.permute(2, 1, 0).unsqueeze(2), (0, right))


def convolve(x: Tensor, kernel: Tensor, up: int, left: int) -> Tensor:
    """The correlation of images (B, n, W, I) with a kernel (O, I, h, w), with zeros above and on both sides."""
    right = kernel.shape[3] - 1 - left
    return F.conv2d(F.pad(x.permute(0, 3, 1, 2), (left, right, up, 0)), kernel).permute(0, 2, 3, 1)
