"""Masked linear layers and convolutions of images: causal in raster order, then in the order of channels.

Letters: B batch, n rows, W columns, C channels, L layers, S features of a pixel in C groups of equal size, one for each
channel. Images are (B, n, W, features), so that linear layers need no transposition.
"""

from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Axes


class ChannelLinear(nn.Module):
    """L linear layers on the features of a pixel, with masks of type B or A over channels.

    Masks of van den Oord et al. 2016 (arXiv:1601.06759): group c of the outputs depends on groups c' <= c of the inputs
    (B), or c' < c (A). The outputs are concatenated `parts`, such as the gates of a cell, of C groups each.

    Args:
        layers: L.
        channels: C.
        inputs: Input features, a multiple of C.
        outputs: Output features of each part, a multiple of C.
        parts: The number of parts.
        strict: Whether masks are of type A.
        bias: Whether the layers have biases.
    """

    mask: Tensor | None
    input_axes: Axes = MappingProxyType({"weight": 1})

    def __init__(
        self, layers: int, channels: int, inputs: int, outputs: int, parts: int = 1, strict: bool = False,
        bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if inputs % channels or outputs % channels:
            raise SeqgenError(
                f"got {inputs} input and {outputs} output features, expected multiples of the {channels} channels"
            )
        group_in = torch.arange(channels).repeat_interleave(inputs // channels).unsqueeze(1)
        group_out = torch.arange(channels).repeat_interleave(outputs // channels).repeat(parts)
        mask = group_in < group_out if strict else group_in <= group_out
        # Not persistent: a function of the arguments. In float, since a product with bool is slow.
        self.register_buffer("mask", None if bool(mask.all()) else mask.to(torch.get_default_dtype()), persistent=False)
        self.weight = nn.Parameter(torch.randn(layers, inputs, parts * outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(layers, parts * outputs)) if bias else None

    @property
    def matrices(self) -> Tensor:
        """The masked weights (L, inputs, parts * outputs)."""
        return self.weight if self.mask is None else self.weight * self.mask

    def forward(self, x: Tensor, layer: int = 0) -> Tensor:
        """(..., parts * outputs) from (..., inputs), by layer number `layer`."""
        weight = self.weight[layer] if self.mask is None else self.weight[layer] * self.mask
        return F.linear(x, weight.t(), None if self.bias is None else self.bias[layer])


class FirstConvolution(nn.Module):
    """The first layer: a k x k convolution with a mask of type A.

    A pixel depends on pixels above and to the left, and channel c of its features on earlier channels of its own.
    Inputs (B, n, W, I) are for each pixel the C embedded symbols and a constant one, by which pixels differ from zero
    padding.

    Args:
        channels: C.
        width: Width of an embedded symbol.
        features: S, output features of a pixel.
        kernel: k, the kernel size, odd; the kernel covers k // 2 rows above.
    """

    input_axes: Axes = MappingProxyType({"above": (1, 2, 3), "left": 0})

    def __init__(self, channels: int, width: int, features: int, kernel: int) -> None:
        super().__init__()
        self.radius, inputs = kernel_radius(kernel), channels * width + 1
        scale = (inputs * kernel * (self.radius + 0.5)) ** -0.5
        self.above = nn.Parameter(scale * torch.randn(features, inputs, self.radius, kernel))
        self.left = nn.Parameter(scale * torch.randn(self.radius * inputs, features))  # the leftmost first
        self.bias = nn.Parameter(torch.zeros(features))
        self.own = None
        if channels > 1:
            self.own = ChannelLinear(1, channels, channels * width, features, strict=True, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features (B, n, W, S) of inputs (B, n, W, I)."""
        own = self.left.new_zeros(inputs.shape[-1], self.left.shape[1])
        if self.own is not None:
            own = F.pad(self.own.matrices[0], (0, 0, 0, 1))
        kernel = torch.cat([self.above, row_kernel(self.left, own, self.radius)], 2)
        return convolve(inputs, kernel, self.radius, self.radius) + self.bias

    def row(self, inputs: Tensor) -> Tensor:
        """The contribution (W, B, S) of the last rows of inputs (B, k // 2, W, I) to the next row, with the bias."""
        return convolve(inputs, self.above, 0, self.radius)[:, 0].transpose(0, 1) + self.bias

    def pixel(self, above: Tensor, left: tuple[Tensor, ...], own: Tensor) -> Tensor:
        """Features (B, S) of a pixel: `above` plus those of inputs (B, I) to its left and its own symbols (B, C E)."""
        if self.own is not None:
            above = torch.addmm(above, own, self.own.matrices[0])
        if not left:
            return above
        past = torch.cat(left[-self.radius :], 1)
        return torch.addmm(above, past, self.left[-past.shape[1] :])


def kernel_radius(kernel: int) -> int:
    """`kernel // 2`. Raises SeqgenError for even kernel sizes and for sizes below 3."""
    if kernel < 3 or kernel % 2 == 0:
        raise SeqgenError(f"the kernel size is {kernel}, expected an odd number of 3 or more")
    return kernel // 2


def row_kernel(left: Tensor, own: Tensor, right: int = 0) -> Tensor:
    """The kernel (O, I, 1, r + 1 + right) of a row: r taps (r I, O) left, the own one (I, O), then zeros."""
    taps = torch.cat([left, own]).view(-1, *own.shape)  # (r + 1, I, O)
    return F.pad(taps.permute(2, 1, 0).unsqueeze(2), (0, right))


def convolve(x: Tensor, kernel: Tensor, up: int, left: int) -> Tensor:
    """Convolution (cross-correlation) of images (B, n, W, I) with a kernel (O, I, h, w), zero-padded above and beside.

    `up` and `left` are the rows and columns of padding above and on the left; that on the right keeps the width.
    """
    right = kernel.shape[3] - 1 - left
    return F.conv2d(F.pad(x.permute(0, 3, 1, 2), (left, right, up, 0)), kernel).permute(0, 2, 3, 1)
