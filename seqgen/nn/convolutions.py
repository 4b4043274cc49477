"""Masked convolutions of images: those of PixelCNN, and the gated ones in two stacks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.cells import gated
from seqgen.nn.masked import ChannelLinear, across, convolve, reach
from seqgen.nn.raster import Kept, Rows, Stack, columns, past


class MaskedConvolutions(Stack):
    """The residual blocks of PixelCNN (van den Oord et al. 2016, arXiv:1601.06759, figure 5).

    `u = relu(W_d relu(h))`, `h' = h + W_u relu(K * u + l)`: U = S / 2 features inside, K a k x k kernel of type B, l
    what the labels add. A row sees of the one above it one pixel farther right at most, so all that lies right of a
    diagonal is never seen: the blind spot of the gated paper, which this network is known for.
    """

    def __init__(self, layers: int, channels: int, features: int, kernel: int, labels: Sequence[int]) -> None:
        inner = features // 2
        super().__init__(layers, inner, labels)
        self.reach = reach(kernel)
        scale = (inner * (kernel * self.reach + self.reach + 1)) ** -0.5
        self.down = ChannelLinear(layers, channels, features, inner)
        self.above = nn.Parameter(scale * torch.randn(layers, inner, inner, self.reach, kernel))
        self.left = nn.Parameter(scale * torch.randn(layers, self.reach * inner, inner))
        self.own = ChannelLinear(layers, channels, inner, inner, bias=False)
        self.up = ChannelLinear(layers, channels, inner, features)
        for product in (self.own, self.up):
            product.weight.data.mul_(scale * inner**0.5 if product is self.own else layers**-0.5)

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) behind the last layer."""
        biases, own = self.biases(context, len(h)), self.own.matrices
        for layer in self.layers:
            u = self.down(h.relu(), layer).relu()
            kernel = torch.cat([self.above[layer], across(self.left[layer], own[layer], self.reach)], 2)
            z = convolve(u, kernel, self.reach, self.reach) + biases[layer][:, None, None]
            h = h + self.up(z.relu(), layer)
        return h

    def first(self, batch: int, width: int, context: Context | None) -> Rows:
        """Nothing lies above; what is remembered of earlier rows is (B, L U, k // 2, W)."""
        bias = self.biases(context, batch)
        nothing = bias.new_zeros(batch, self.above.shape[0] * self.above.shape[2], self.reach, width)
        weights = (self.down.matrices, self.own.matrices, self.up.matrices)
        return Rows((bias.expand(width, -1, -1, -1),), (nothing,), weights, bias)

    def next(self, rows: Rows, kept: Sequence[Kept], inputs: Tensor) -> Rows:
        """All layers' convolutions of the rows above at once."""
        last = columns(kept, 0).permute(2, 1, 3, 0).flatten(1, 2)  # (B, L U, W)
        memory = torch.cat([rows.memory[0][:, :, 1:], last.unsqueeze(2)], 2)
        found = F.conv2d(F.pad(memory, (self.reach, self.reach)), self.above.flatten(0, 1), groups=len(self.layers))
        above = found.view(len(found), len(self.layers), -1, found.shape[3]).permute(3, 1, 0, 2) + rows.bias
        return rows._replace(above=(above.contiguous(),), memory=(memory,))

    def pixel(self, h: Tensor, rows: Rows, kept: Sequence[Kept]) -> tuple[Tensor, Kept]:
        """Features (B, S) of a pixel, and u (L, B, U)."""
        gates = past(kept, rows.above[0][len(kept)], self.left, self.reach).unbind()
        inner = []
        down, up = self.down.bias, self.up.bias
        assert down is not None  # as it was made
        assert up is not None
        for layer, (w_down, w_own, w_up) in enumerate(zip(*(weight.unbind() for weight in rows.weights), strict=True)):
            inner.append(torch.addmm(down[layer], h.relu(), w_down).relu_())
            z = torch.addmm(gates[layer], inner[-1], w_own).relu_()
            h = torch.addmm(h + up[layer], z, w_up)
        return h, (torch.stack(inner),)


class GatedConvolutions(Stack):
    """The two stacks of the gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328, figure 2).

    The vertical stack v sees whole rows, its own one with them; shifted down by one row it feeds the horizontal stack
    h, which sees its row as far as its pixel. So no pixel above or left is missed. With a pixel's gate
    `g(z) = tanh(z_1) sigmoid(z_2)`, a layer is

        a = K_v * v + l_v,   v' = g(a),   h' = h + W_r g(K_h * h + W_a shift(a) + l_h);

    l are biases with what the labels add. As in the paper, v has no residual connections; what lies above the first
    row is 0. Deviation: the first convolution of h sees rows above of its own.
    """

    def __init__(
        self, layers: int, channels: int, features: int, kernel: int, labels: Sequence[int], inputs: int, first: int
    ) -> None:
        super().__init__(layers, 4 * features, labels)  # of the vertical stack, and of the horizontal one
        self.reach, self.reach_first = reach(kernel), reach(first)
        scale = (features * kernel * (self.reach + 1)) ** -0.5
        self.entry = nn.Parameter(torch.randn(features, inputs, self.reach_first + 1, first))
        self.entry.data.mul_(self.entry[0].numel() ** -0.5)
        self.vertical = nn.Parameter(scale * torch.randn(layers, 2 * features, features, self.reach + 1, kernel))
        self.down = nn.Parameter(torch.randn(layers, 2 * features, 2 * features) / (2 * features) ** 0.5)
        self.left = nn.Parameter(torch.randn(layers, self.reach * features, 2 * features))
        self.own = ChannelLinear(layers, channels, features, features, parts=2, bias=False)
        self.residual = ChannelLinear(layers, channels, features, features)
        self.left.data.mul_(((self.reach + 1) * features) ** -0.5)
        self.own.weight.data.mul_((self.reach + 1) ** -0.5)
        self.residual.weight.data.mul_(layers**-0.5)

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) behind the last layer of the horizontal stack."""
        biases, own = self.biases(context, len(h))[:, :, None, None], self.own.matrices
        v = convolve(inputs, self.entry, self.reach_first, self.reach_first)
        for layer in self.layers:
            bias_v, bias_h = biases[layer].chunk(2, -1)
            a = convolve(v, self.vertical[layer], self.reach, self.reach) + bias_v
            z = convolve(h, across(self.left[layer], own[layer]), 0, self.reach) + bias_h
            z = z + F.pad(a[:, :-1], (0, 0, 0, 0, 1, 0)).matmul(self.down[layer])
            h = h + self.residual(gated(z), layer)
            v = gated(a)
        return h

    def first(self, batch: int, width: int, context: Context | None) -> Rows:
        """Nothing lies above; of earlier rows the inputs (L, B, k // 2, W, S) of the vertical layers are remembered."""
        bias = self.biases(context, batch)
        nothing = bias.new_zeros(len(bias), batch, self.reach, width, self.vertical.shape[2])
        _, above = bias.expand(width, -1, -1, -1).chunk(2, -1)
        return Rows((above,), (nothing,), (self.own.matrices, self.residual.matrices), bias)

    def next(self, rows: Rows, kept: Sequence[Kept], inputs: Tensor) -> Rows:
        """One row of the vertical stack, which needs nothing of the horizontal one."""
        bias_v, bias_h = rows.bias.chunk(2, -1)
        v = convolve(inputs[:, -self.reach_first - 1 :], self.entry, 0, self.reach_first)  # (B, 1, W, S)
        memory, found = [], []
        for layer in self.layers:
            seen = torch.cat([rows.memory[0][layer], v], 1)
            memory.append(seen[:, 1:])
            found.append(convolve(seen, self.vertical[layer], 0, self.reach) + bias_v[layer][:, None, None])
            v = gated(found[-1])
        a = torch.stack(found).squeeze(2)  # (L, B, W, 2 S)
        above = torch.bmm(a.flatten(1, 2), self.down).view_as(a).permute(2, 0, 1, 3) + bias_h
        return rows._replace(above=(above.contiguous(),), memory=(torch.stack(memory),))

    def pixel(self, h: Tensor, rows: Rows, kept: Sequence[Kept]) -> tuple[Tensor, Kept]:
        """Features (B, S) of a pixel, and those (L, B, S) that enter the layers."""
        gates = past(kept, rows.above[0][len(kept)], self.left, self.reach).unbind()
        inner, bias = [], self.residual.bias
        assert bias is not None  # as it was made
        for layer, (w_own, w_residual) in enumerate(zip(*(weight.unbind() for weight in rows.weights), strict=True)):
            inner.append(h)
            z = torch.addmm(gates[layer], h, w_own)
            h = torch.addmm(h + bias[layer], gated(z), w_residual)
        return h, (torch.stack(inner),)
