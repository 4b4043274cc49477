"""The Diagonal BiLSTM."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.masked import ChannelLinear
from seqgen.nn.raster import Kept, Rows, Stack, columns, lstm


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
        biases = self.biases(context, len(h))[:, :, None, None].chunk(2, -1)
        for layer in self.layers:
            left = self.own_left(h, layer) + biases[0][layer]
            right = self.own_right(h, layer) + biases[1][layer] + inputs.matmul(self.entry[layer])
            left, right = self._scan(torch.stack([left, right.flip(2)]), layer)
            right = F.pad(right.flip(2)[:, :-1], (0, 0, 0, 0, 1, 0))
            h = h + self.up(left + right, layer)
        return h

    def _scan(self, given: Tensor, layer: int) -> Tensor:
        """Hidden states (2, B, n, W, U) of both directions from what the pixels give to the gates (2, B, n, W, 4 U)."""
        count, width = given.shape[2:4]
        beside, above = self.beside[:, layer, None], self.above[:, layer, None]
        hidden = cell = given.new_zeros(*given.shape[:3], self.units)
        found = []
        for place, gates in enumerate(skew(given).unbind(3)):
            over = F.pad(hidden[:, :, :-1], (0, 0, 1, 0))
            hidden, cell = lstm(gates + hidden.matmul(beside) + over.matmul(above), cell)
            if place < count - 1:  # rows that have not begun yet stand beyond the image
                begun = (torch.arange(count, device=given.device) <= place).unsqueeze(1)
                hidden, cell = hidden * begun, cell * begun
            found.append(hidden)
        return unskew(torch.stack(found, 3), width)

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


def skew(x: Tensor) -> Tensor:
    """Rows (..., n, W, F) each shifted to the right by one more than the one above: (..., n, W + n - 1, F).

    So a column of the result is a diagonal of the image. Places beyond the image are 0.
    """
    count, width = x.shape[-3:-1]
    flat = F.pad(x, (0, 0, 0, count)).flatten(-3, -2)
    flat = flat[..., : count * (width + count - 1), :]
    return flat.reshape(*x.shape[:-3], count, width + count - 1, x.shape[-1])


def unskew(x: Tensor, width: int) -> Tensor:
    """The inverse of `skew`, for rows of that width."""
    count = x.shape[-3]
    flat = F.pad(x.flatten(-3, -2), (0, 0, 0, count))
    return flat.view(*x.shape[:-3], count, width + count, x.shape[-1])[..., :width, :]
