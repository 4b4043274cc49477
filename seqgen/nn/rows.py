"""The Row LSTM."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.masked import ChannelLinear, reach
from seqgen.nn.raster import Kept, Rows, Stack, columns, features_first, features_last, lstm, past, product
from seqgen.nn.wavefront import Front, Link, wavefront


class RowLSTM(Stack):
    """LSTMs that run over an image from top to bottom, a row at a time (van den Oord et al. 2016, arXiv:1601.06759).

    With row i of the features x, hidden states h and cells c of U = S / 2 numbers a pixel, and K_is of type B,

        gates = K_is * x_i + K_ss * h_i-1 + l,   c_i, h_i = lstm(gates, c_i-1),   x' = x + W_u h.

    Both kernels are k wide; above the first row stand zeros. A pixel sees of the rows above a triangle that grows by
    k // 2 pixels a row, and of its own row k // 2 pixels a layer.
    """

    def __init__(self, layers: int, channels: int, features: int, kernel: int, labels: Sequence[int]) -> None:
        self.units = features // 2
        super().__init__(layers, 4 * self.units, labels)
        self.reach = reach(kernel)
        self.left = nn.Parameter(torch.randn(layers, self.reach * features, 4 * self.units))
        self.own = ChannelLinear(layers, channels, features, self.units, parts=4, bias=False)
        for weight in (self.left, self.own.weight):
            weight.data.mul_(((self.reach + 1) * features) ** -0.5 / (1 if weight is self.left else features**-0.5))
        scale = (kernel * self.units) ** -0.5
        self.above = nn.Parameter(scale * torch.randn(layers, 4 * self.units, self.units, kernel))
        self.up = ChannelLinear(layers, channels, self.units, features)
        self.up.weight.data.mul_(layers**-0.5)
        self.bias.data[:, self.units : 2 * self.units] = 1.0  # of the forget gates

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) behind the last layer."""
        batch, count, width, _ = h.shape
        h, fronts = features_first(h), row_fronts(count, width, self.reach)
        biases = self.biases(context, batch).mT.unsqueeze(2)  # (L, 4 U, 1, B)
        own = torch.cat([self.left, self.own.matrices], 1)
        taps = sorted(
            range(2 * self.reach + 1), key=lambda tap: tap != self.reach
        )  # the cells come straight from above
        above, up = self.above[..., taps].permute(3, 0, 1, 2).unsqueeze(1), self.up.matrices
        assert self.up.bias is not None  # as it was made
        for layer in self.layers:
            lines = h.view(-1, count, width, batch)
            past = [F.pad(lines, (0, 0, tap, 0))[:, :, :width].flatten(1, 2) for tap in range(self.reach, 0, -1)]
            given = product(own[layer], torch.cat([*past, h])) + biases[layer]
            (hidden,) = wavefront(given.unsqueeze(0), above[:, :, layer], fronts)
            h = h + product(up[layer], hidden) + self.up.bias[layer, :, None, None]
        return features_last(h, width)

    def first(self, batch: int, width: int, context: Context | None) -> Rows:
        """Hidden states and cells above the first row are 0; the rows remember nothing else."""
        bias = self.biases(context, batch)
        cells = bias.new_zeros(width, *bias.shape[:2], self.units)
        return Rows((bias.expand(width, -1, -1, -1), cells), (), (self.own.matrices, self.up.matrices), bias)

    def next(self, rows: Rows, kept: Sequence[Kept], inputs: Tensor) -> Rows:
        """All layers' convolutions of the hidden states above at once; their cells."""
        hidden = columns(kept, 1).permute(2, 1, 3, 0).flatten(1, 2)  # (B, L U, W)
        found = F.conv1d(hidden, self.above.flatten(0, 1), padding=self.reach, groups=len(self.layers))
        gates = found.view(len(found), len(self.layers), -1, found.shape[2]).permute(3, 1, 0, 2) + rows.bias
        return rows._replace(above=(gates.contiguous(), columns(kept, 2)))

    def pixel(self, h: Tensor, rows: Rows, kept: Sequence[Kept]) -> tuple[Tensor, Kept]:
        """Features (B, S) of a pixel; those (L, B, S) that enter the layers, hidden states and cells (L, B, U)."""
        gates = past(kept, rows.above[0][len(kept)], self.left, self.reach).unbind()
        found: list[Kept] = []
        bias, before = self.up.bias, rows.above[1][len(kept)].unbind()
        assert bias is not None  # as it was made
        for layer, (w_own, w_up) in enumerate(zip(*(weight.unbind() for weight in rows.weights), strict=True)):
            hidden, cell = lstm(torch.addmm(gates[layer], h, w_own), before[layer])
            found.append((h, hidden, cell))
            h = torch.addmm(h + bias[layer], hidden, w_up)
        return h, tuple(torch.stack(parts) for parts in zip(*found, strict=True))


@cache
def row_fronts(count: int, width: int, reach: int) -> tuple[Front, ...]:
    """Fronts of pixels in raster order, linked to those above them: 0 straight, then from left to right."""
    shifts = sorted(range(-reach, reach + 1), key=lambda shift: shift != 0)

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
