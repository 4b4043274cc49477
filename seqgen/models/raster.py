"""The base of image models: pixels in raster order, and a cache for the raster scan."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Carry, Context, Model
from seqgen.nn.masked import ChannelLinear, FirstConvolution
from seqgen.nn.raster import PixelCache, RowCache, Stack
from seqgen.output import Output


class Scan(NamedTuple):
    """The cache of a raster scan at one pixel.

    `rows` and `above` (W, B, S) are the contributions of the rows above, to the layers and to the first convolution;
    `left` are the inputs (B, I) of the pixels to the left in this row and `cached` the caches of the layers for them;
    `current` is the cache of this pixel, from those of its channels that are known.
    """

    rows: RowCache
    above: Tensor
    left: tuple[Tensor, ...] = ()
    cached: tuple[PixelCache, ...] = ()
    current: PixelCache = ()


class Prefix(NamedTuple):
    """The state of an image model: the symbols x (B, t) so far, and the scan, None where it has to be recomputed."""

    x: Tensor
    scan: Scan | None


class Raster(Model):
    """Images of H rows, W columns and C channels as H W C symbols in raster order, the channels of a pixel adjacent.

    A masked first convolution, a stack of layers, then two layers of relu and a masked 1 x 1 convolution give the
    parameters. The features of a pixel have one group for each channel; that of channel c depends on the symbols of
    earlier pixels and on channels below c of its own pixel.

    Location parameters (`Output.locations`) are linear in the earlier channels of the same pixel (Salimans et al. 2017,
    PixelCNN++, arXiv:1701.05517): with x' the embedded symbols and coefficients a, further outputs of the network,

        m_c += tanh(a_c,0) x'_0 + ... + tanh(a_c,c-1) x'_c-1.

    A step of the raster scan computes the features of one pixel; the contribution of the rows above is computed once a
    row.
    """

    @abstractmethod
    def __init__(
        self,
        output: Output,
        stack: Stack,
        height: int,
        width: int,
        channels: int,
        filters: int,
        first: int,
        end: int,
        scalar: bool,
    ) -> None:
        super().__init__()
        self.output, self.stack = output, stack
        self.label_sizes = stack.label_sizes
        self.height, self.width, self.channels = height, width, channels
        self.shape = height, width, channels
        self.dimensions = height * width * channels
        self.scalar_input = scalar and output.width > 1
        self.locations = output.locations or slice(0, 0)
        self.location_count = len(range(output.size)[self.locations])
        self.coefficients = self.location_count * (channels - 1)
        features, end = filters * channels, end * channels
        self.first = FirstConvolution(channels, input_width(output, scalar), features, first)
        self.end = ChannelLinear(1, channels, features, end)
        self.readout = ChannelLinear(1, channels, end, (output.size + self.coefficients) * channels)
        self.input_axes = {
            f"{place}.{name}": axes
            for place, module in self.named_modules()
            if isinstance(module, ChannelLinear | FirstConvolution | Stack)
            for name, axes in module.input_axes.items()
        }

    # -- whole images

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self._check_length(x.shape[1])
        if not x.shape[1]:
            return self.start(len(x), context)[0].unsqueeze(1)[:, :0]
        image = self._image(self.embed(x))
        inputs = _with_ones(image)
        h = self.stack(self.first(inputs), inputs, context)
        rows = self._read(h)
        return self._add_channels(rows, image[..., 0]).flatten(1, 3)[:, : x.shape[1]]

    def advance(self, x: Tensor, carry: Carry | None = None, context: Context | None = None) -> tuple[Tensor, Carry]:
        """`forward` in chunks: parameters (B, T, P) of the next chunk x (B, T), and the carry for the one after it."""
        before = x[:, :0] if carry is None else torch.cat([Prefix(*carry.state).x, carry.last], 1)
        x = torch.cat([before, x], 1)
        return self(x, context)[:, before.shape[1] :], Carry(x[:, -1:], Prefix(x[:, :-1], None))

    def _check_length(self, length: int) -> None:
        assert self.dimensions is not None  # set in the constructor
        if length > self.dimensions:
            shape = f"{self.height} x {self.width} x {self.channels}"
            raise SeqgenError(f"a sequence has {length} symbols, expected at most {self.dimensions} ({shape})")

    def embed(self, x: Tensor) -> Tensor:
        """Embedded symbols (B, T, E)."""
        dtype = self.first.bias.dtype
        if self.scalar_input:
            return (2 * x.to(dtype) / (self.output.width - 1) - 1).unsqueeze(-1)
        return self.output.embed(x).to(dtype)

    def _image(self, values: Tensor) -> Tensor:
        """Whole rows (B, n, W, C, E) from embedded symbols (B, T, E), zero-padded at the end."""
        missing = -values.shape[1] % (self.width * self.channels)
        values = F.pad(values, (0, 0, 0, missing))
        rows = values.shape[1] // (self.width * self.channels)
        return values.view(len(values), rows, self.width, self.channels, values.shape[2])

    def _read(self, h: Tensor) -> Tensor:
        """Parameters and coefficients (..., C, P + (C - 1) K) from features (..., S), K location parameters."""
        rows: Tensor = self.readout(self.end(h.relu()).relu())
        return rows.view(*rows.shape[:-1], self.channels, -1)

    def _add_channels(self, rows: Tensor, values: Tensor) -> Tensor:
        """Parameters (..., C, P) from (..., C, P + (C - 1) K) and a pixel's embedded symbols x' (..., C)."""
        if not self.coefficients:
            return rows
        parameters, coefficients = torch.split(rows, [self.output.size, self.coefficients], -1)
        channels = torch.arange(self.channels, device=rows.device)
        values = values[..., None, :-1] * (channels[:-1] < channels.unsqueeze(1))  # (..., C, C - 1)
        added = (coefficients.tanh().reshape(*values.shape, self.location_count) * values.unsqueeze(-1)).sum(-2)
        return parameters + F.pad(added, (self.locations.start, self.output.size - self.locations.stop))

    # -- symbol by symbol

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Prefix]:
        """Parameters (B, P) of the first symbol, and the state without symbols."""
        x = torch.zeros(batch, 0, dtype=self.output.dtype, device=self.device)
        rows, scan = self._next_parameters(self._first_scan(batch, context), x)
        return rows, Prefix(x, scan)

    def step(self, x: Tensor, state: Prefix, context: Context | None = None) -> tuple[Tensor, Prefix]:
        """Parameters (B, T, P) of the symbol after each symbol of x (B, T), and the state after the last."""
        before, scan = state
        self._check_length(before.shape[1] + x.shape[1] + 1)
        if x.shape[1] > (1 if scan is None else self.width * self.channels):
            prefix = torch.cat([before, x], 1)
            return self(F.pad(prefix, (0, 1)), context)[:, -x.shape[1] :], Prefix(prefix, None)
        scan = self._rescan(before, context) if scan is None else scan
        parameters = []
        for symbol in torch.split(x, 1, 1):
            before = torch.cat([before, symbol], 1)
            if before.shape[1] % self.channels == 0:
                scan = self._next_pixel(scan, before)
            rows, scan = self._next_parameters(scan, before)
            parameters.append(rows)
        return torch.stack(parameters, 1), Prefix(before, scan)

    def _first_scan(self, batch: int, context: Context | None) -> Scan:
        """The scan at the first pixel."""
        zeros = self.first.bias.new_zeros(batch, self.first.radius, self.width, self.first.above.shape[1])
        return Scan(self.stack.first_row(batch, self.width, context), self.first.row(zeros))

    def _rescan(self, x: Tensor, context: Context | None) -> Scan:
        """The scan after symbols x (B, t), from the first pixel on."""
        scan = self._first_scan(len(x), context)
        for end in range(self.channels, x.shape[1] + 1, self.channels):
            scan = self._next_pixel(self._features(scan, x[:, :end], end - self.channels)[-1], x[:, :end])
        return self._features(scan, x, x.shape[1] - x.shape[1] % self.channels)[-1]

    def _features(self, scan: Scan, x: Tensor, start: int) -> tuple[Tensor, Tensor, Scan]:
        """Features (B, S) and embedded symbols (B, C) of the pixel that starts at x[:, start], and its scan.

        Symbols that are not in x yet count as 0.
        """
        values = self.embed(x[:, start:])
        values = F.pad(values, (0, 0, 0, self.channels - values.shape[1]))
        h = self.first.pixel(scan.above[len(scan.left)], scan.left, values.flatten(1))
        h, current = self.stack.pixel(h, scan.rows, scan.cached)
        return h, values[..., 0], scan._replace(current=current)

    def _next_parameters(self, scan: Scan, x: Tensor) -> tuple[Tensor, Scan]:
        """Parameters (B, P) of the symbol after x (B, t), and the scan at its pixel."""
        channel = x.shape[1] % self.channels
        h, values, scan = self._features(scan, x, x.shape[1] - channel)
        rows = self._read(h)
        return self._add_channels(rows, values)[:, channel], scan

    def _next_pixel(self, scan: Scan, x: Tensor) -> Scan:
        """The scan at the next pixel, where x (B, t) ends with all symbols of the current one."""
        pixel = self.embed(x[:, -self.channels :]).unsqueeze(1)
        left, cached = (*scan.left, _with_ones(pixel)[:, 0]), (*scan.cached, scan.current)
        if len(left) < self.width:
            return scan._replace(left=left, cached=cached)
        count = self.first.radius + 1
        inputs = _with_ones(self._image(self.embed(x[:, -count * self.width * self.channels :])))
        inputs = F.pad(inputs, (0, 0, 0, 0, count - inputs.shape[1], 0))
        return Scan(self.stack.next_row(scan.rows, cached, inputs), self.first.row(inputs[:, 1:]))


def _with_ones(image: Tensor) -> Tensor:
    """Inputs (..., I) from embedded symbols (..., C, E), with a constant one appended."""
    return F.pad(image.flatten(-2), (0, 1), value=1.0)


def input_width(output: Output, scalar: bool) -> int:
    """The width of an embedded symbol."""
    return 1 if scalar else output.width


def check_sizes(**sizes: int) -> None:
    """Raises SeqgenError for a size below 1."""
    if wrong := [f"{name} {size}" for name, size in sizes.items() if size < 1]:
        raise SeqgenError(f"{', '.join(wrong)}: expected 1 or more")


def check_even(filters: int) -> None:
    """Raises SeqgenError for an odd number of filters."""
    if filters % 2:
        raise SeqgenError(f"filters is {filters}, expected an even number: layers have half as many features inside")
