"""The compiled sampler of PixelCNN, plain and gated."""

import itertools
from abc import abstractmethod

import torch
from torch import Tensor

from seqgen.engine import Request, Sampler, offers
from seqgen.engines.kernel import Op
from seqgen.engines.offer import start
from seqgen.engines.program import Program, Span
from seqgen.engines.running import Layout, Running
from seqgen.model import Context
from seqgen.models.pixelcnn import PixelCNN
from seqgen.models.raster import Prefix
from seqgen.nn.convolutions import GatedConvolutions, MaskedConvolutions
from seqgen.nn.masked import ChannelLinear


class Image(Layout):
    """A cell of memory for every pixel of a row, with its inputs and features and those of the pixels above it.

    Features of the layers are in one block for each of the last rows, so that one copy per row moves them on.
    """

    stack: MaskedConvolutions | GatedConvolutions

    def __init__(self, model: PixelCNN) -> None:
        program = self.program = Program(model.output, torch.arange(model.dimensions or 0) % model.channels)
        program.width, program.channels = model.width, model.channels
        self.model = model
        first, self.features = model.first, len(model.first.bias)
        self.numbers = first.left.shape[0] // first.radius  # of a pixel's input, the last of which is 1
        one = torch.zeros(self.numbers)
        one[-1] = 1
        self.inputs = [program.span(self.numbers, one), *(program.span(self.numbers) for _ in range(first.radius))]
        self.above_first = program.span(self.features, first.bias)  # what the first convolution has from above
        self._input()
        self._declare()
        program.begin("pixel")
        x = self._pixel(self._first())
        x = program.add(Op.RELU, x, x=x.offset, n=x.length)
        x = self._linear(program.span(model.end.weight.shape[2]), x, model.end, 0)
        x = program.add(Op.RELU, x, x=x.offset, n=x.length)
        self._parameters(self._linear(program.span(model.readout.weight.shape[2]), x, model.readout, 0))
        program.begin("row")
        self._row()
        super().__init__(program, max(first.radius, self.stack.radius))

    # -- what both kinds have in common

    def _input(self) -> None:
        """Embed a symbol behind those of the earlier channels."""
        width = (self.numbers - 1) // self.model.channels
        extra = -1
        if width == 1 and self.model.output.classes != 1:
            values = self.model.embed(torch.tensor([[0, 1]]).to(self.model.output.dtype)).flatten()
            extra = self.program.constant(torch.stack([values[1] - values[0], values[0]]))
        self.program.add(Op.INPUT, self.inputs[0], y_step=width, m=width, extra=extra)

    def _gathered(self, places: list[tuple[Span, int]]) -> Span:
        """The inputs of cells to the right, one behind the other."""
        span = self.program.span(len(places) * self.numbers)
        for place, (x, right) in enumerate(places):
            y = span.part(place * self.numbers, self.numbers)
            self.program.add(Op.COPY, y, x=x.offset, n=self.numbers, right=right)
        return span

    def _first(self) -> Span:
        """The first convolution: what comes from above, the pixels to the left, and earlier channels."""
        first, program = self.model.first, self.program
        left = self._gathered([(self.inputs[0], right) for right in range(-first.radius, 0)])
        h = program.product(program.span(self.features), self.above_first, left, first.left)
        if first.own is not None:
            own = torch.nn.functional.pad(first.own.matrices[0], (0, 0, 0, 1))
            program.product(h, h, self.inputs[0], own)
        return h

    def _taps(self, y: Span, a: Span, rows: list[Span], kernel: Tensor, inputs: bool = False) -> Span:
        """A convolution with a kernel (O, I, rows, columns) over these rows, the last kernel row first."""
        radius, taps = kernel.shape[3] // 2, []
        for row, x in enumerate(rows):
            taps += [(x, column - radius, kernel[:, :, -1 - row, column].t()) for column in range(kernel.shape[3])]
        if inputs:
            x = self._gathered([(x, right) for x, right, _ in taps])
            return self.program.product(y, a, x, torch.cat([weight for *_, weight in taps]))
        for x, right, weight in taps:
            self.program.product(y, a, x, weight, right)
            a = y
        return y

    def _left(self, y: Span, a: Span, x: Span, weight: Tensor) -> Span:
        """y = a + the product of the pixels to the left and weight (r I, O), the leftmost first."""
        for place, part in enumerate(weight.chunk(self.stack.radius)):
            self.program.product(y, a, x, part, place - self.stack.radius)
            a = y
        return y

    def _linear(self, y: Span, x: Span, linear: ChannelLinear, layer: int, a: Span | None = None) -> Span:
        """y = W x + b, or a + W x + b."""
        zero = self.program.span(y.length) if a is None else a
        self.program.product(y, zero, x, linear.matrices[layer])
        if linear.bias is not None:
            c = self.program.constant(linear.bias[layer], linear.bias.shape[1])
            self.program.add(Op.ADD, y, a=y.offset, m=y.length, c=c)
        return y

    def _parameters(self, rows: Span) -> None:
        """Of the next channel."""
        model, size = self.model, self.model.output.size
        parameters = self.program.span(size)
        self.program.add(
            Op.CHANNELS, parameters, ahead=1, a=self.inputs[0].offset, x=rows.offset, n=size,
            m=model.location_count * (model.coefficients > 0), w=size + model.coefficients,
            extra=model.locations.start or 0,
        )  # fmt: skip
        self.program.draw_from(parameters)

    def _move(self, rows: list[Span]) -> None:
        """Make those of this row those of the last one, and so on."""
        for newer, older in reversed(list(itertools.pairwise(rows))):
            self.program.add(Op.COPY, older, x=newer.offset, n=newer.length)

    def fill(self, memory: Running, request: Request) -> None:
        """Biases with label embeddings; the symbols so far are taken in from the first on."""
        self._conditioned(memory, request.context, len(request.parameters))
        memory.replay(Prefix(*request.state).x)

    # -- what differs

    @abstractmethod
    def _declare(self) -> None:
        """Memory of the layers."""

    @abstractmethod
    def _pixel(self, h: Span) -> Span:
        """The layers at a pixel."""

    @abstractmethod
    def _row(self) -> None:
        """What the pixels of a row have from the rows above."""

    @abstractmethod
    def _conditioned(self, memory: Running, context: Context | None, batch: int) -> None:
        """Write the biases."""


class Plain(Image):
    """The residual blocks of PixelCNN."""

    stack: MaskedConvolutions

    def _declare(self) -> None:
        stack = self.model.stack
        assert isinstance(stack, MaskedConvolutions)
        self.stack = stack
        depth, inner = stack.bias.shape
        self.size = self.program.span(inner).length
        self.biases = self.program.span(depth * self.size)
        self.above = self.program.span(depth * self.size)
        self.rows = [self.program.span(depth * self.size) for _ in range(stack.radius + 1)]

    def _of(self, block: Span, layer: int) -> Span:
        return block.part(layer * self.size, self.size)

    def _pixel(self, h: Span) -> Span:
        program, stack = self.program, self.stack
        rectified, z = program.span(h.length), program.span(self.size)
        for layer in stack.layers:
            u = self._of(self.rows[0], layer)
            program.add(Op.RELU, rectified, x=h.offset, n=h.length)
            self._linear(u, rectified, stack.down, layer)
            program.add(Op.RELU, u, x=u.offset, n=u.length)
            self._left(z, self._of(self.above, layer), u, stack.left[layer])
            self._linear(z, u, stack.own, layer, z)
            program.add(Op.RELU, z, x=z.offset, n=z.length)
            self._linear(h, z, stack.up, layer, h)
        return h

    def _row(self) -> None:
        self._move(self.inputs)
        self._move(self.rows)
        bias = self.program.span(self.features, self.model.first.bias)
        self._taps(self.above_first, bias, self.inputs[1:], self.model.first.above, True)
        for layer in self.stack.layers:
            rows = [self._of(row, layer) for row in self.rows[1:]]
            self._taps(self._of(self.above, layer), self._of(self.biases, layer), rows, self.stack.above[layer])

    def _conditioned(self, memory: Running, context: Context | None, batch: int) -> None:
        for layer, bias in enumerate(self.stack.biases(context, batch)):
            memory.set(self._of(self.biases, layer), bias)
            memory.set(self._of(self.above, layer), bias)


class Gated(Image):
    """The two stacks of the gated PixelCNN; the vertical one is computed row by row."""

    stack: GatedConvolutions

    def _declare(self) -> None:
        program, stack = self.program, self.model.stack
        assert isinstance(stack, GatedConvolutions)
        self.stack, depth = stack, len(stack.bias)
        self.size = size = program.span(self.features).length
        self.biases = [program.span(depth * 2 * size) for _ in range(2)]  # of the vertical and the horizontal stack
        self.above = program.span(depth * 2 * size)
        self.horizontal = program.span(depth * size)
        self.rows = [program.span(depth * size) for _ in range(stack.radius + 1)]  # of the vertical stack

    def _of(self, block: Span, layer: int, parts: int = 1) -> Span:
        return block.part(layer * parts * self.size, parts * self.size)

    def _halves(self, weight: Tensor) -> Tensor:
        """Gates (..., 2 S) as they are in memory, each half padded."""
        parts = weight.reshape(*weight.shape[:-1], 2, -1)
        return torch.nn.functional.pad(parts, (0, self.size - self.features)).flatten(-2)

    def _pixel(self, h: Span) -> Span:
        program, stack = self.program, self.stack
        gates, z = program.span(2 * self.size), program.span(self.size)
        for layer in stack.layers:
            x = self._of(self.horizontal, layer)
            program.add(Op.COPY, x, x=h.offset, n=h.length)
            self._left(gates, self._of(self.above, layer, 2), x, self._halves(stack.left[layer]))
            program.product(gates, gates, x, self._halves(stack.own.matrices[layer]))
            program.add(Op.GATE, z, x=gates.offset, n=self.size)
            self._linear(h, z, stack.residual, layer, h)
        return h

    def _row(self) -> None:
        program, stack = self.program, self.stack
        a, v = program.span(2 * self.size), program.span(self.size)
        self._taps(v, program.span(self.size), self.inputs, stack.entry, True)
        for layer in stack.layers:
            rows = [self._of(row, layer) for row in self.rows]
            program.add(Op.COPY, rows[0], x=v.offset, n=v.length)
            kernel = self._halves(stack.vertical[layer].movedim(0, -1)).movedim(-1, 0)
            self._taps(a, self._of(self.biases[0], layer, 2), rows, kernel)
            down = self._halves(self._halves(stack.down[layer]).t()).t()
            program.product(self._of(self.above, layer, 2), self._of(self.biases[1], layer, 2), a, down)
            program.add(Op.GATE, v, x=a.offset, n=self.size)
        self._move(self.rows)
        self._move(self.inputs)
        bias = program.span(self.features, self.model.first.bias)
        self._taps(self.above_first, bias, self.inputs[1:], self.model.first.above, True)

    def _conditioned(self, memory: Running, context: Context | None, batch: int) -> None:
        for layer, bias in enumerate(self.stack.biases(context, batch)):
            for block, part in zip(self.biases, bias.chunk(2, -1), strict=True):
                memory.set(self._of(block, layer, 2), self._halves(part))
            memory.set(self._of(self.above, layer, 2), self._halves(bias.chunk(2, -1)[1]))


@offers(PixelCNN)
def pixelcnn(model: PixelCNN, request: Request) -> Sampler:
    """A sampler of a PixelCNN."""
    kind = Gated if isinstance(model.stack, GatedConvolutions) else Plain
    return start(model, request, lambda: kind(model))
