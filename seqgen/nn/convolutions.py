"""Masked convolutions of images: the residual blocks of PixelCNN, and the two stacks of the gated PixelCNN."""

from collections.abc import Sequence
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.model import Context
from seqgen.nn.cells import gated
from seqgen.nn.masked import ChannelLinear, convolve, kernel_radius, row_kernel
from seqgen.nn.raster import PixelCache, RowCache, Stack, add_left_context, stack_row


class MaskedConvolutions(Stack):
    """The residual blocks of PixelCNN (van den Oord et al. 2016, arXiv:1601.06759, figure 5).

    `u = relu(W_d relu(h))`, `h' = h + W_u relu(K * u + l)`, with U = S / 2 features in u, K a k x k kernel with a mask
    of type B, and l the biases with the label embeddings added. The receptive field grows to the
    right by k // 2 columns with every row above, so a pixel has a blind spot on the right (van den Oord et al. 2016,
    arXiv:1606.05328).
    """

    input_axes = MappingProxyType({"above": (2, 3, 4), "left": 1})

    def __init__(self, layers: int, channels: int, features: int, kernel: int, labels: Sequence[int]) -> None:
        inner = features // 2
        super().__init__(layers, inner, labels)
        self.radius = kernel_radius(kernel)
        scale = (inner * (kernel * self.radius + self.radius + 1)) ** -0.5
        self.down = ChannelLinear(layers, channels, features, inner)
        self.above = nn.Parameter(scale * torch.randn(layers, inner, inner, self.radius, kernel))
        self.left = nn.Parameter(scale * torch.randn(layers, self.radius * inner, inner))
        self.own = ChannelLinear(layers, channels, inner, inner, bias=False)
        self.up = ChannelLinear(layers, channels, inner, features)
        for product in (self.own, self.up):
            product.weight.data.mul_(scale * inner**0.5 if product is self.own else layers**-0.5)

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) of the last layer."""
        biases, own = self.biases(context, len(h)), self.own.matrices
        for layer in self.layers:
            u = self.down(h.relu(), layer).relu()
            kernel = torch.cat([self.above[layer], row_kernel(self.left[layer], own[layer], self.radius)], 2)
            z = convolve(u, kernel, self.radius, self.radius) + biases[layer][:, None, None]
            h = h + self.up(z.relu(), layer)
        return h

    def first_row(self, batch: int, width: int, context: Context | None) -> RowCache:
        """The state above the first row: u of the last rows (B, L U, k // 2, W) is zero."""
        bias = self.biases(context, batch)
        zeros = bias.new_zeros(batch, self.above.shape[0] * self.above.shape[2], self.radius, width)
        weights = (self.down.matrices, self.own.matrices, self.up.matrices)
        return RowCache((bias.expand(width, -1, -1, -1),), (zeros,), weights, bias)

    def next_row(self, rows: RowCache, cached: Sequence[PixelCache], inputs: Tensor) -> RowCache:
        """The convolutions of all layers over the rows above, as one grouped convolution."""
        last = stack_row(cached, 0).permute(2, 1, 3, 0).flatten(1, 2)  # (B, L U, W)
        history = torch.cat([rows.history[0][:, :, 1:], last.unsqueeze(2)], 2)
        out = F.conv2d(F.pad(history, (self.radius, self.radius)), self.above.flatten(0, 1), groups=len(self.layers))
        above = out.view(len(out), len(self.layers), -1, out.shape[3]).permute(3, 1, 0, 2) + rows.bias
        return rows._replace(above=(above.contiguous(),), history=(history,))

    def pixel(self, h: Tensor, rows: RowCache, cached: Sequence[PixelCache]) -> tuple[Tensor, PixelCache]:
        """Features (B, S) of a pixel, and its cache: u (L, B, U)."""
        gates = add_left_context(cached, rows.above[0][len(cached)], self.left, self.radius).unbind()
        inner = []
        down, up = self.down.bias, self.up.bias
        assert down is not None  # always set here
        assert up is not None
        for layer, (w_down, w_own, w_up) in enumerate(zip(*(weight.unbind() for weight in rows.weights), strict=True)):
            inner.append(torch.addmm(down[layer], h.relu(), w_down).relu_())
            z = torch.addmm(gates[layer], inner[-1], w_own).relu_()
            h = torch.addmm(h + up[layer], z, w_up)
        return h, (torch.stack(inner),)


class GatedConvolutions(Stack):
    """The two stacks of the gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328, figure 2).

    The vertical stack v depends on whole rows, including the current one; shifted down by one row it feeds the
    horizontal stack h, which depends on the current row up to the pixel. So there is no blind spot. With the gate
    `g(z) = tanh(z_1) sigmoid(z_2)`, a layer is

        a = K_v * v + l_v,   v' = g(a),   h' = h + W_r g(K_h * h + W_a shift(a) + l_h);

    l are biases with the label embeddings added. As in the paper, v has no residual connections; shift(a) is 0 in the
    first row. Deviation: the first layer of h, a masked convolution, covers rows above as well.
    """

    input_axes = MappingProxyType({"entry": (1, 2, 3), "vertical": (2, 3, 4), "down": 1, "left": 1})

    def __init__(
        self, layers: int, channels: int, features: int, kernel: int, labels: Sequence[int], inputs: int, first: int
    ) -> None:
        super().__init__(layers, 4 * features, labels)  # 2 S gates for each stack
        self.radius, self.radius_first = kernel_radius(kernel), kernel_radius(first)
        scale = (features * kernel * (self.radius + 1)) ** -0.5
        self.entry = nn.Parameter(torch.randn(features, inputs, self.radius_first + 1, first))
        self.entry.data.mul_(self.entry[0].numel() ** -0.5)
        self.vertical = nn.Parameter(scale * torch.randn(layers, 2 * features, features, self.radius + 1, kernel))
        self.down = nn.Parameter(torch.randn(layers, 2 * features, 2 * features) / (2 * features) ** 0.5)
        self.left = nn.Parameter(torch.randn(layers, self.radius * features, 2 * features))
        self.own = ChannelLinear(layers, channels, features, features, parts=2, bias=False)
        self.residual = ChannelLinear(layers, channels, features, features)
        self.left.data.mul_(((self.radius + 1) * features) ** -0.5)
        self.own.weight.data.mul_((self.radius + 1) ** -0.5)
        self.residual.weight.data.mul_(layers**-0.5)

    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) of the last layer of the horizontal stack."""
        biases, own = self.biases(context, len(h))[:, :, None, None], self.own.matrices
        v = convolve(inputs, self.entry, self.radius_first, self.radius_first)
        for layer in self.layers:
            bias_v, bias_h = biases[layer].chunk(2, -1)
            a = convolve(v, self.vertical[layer], self.radius, self.radius) + bias_v
            z = convolve(h, row_kernel(self.left[layer], own[layer]), 0, self.radius) + bias_h
            z = z + F.pad(a[:, :-1], (0, 0, 0, 0, 1, 0)).matmul(self.down[layer])
            h = h + self.residual(gated(z), layer)
            v = gated(a)
        return h

    def first_row(self, batch: int, width: int, context: Context | None) -> RowCache:
        """The state above the first row: the last inputs (L, B, k // 2, W, S) of the vertical layers are zero."""
        bias = self.biases(context, batch)
        zeros = bias.new_zeros(len(bias), batch, self.radius, width, self.vertical.shape[2])
        _, above = bias.expand(width, -1, -1, -1).chunk(2, -1)
        return RowCache((above,), (zeros,), (self.own.matrices, self.residual.matrices), bias)

    def next_row(self, rows: RowCache, cached: Sequence[PixelCache], inputs: Tensor) -> RowCache:
        """One row of the vertical stack, which does not depend on the horizontal one."""
        bias_v, bias_h = rows.bias.chunk(2, -1)
        v = convolve(inputs[:, -self.radius_first - 1 :], self.entry, 0, self.radius_first)  # (B, 1, W, S)
        history, outputs = [], []
        for layer in self.layers:
            last = torch.cat([rows.history[0][layer], v], 1)
            history.append(last[:, 1:])
            outputs.append(convolve(last, self.vertical[layer], 0, self.radius) + bias_v[layer][:, None, None])
            v = gated(outputs[-1])
        a = torch.stack(outputs).squeeze(2)  # (L, B, W, 2 S)
        above = torch.bmm(a.flatten(1, 2), self.down).view_as(a).permute(2, 0, 1, 3) + bias_h
        return rows._replace(above=(above.contiguous(),), history=(torch.stack(history),))

    def pixel(self, h: Tensor, rows: RowCache, cached: Sequence[PixelCache]) -> tuple[Tensor, PixelCache]:
        """Features (B, S) of a pixel, and its cache: the inputs (L, B, S) of the layers."""
        gates = add_left_context(cached, rows.above[0][len(cached)], self.left, self.radius).unbind()
        inner, bias = [], self.residual.bias
        assert bias is not None  # always set here
        for layer, (w_own, w_residual) in enumerate(zip(*(weight.unbind() for weight in rows.weights), strict=True)):
            inner.append(h)
            z = torch.addmm(gates[layer], h, w_own)
            h = torch.addmm(h + bias[layer], gated(z), w_residual)
        return h, (torch.stack(inner),)
