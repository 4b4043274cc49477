"""What image models have in common: pixels in raster order, and the cache of a scan."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.model import Carry, Context, Model
from seqgen.nn.masked import ChannelLinear, FirstConvolution
from seqgen.nn.raster import Kept, Rows, Stack
from seqgen.output import Output


class Scan(NamedTuple):
    """What is known of an image at one of its pixels.

    `rows` and `above` (W, B, S) come from the rows above, to the layers and to the first convolution; `left` are the
    inputs (B, I) of the pixels left of this one and `kept` what the layers keep of them; `now` is that of this pixel
    itself, given the channels that are known of it.
    """

    rows: Rows
    above: Tensor
    left: tuple[Tensor, ...] = ()
    kept: tuple[Kept, ...] = ()
    now: Kept = ()


class Seen(NamedTuple):
    """What an image model remembers: the symbols x (B, t) so far, and the scan, None where it has to be made up for."""

    x: Tensor
    scan: Scan | None


class Raster(Model):
    """An image of H rows, W columns and C channels, as H W C symbols in raster order, the channels of a pixel together.

    The symbols enter by a convolution that sees earlier ones alone, then go through a stack of layers; two products
    with relu before each give the parameters. Groups of features belong to the channels; that of channel c sees the
    symbols of this pixel below c.

    Where parameters move the symbol (`Output.shifts`), they get a share of the earlier channels of the same pixel
    (Salimans et al. 2017, PixelCNN++, arXiv:1701.05517): with x' the value of a symbol, and coefficients that are
    parameters of the model,

        m_c += tanh(a_c,0) x'_0 + ... + tanh(a_c,c-1) x'_c-1.

    Sampling: a pixel costs its own features and no others, since what the layers get from above is computed once a row.
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
        self.couplings = 0 if output.shifts is None else channels - 1
        self.shifts = output.shifts or slice(0, 0)
        self.moved = len(range(output.size)[self.shifts])
        features, end = filters * channels, end * channels
        self.first = FirstConvolution(channels, embedded(output, scalar), features, first)
        self.end = ChannelLinear(1, channels, features, end)
        size = output.size + self.couplings * self.moved
        self.readout = ChannelLinear(1, channels, end, size * channels)

    # -- whole images

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Parameters (B, T, P) of every symbol of x (B, T)."""
        self._check(x.shape[1])
        if not x.shape[1]:
            return self.start(len(x), context)[0].unsqueeze(1)[:, :0]
        image = self._image(self._embed(x))
        inputs = _marked(image)
        h = self.stack(self.first(inputs), inputs, context)
        rows = self._read(h)
        return self._couple(rows, image[..., 0]).flatten(1, 3)[:, : x.shape[1]]

    def advance(self, x: Tensor, carry: Carry | None = None, context: Context | None = None) -> tuple[Tensor, Carry]:
        """`forward` in pieces: rows (B, T, P) for the next piece x (B, T) of a sequence, and the place after it."""
        before = x[:, :0] if carry is None else torch.cat([Seen(*carry.state).x, carry.last], 1)
        x = torch.cat([before, x], 1)
        return self(x, context)[:, before.shape[1] :], Carry(x[:, -1:], Seen(x[:, :-1], None))

    def _check(self, length: int) -> None:
        assert self.dimensions is not None  # as it was made
        if length > self.dimensions:
            shape = f"{self.height} x {self.width} x {self.channels}"
            raise SeqgenError(f"a sequence has {length} symbols, expected at most {self.dimensions}, those of {shape}")

    def _embed(self, x: Tensor) -> Tensor:
        """Values (B, T, E) of symbols (B, T)."""
        dtype = self.first.bias.dtype
        if self.scalar_input:
            return (2 * x.to(dtype) / (self.output.width - 1) - 1).unsqueeze(-1)
        return self.output.embed(x).to(dtype)

    def _image(self, values: Tensor) -> Tensor:
        """As many rows (B, n, W, C, E) as the values (B, T, E) need; 0 behind the last, which no row in use sees."""
        missing = -values.shape[1] % (self.width * self.channels)
        values = F.pad(values, (0, 0, 0, missing))
        rows = values.shape[1] // (self.width * self.channels)
        return values.view(len(values), rows, self.width, self.channels, values.shape[2])

    def _read(self, h: Tensor) -> Tensor:
        """Parameters with coefficients (..., C, P + (C - 1) K) from features (..., S)."""
        rows: Tensor = self.readout(self.end(h.relu()).relu())
        return rows.view(*rows.shape[:-1], self.channels, -1)

    def _couple(self, rows: Tensor, values: Tensor) -> Tensor:
        """Parameters (..., C, P) from those with coefficients (..., C, P + (C - 1) K) and a pixel's values (..., C)."""
        if not self.couplings:
            return rows
        parameters, shares = torch.split(rows, [self.output.size, self.couplings * self.moved], -1)
        channels = torch.arange(self.channels, device=rows.device)
        values = values[..., None, :-1] * (channels[:-1] < channels.unsqueeze(1))  # (..., C, C - 1)
        added = (shares.tanh().reshape(*values.shape, self.moved) * values.unsqueeze(-1)).sum(-2)
        return parameters + F.pad(added, (self.shifts.start, self.output.size - self.shifts.stop))

    # -- symbol by symbol

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, Seen]:
        """Parameters (B, P) of the first symbol; nothing is seen yet."""
        x = torch.zeros(batch, 0, dtype=self.output.dtype, device=self.device)
        rows, scan = self._look(self._begin(batch, context), x)
        return rows, Seen(x, scan)

    def step(self, x: Tensor, state: Seen, context: Context | None = None) -> tuple[Tensor, Seen]:
        """Parameters (B, T, P) after each symbol of x (B, T), and what is seen after the last."""
        before, scan = state
        self._check(before.shape[1] + x.shape[1] + 1)
        if x.shape[1] > (1 if scan is None else self.width * self.channels):
            seen = torch.cat([before, x], 1)
            return self(F.pad(seen, (0, 1)), context)[:, -x.shape[1] :], Seen(seen, None)
        scan = self._make_up(before, context) if scan is None else scan
        found = []
        for symbol in torch.split(x, 1, 1):
            before = torch.cat([before, symbol], 1)
            if before.shape[1] % self.channels == 0:
                scan = self._leave(scan, before)
            rows, scan = self._look(scan, before)
            found.append(rows)
        return torch.stack(found, 1), Seen(before, scan)

    def _begin(self, batch: int, context: Context | None) -> Scan:
        nothing = self.first.bias.new_zeros(batch, self.first.reach, self.width, self.first.above.shape[1])
        return Scan(self.stack.first(batch, self.width, context), self.first.row(nothing))

    def _make_up(self, x: Tensor, context: Context | None) -> Scan:
        """The scan behind symbols x (B, t)."""
        scan = self._begin(len(x), context)
        for place in range(self.channels, x.shape[1] + 1, self.channels):
            scan = self._leave(self._enter(scan, x[:, :place], place - self.channels)[-1], x[:, :place])
        return self._enter(scan, x, x.shape[1] - x.shape[1] % self.channels)[-1]

    def _enter(self, scan: Scan, x: Tensor, begin: int) -> tuple[Tensor, Tensor, Scan]:
        """Features (B, S) of the pixel whose symbols stand from `begin` on, and values (B, C), as far as x tells."""
        values = self._embed(x[:, begin:])
        values = F.pad(values, (0, 0, 0, self.channels - values.shape[1]))
        h = self.first.pixel(scan.above[len(scan.left)], scan.left, values.flatten(1))
        h, now = self.stack.pixel(h, scan.rows, scan.kept)
        return h, values[..., 0], scan._replace(now=now)

    def _look(self, scan: Scan, x: Tensor) -> tuple[Tensor, Scan]:
        """Parameters (B, P) of the symbol behind x (B, t), and the scan at its pixel."""
        channel = x.shape[1] % self.channels
        h, values, scan = self._enter(scan, x, x.shape[1] - channel)
        rows = self._read(h)
        return self._couple(rows, values)[:, channel], scan

    def _leave(self, scan: Scan, x: Tensor) -> Scan:
        """The scan at the next pixel, now that all symbols of the last one are among x (B, t)."""
        pixel = self._embed(x[:, -self.channels :]).unsqueeze(1)
        left, kept = (*scan.left, _marked(pixel)[:, 0]), (*scan.kept, scan.now)
        if len(left) < self.width:
            return scan._replace(left=left, kept=kept)
        count = self.first.reach + 1
        inputs = _marked(self._image(self._embed(x[:, -count * self.width * self.channels :])))
        inputs = F.pad(inputs, (0, 0, 0, 0, count - inputs.shape[1], 0))
        return Scan(self.stack.next(scan.rows, kept, inputs), self.first.row(inputs[:, 1:]))


def _marked(image: Tensor) -> Tensor:
    """Inputs (..., I) from values (..., C, E), with a one behind them."""
    return F.pad(image.flatten(-2), (0, 1), value=1.0)


def embedded(output: Output, scalar: bool) -> int:
    """Numbers of an embedded symbol."""
    return 1 if scalar else output.width


def check_sizes(**sizes: int) -> None:
    """Raises SeqgenError for a size below 1."""
    if wrong := [f"{name} {size}" for name, size in sizes.items() if size < 1]:
        raise SeqgenError(f"{', '.join(wrong)}: expected 1 or more")


def check_even(filters: int) -> None:
    """Raises SeqgenError for filters that have no half."""
    if filters % 2:
        raise SeqgenError(f"filters is {filters}, expected an even number, as layers have half of them inside")
