"""The Diagonal BiLSTM."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.masked import ChannelLinear
from seqgen.nn.raster import PixelCache, RowCache, Stack, features_first, features_last, lstm, matmul, stack_row
from seqgen.nn.wavefront import Front, Link, wavefront


class DiagonalBiLSTM(Stack):
    """Bidirectional LSTMs along the diagonals of an image (van den Oord et al. 2016, arXiv:1601.06759, section 3.2).

    The direction from the upper left corner, with features x, hidden states h and cells c of U = S / 2 units a pixel,
    and W_is with a mask of type B, is

        gates = W_is x_i,j + W_b h_i,j-1 + W_a h_i-1,j + l,   c_i,j, h_i,j = lstm(gates, c_i,j-1);

    that from the upper right corner has j + 1 for j - 1. The hidden states of the latter are shifted down by one row
    for causality; W_u times the sum of both directions is added to x. The receptive field is the whole left context in
    raster order. Hidden states and cells are 0 outside the image.

    Deviation: W_in times the pixel's own model inputs is added to the gates of the direction from the right, which the
    shift permits. Otherwise no features of a row would depend on its last pixel, nor would most of the next row.

    Parameters of both directions have that from the left first.
    """

    def __init__(self, layers: int, channels: int, features: int, labels: Sequence[int], inputs: int) -> None:
        self.units = features // 2
        super().__init__(layers, 2 * 4 * self.units, labels)
        self.own_left, self.own_right = (
            ChannelLinear(layers, channels, features, self.units, parts=4, bias=False) for _ in range(2)
        )
        self.entry = nn.Parameter(torch.randn(layers, inputs, 4 * self.units) / inputs**0.5)
        scale = (2 * self.units) ** -0.5
        self.beside = nn.Parameter(scale * torch.randn(2, layers, self.units, 4 * self.units))
        self.above = nn.Parameter(scale * torch.randn(2, layers, self.units, 4 * self.units))
        self.up = ChannelLinear(layers, channels, self.units, features)
        self.up.weight.data.mul_(layers**-0.5)
        self.bias.data.view(layers, 2, 4, self.units)[:, :, 1] = 1.0  # forget gates

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) of the last layer."""
        batch, count, width, _ = h.shape
        pixels = diagonals(count, width, h.device)
        h, inputs = (features_first(x).index_select(1, pixels.order) for x in (h, inputs))
        biases = self.biases(context, batch).view(len(self.bias), batch, 2, -1).permute(0, 2, 3, 1).unsqueeze(3)
        weights = torch.stack([self.beside, self.above]).mT  # (2, 2, L, 4 U, U)
        own_left, own_right, up = self.own_left.matrices, self.own_right.matrices, self.up.matrices
        assert self.up.bias is not None  # always set here
        for layer in self.layers:
            left = matmul(own_left[layer], h)
            right = matmul(own_right[layer], h) + matmul(self.entry[layer], inputs)
            gates = torch.stack([left, right.index_select(1, pixels.mirror)]) + biases[layer]
            left, right = wavefront(gates, weights[:, :, layer], pixels.fronts)
            right = F.pad(right, (0, 0, 0, 1)).index_select(1, pixels.above)
            h = h + matmul(up[layer], left + right) + self.up.bias[layer, :, None, None]
        return features_last(h.index_select(1, pixels.order.argsort()), width)

    def first_row(self, batch: int, width: int, context: Context | None) -> RowCache:
        """The state above the first row: hidden states are zero, those from the right being (W, L, B, U)."""
        bias = self.biases(context, batch)
        zeros = bias.new_zeros(width, *bias.shape[:2], self.units)
        weights = (self.own_left.matrices, self.own_right.matrices, self.up.matrices)
        return RowCache((bias.chunk(2, -1)[0].expand(width, -1, -1, -1), zeros), (zeros,), weights, bias)

    def next_row(self, rows: RowCache, cached: Sequence[PixelCache], inputs: Tensor) -> RowCache:
        """One row of the direction from the right, all layers at once, and the contributions to the next row."""
        bias_left, bias_right = rows.bias.chunk(2, -1)
        gates = stack_row(cached, 0).matmul(rows.weights[1]) + bias_right  # (W, L, B, 4 U)
        gates = gates + rows.history[0].matmul(self.above[1])
        gates = gates + inputs[:, -1].transpose(0, 1).unsqueeze(1).matmul(self.entry)
        hidden = cell = gates.new_zeros(*gates.shape[1:3], self.units)
        states = []
        for one in reversed(gates.unbind()):
            hidden, cell = lstm(torch.baddbmm(one, hidden, self.beside[1]), cell)
            states.append(hidden)
        right = torch.stack(states[::-1])
        above = stack_row(cached, 1).matmul(self.above[0]) + bias_left
        return rows._replace(above=(above, right), history=(right,))

    def pixel(self, h: Tensor, rows: RowCache, cached: Sequence[PixelCache]) -> tuple[Tensor, PixelCache]:
        """Features (B, S) of a pixel, and its cache: layer inputs (L, B, S), hidden states and cells (L, B, U)."""
        gates, right = (part[len(cached)] for part in rows.above)
        if cached:
            gates = torch.baddbmm(gates, cached[-1][1], self.beside[0])
        before = cached[-1][2] if cached else torch.zeros_like(right)
        caches: list[PixelCache] = []
        bias = self.up.bias
        assert bias is not None  # always set here
        for layer in self.layers:
            hidden, cell = lstm(torch.addmm(gates[layer], h, rows.weights[0][layer]), before[layer])
            caches.append((h, hidden, cell))
            h = torch.addmm(h + bias[layer], hidden + right[layer], rows.weights[2][layer])
        return h, tuple(torch.stack(parts) for parts in zip(*caches, strict=True))


class Diagonals(NamedTuple):
    """The pixels of n rows sorted by diagonal, and within a diagonal from top to bottom.

    For each position in that order, `order` is the index of the pixel in raster order, `mirror` the position of its
    horizontal mirror image, and `above` the position of the mirror image of the pixel above, n W in the first row. The
    fronts are the diagonals; link 0 is to the pixel on the left, link 1 to that above.
    """

    order: Tensor
    mirror: Tensor
    above: Tensor
    fronts: tuple[Front, ...]


@cache
@torch.inference_mode(False)  # cached, so not inference tensors, which training could not use
def diagonals(count: int, width: int, device: torch.device) -> Diagonals:
    """The diagonals of `count` rows of `width` pixels."""
    pixels = sorted(((row, column) for row in range(count) for column in range(width)), key=lambda pixel: sum(pixel))
    places = {pixel: place for place, pixel in enumerate(pixels)}
    mirrored = {pixel: places[pixel[0], width - 1 - pixel[1]] for pixel in pixels}
    order = [row * width + column for row, column in pixels]
    above = [mirrored.get((row - 1, column), len(pixels)) for row, column in pixels]
    fronts = tuple(_front(number, places, count, width) for number in range(count + width - 1))
    mirror = torch.tensor([*mirrored.values()], device=device)
    return Diagonals(torch.tensor(order, device=device), mirror, torch.tensor(above, device=device), fronts)


def _front(number: int, places: dict[tuple[int, int], int], count: int, width: int) -> Front:
    """Diagonal `number`: rows top ... bottom - 1, which have a pixel on the left except in column 0."""
    top, bottom = max(0, number - width + 1), min(count, number + 1)
    start = places[top, number - top]
    left = range(top, min(bottom, number))  # rows with a pixel on their left
    below = range(max(top, 1), bottom)  # rows with a pixel above
    links = [
        Link(0, start, places[top, number - 1 - top], len(left)) if left else None,
        Link(1, start + below[0] - top, places[below[0] - 1, number - below[0]], len(below)) if below else None,
    ]
    return Front(start, start + bottom - top, tuple(link for link in links if link is not None))
