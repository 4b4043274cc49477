"""The Row LSTM."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.masked import ChannelLinear, kernel_radius
from seqgen.nn.raster import (
    PixelCache,
    RowCache,
    Stack,
    add_left_context,
    features_first,
    features_last,
    lstm,
    matmul,
    stack_row,
)
from seqgen.nn.wavefront import Front, Link, wavefront


class RowLSTM(Stack):
    """Convolutional LSTMs from the top row to the bottom one (van den Oord et al. 2016, arXiv:1601.06759).

    With row i of the features x, hidden states h and cells c of U = S / 2 units a pixel, and K_is masked (type B),

        gates = K_is * x_i + K_ss * h_i-1 + l,   c_i, h_i = lstm(gates, c_i-1),   x' = x + W_u h.

    Both kernels have size k; h and c are 0 above the first row. The receptive field of a layer is a triangle that grows
    by k // 2 pixels on both sides with every row above, and k // 2 pixels of the current row.
    """

    def __init__(self, layers: int, channels: int, features: int, kernel: int, labels: Sequence[int]) -> None:
        self.units = features // 2
        super().__init__(layers, 4 * self.units, labels)
        self.radius = kernel_radius(kernel)
        self.left = nn.Parameter(torch.randn(layers, self.radius * features, 4 * self.units))
        self.own = ChannelLinear(layers, channels, features, self.units, parts=4, bias=False)
        for weight in (self.left, self.own.weight):
            weight.data.mul_(((self.radius + 1) * features) ** -0.5 / (1 if weight is self.left else features**-0.5))
        scale = (kernel * self.units) ** -0.5
        self.above = nn.Parameter(scale * torch.randn(layers, 4 * self.units, self.units, kernel))
        self.up = ChannelLinear(layers, channels, self.units, features)
        self.up.weight.data.mul_(layers**-0.5)
        self.bias.data[:, self.units : 2 * self.units] = 1.0  # forget gates

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) of the last layer."""
        batch, count, width, _ = h.shape
        h, fronts = features_first(h), row_fronts(count, width, self.radius)
        biases = self.biases(context, batch).mT.unsqueeze(2)  # (L, 4 U, 1, B)
        own = torch.cat([self.left, self.own.matrices], 1)
        # The centre tap first: link 0 of a front also carries the cells, which come from the pixel right above.
        taps = sorted(range(2 * self.radius + 1), key=lambda tap: tap != self.radius)
        above, up = self.above[..., taps].permute(3, 0, 1, 2).unsqueeze(1), self.up.matrices
        assert self.up.bias is not None  # always set here
        for layer in self.layers:
            lines = h.view(-1, count, width, batch)
            left = [F.pad(lines, (0, 0, tap, 0))[:, :, :width].flatten(1, 2) for tap in range(self.radius, 0, -1)]
            gates = matmul(own[layer], torch.cat([*left, h])) + biases[layer]
            (hidden,) = wavefront(gates.unsqueeze(0), above[:, :, layer], fronts)
            h = h + matmul(up[layer], hidden) + self.up.bias[layer, :, None, None]
        return features_last(h, width)

    def first_row(self, batch: int, width: int, context: Context | None) -> RowCache:
        """The state above the first row: hidden states and cells are zero."""
        bias = self.biases(context, batch)
        cells = bias.new_zeros(width, *bias.shape[:2], self.units)
        return RowCache((bias.expand(width, -1, -1, -1), cells), (), (self.own.matrices, self.up.matrices), bias)

    def next_row(self, rows: RowCache, cached: Sequence[PixelCache], inputs: Tensor) -> RowCache:
        """The convolutions of all layers over the hidden states above, as one grouped convolution; the cells above."""
        hidden = stack_row(cached, 1).permute(2, 1, 3, 0).flatten(1, 2)  # (B, L U, W)
        out = F.conv1d(hidden, self.above.flatten(0, 1), padding=self.radius, groups=len(self.layers))
        gates = out.view(len(out), len(self.layers), -1, out.shape[2]).permute(3, 1, 0, 2) + rows.bias
        return rows._replace(above=(gates.contiguous(), stack_row(cached, 2)))

    def pixel(self, h: Tensor, rows: RowCache, cached: Sequence[PixelCache]) -> tuple[Tensor, PixelCache]:
        """Features (B, S) of a pixel, and its cache: layer inputs (L, B, S), hidden states and cells (L, B, U)."""
        gates = add_left_context(cached, rows.above[0][len(cached)], self.left, self.radius).unbind()
        caches: list[PixelCache] = []
        bias, before = self.up.bias, rows.above[1][len(cached)].unbind()
        assert bias is not None  # always set here
        for layer, (w_own, w_up) in enumerate(zip(*(weight.unbind() for weight in rows.weights), strict=True)):
            hidden, cell = lstm(torch.addmm(gates[layer], h, w_own), before[layer])
            caches.append((h, hidden, cell))
            h = torch.addmm(h + bias[layer], hidden, w_up)
        return h, tuple(torch.stack(parts) for parts in zip(*caches, strict=True))


@cache
def row_fronts(count: int, width: int, radius: int) -> tuple[Front, ...]:
    """The rows as fronts of pixels in raster order, linked to the row above: straight up first, then left to right."""
    shifts = sorted(range(-radius, radius + 1), key=lambda shift: shift != 0)

    def link(row: int, weight: int, shift: int) -> Link:
        to, source = row * width + max(0, -shift), (row - 1) * width + max(0, shift)
        return Link(weight, to, source, width - abs(shift))

    return tuple(
        Front(
            row * width,
            (row + 1) * width,
            tuple(link(row, weight, shift) for weight, shift in enumerate(shifts) if row and abs(shift) < width),
        )
        for row in range(count)
    )
