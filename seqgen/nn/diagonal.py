"""The Diagonal BiLSTM."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.masked import ChannelLinear
from seqgen.nn.raster import Kept, Rows, Stack, columns, features_first, features_last, lstm, product
from seqgen.nn.wavefront import Front, Link, wavefront


class DiagonalBiLSTM(Stack):
    """LSTMs that run over an image along its diagonals, from both upper corners (van den Oord et al. 2016).

    From the left, with features x, hidden states h and cells c of U = S / 2 numbers a pixel, and W_is of type B,

        gates = W_is x_i,j + W_b h_i,j-1 + W_a h_i-1,j + l,   c_i,j, h_i,j = lstm(gates, c_i,j-1);

    from the right the same with j + 1. That from the right is shifted down by one row, so that no pixel sees what lies
    right of it; W_u times the sum of both is added to x. A pixel sees all that is above or left of it (section 3.2 of
    arXiv:1601.06759). Beyond the image stand zeros.

    Deviation: the gates from the right get W_in times the pixel's own inputs, too, which the shift allows. Without
    them no features of a row hold its last pixel, and most of the row below would not see it.

    Of parameters of both directions those from the left come first.
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
        self.bias.data.view(layers, 2, 4, self.units)[:, :, 1] = 1.0  # of the forget gates

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) behind the last layer."""
        batch, count, width, _ = h.shape
        ways = diagonals(count, width, h.device)
        h, inputs = (features_first(x).index_select(1, ways.order) for x in (h, inputs))
        biases = self.biases(context, batch).view(len(self.bias), batch, 2, -1).permute(0, 2, 3, 1).unsqueeze(3)
        weights = torch.stack([self.beside, self.above]).mT  # (2, 2, L, 4 U, U)
        own_left, own_right, up = self.own_left.matrices, self.own_right.matrices, self.up.matrices
        assert self.up.bias is not None  # as it was made
        for layer in self.layers:
            left = product(own_left[layer], h)
            right = product(own_right[layer], h) + product(self.entry[layer], inputs)
            given = torch.stack([left, right.index_select(1, ways.mirror)]) + biases[layer]
            left, right = wavefront(given, weights[:, :, layer], ways.fronts)
            right = F.pad(right, (0, 0, 0, 1)).index_select(1, ways.above)
            h = h + product(up[layer], left + right) + self.up.bias[layer, :, None, None]
        return features_last(h.index_select(1, ways.order.argsort()), width)

    def first(self, batch: int, width: int, context: Context | None) -> Rows:
        """Hidden states above the first row are 0; those from the right (W, L, B, U) are remembered."""
        bias = self.biases(context, batch)
        nothing = bias.new_zeros(width, *bias.shape[:2], self.units)
        weights = (self.own_left.matrices, self.own_right.matrices, self.up.matrices)
        return Rows((bias.chunk(2, -1)[0].expand(width, -1, -1, -1), nothing), (nothing,), weights, bias)

    def next(self, rows: Rows, kept: Sequence[Kept], inputs: Tensor) -> Rows:
        """One row from the right, all layers at once; what both directions give to the row below."""
        bias_left, bias_right = rows.bias.chunk(2, -1)
        given = columns(kept, 0).matmul(rows.weights[1]) + bias_right  # (W, L, B, 4 U)
        given = given + rows.memory[0].matmul(self.above[1])
        given = given + inputs[:, -1].transpose(0, 1).unsqueeze(1).matmul(self.entry)
        hidden = cell = given.new_zeros(*given.shape[1:3], self.units)
        found = []
        for gates in reversed(given.unbind()):
            hidden, cell = lstm(torch.baddbmm(gates, hidden, self.beside[1]), cell)
            found.append(hidden)
        right = torch.stack(found[::-1])
        above = columns(kept, 1).matmul(self.above[0]) + bias_left
        return rows._replace(above=(above, right), memory=(right,))

    def pixel(self, h: Tensor, rows: Rows, kept: Sequence[Kept]) -> tuple[Tensor, Kept]:
        """Features (B, S) of a pixel; those (L, B, S) that enter the layers, hidden states and cells (L, B, U)."""
        gates, right = (part[len(kept)] for part in rows.above)
        if kept:
            gates = torch.baddbmm(gates, kept[-1][1], self.beside[0])
        before = kept[-1][2] if kept else torch.zeros_like(right)
        found: list[Kept] = []
        bias = self.up.bias
        assert bias is not None  # as it was made
        for layer in self.layers:
            hidden, cell = lstm(torch.addmm(gates[layer], h, rows.weights[0][layer]), before[layer])
            found.append((h, hidden, cell))
            h = torch.addmm(h + bias[layer], hidden + right[layer], rows.weights[2][layer])
        return h, tuple(torch.stack(parts) for parts in zip(*found, strict=True))


class Diagonals(NamedTuple):
    """The pixels of n rows in the order of the diagonals, those of a diagonal from top to bottom.

    By place in that order: `order` is the pixel's number in raster order, `mirror` the place of the pixel that is as
    far from the right as this one from the left, `above` the mirrored place of the pixel above, n W in the first row.
    The fronts are the diagonals; link 0 is to the pixel on the left, link 1 to that above.
    """

    order: Tensor
    mirror: Tensor
    above: Tensor
    fronts: tuple[Front, ...]


@cache
@torch.inference_mode(False)  # else a score would leave tensors that no training can use
def diagonals(count: int, width: int, device: torch.device) -> Diagonals:
    """Those of `count` rows."""
    pixels = sorted(((row, column) for row in range(count) for column in range(width)), key=lambda pixel: sum(pixel))
    places = {pixel: place for place, pixel in enumerate(pixels)}
    mirrored = {pixel: places[pixel[0], width - 1 - pixel[1]] for pixel in pixels}
    order = [row * width + column for row, column in pixels]
    above = [mirrored.get((row - 1, column), len(pixels)) for row, column in pixels]
    fronts = tuple(_front(number, places, count, width) for number in range(count + width - 1))
    mirror = torch.tensor([*mirrored.values()], device=device)
    return Diagonals(torch.tensor(order, device=device), mirror, torch.tensor(above, device=device), fronts)


def _front(number: int, places: dict[tuple[int, int], int], count: int, width: int) -> Front:
    """Rows top ... bottom - 1 of diagonal `number`; those from `top` on have a pixel on the left, but for column 0."""
    top, bottom = max(0, number - width + 1), min(count, number + 1)
    start = places[top, number - top]
    left = range(top, min(bottom, number))  # rows with a pixel on their left
    below = range(max(top, 1), bottom)  # rows with a pixel above
    links = [
        Link(0, start, places[top, number - 1 - top], len(left)) if left else None,
        Link(1, start + below[0] - top, places[below[0] - 1, number - below[0]], len(below)) if below else None,
    ]
    return Front(start, start + bottom - top, tuple(link for link in links if link is not None))
