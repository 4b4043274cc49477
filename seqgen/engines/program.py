"""Writing a model's step as a program for the compiled sampler: memory, operations, weights."""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqgen.engines.kernel import Code, Op
from seqgen.engines.packing import array, flat, in_panels, in_rows, narrowed, padded
from seqgen.output import Output

PANEL = 64


class Span(NamedTuple):
    """Floats of a row's memory: an offset and a length, a multiple of 16."""

    offset: int
    length: int

    def part(self, start: int, length: int) -> "Span":
        """Some of it."""
        return Span(self.offset + start, length)


class Program:
    """A model's step as a list of operations, with its weights; `Running` runs it.

    Methods that add an operation return the span of its result. Products read whole spans, so that everything behind
    the numbers in a span must be zero, or meet weights of zero.
    """

    def __init__(self, output: Output, permutation: Tensor | None = None) -> None:
        self.output = output
        self.size = 0
        self.parts: dict[str, list[list[int]]] = {"program": [], "row": [], "pixel": []}
        self.lines = self.parts["program"]
        self.width, self.channels = 0, 1
        self.matrices: list[tuple[Tensor, bool, int, int]] = []
        self.constants: list[np.ndarray] = []
        self.constant_size = 0
        self.table: list[int] = []
        self.fixed: list[tuple[Span, np.ndarray]] = []
        self.parameters, self.step = Span(0, 0), 0
        self.places = np.zeros(1, np.int64) if permutation is None else permutation.numpy().copy()

    def begin(self, part: str) -> None:
        """What follows is `pixel` or `row` of an image's program."""
        self.lines = self.parts[part]

    @property
    def cell(self) -> int:
        """Floats of a row of memory, or of a pixel's cell in it."""
        return padded(self.size, PANEL)

    # -- memory

    def span(self, length: int, value: Tensor | None = None) -> Span:
        """Memory for a vector; zeros, or a value (length,) at the beginning of every sequence."""
        span = Span(self.size, padded(length))
        self.size += span.length
        if value is not None:
            self.fixed.append((span, flat(value)))
        return span

    def constant(self, value: Tensor, width: int | None = None) -> int:
        """The place of constants (..., width), every row padded; plain numbers for width None."""
        array = flat(value)
        if width is not None:
            array = np.pad(array.reshape(-1, width), [(0, 0), (0, padded(width) - width)])
        place, self.constant_size = self.constant_size, self.constant_size + padded(array.size)
        self.constants.append(np.pad(array.reshape(-1), (0, padded(array.size) - array.size)))
        return place

    # -- operations

    def add(self, op: Op, y: Span, **operands: int) -> Span:
        """A line of the program; `right`, of which cell x is."""
        names = ("ahead", "y", "y_step", "a", "a_step", "x", "n", "m", "w", "w_step", "c", "c_step", "extra", "right")
        self.lines.append([int(op), *({"y": y.offset, **operands}.get(name, 0) for name in names)])
        return y

    def product(self, y: Span, a: Span, x: Span, weight: Tensor, right: int = 0) -> Span:
        """y = a + x W for W (n, m); where n or m are parts with padding between them, W has it.

        x is that of the cell `right` pixels to the right.
        """
        number = len(self.matrices)
        n, m = padded(weight.shape[0]), padded(weight.shape[1])
        if n != x.length or m > y.length:
            raise ValueError(f"a product of {weight.shape} takes {x} to {y}")
        self.matrices.append((weight, False, n, m))
        return self.add(Op.PRODUCT, y, a=a.offset, x=x.offset, n=n, m=m, w=number, right=right)

    def affine(self, x: Span, weight: Tensor, bias: Tensor) -> Span:
        """W x + b, for W (m, n) and b (m,) of an `nn.Linear`."""
        return self.product(self.span(len(bias)), self.span(len(bias), bias), x, weight.t())

    def norm(self, x: Span, width: int, weight: Tensor, bias: Tensor, epsilon: float) -> Span:
        """Layer normalisation of the first `width` numbers."""
        c = self.constant(torch.stack([weight, bias]), width)
        extra = self.constant(torch.tensor([epsilon]))
        return self.add(Op.NORM, self.span(width), x=x.offset, n=x.length, m=width, c=c, extra=extra)

    def dot(self, a: Span, x: Span, rows: Tensor) -> Span:
        """a_p + x W_p of the next variable, for W (D, P, n) and a (D P,)."""
        number, n, size = len(self.matrices), padded(rows.shape[-1], PANEL), rows.shape[-2]
        if x.length != n:
            raise ValueError(f"a product by rows of {n} takes {x}")
        self.matrices.append((rows.flatten(0, -2), True, n, rows[..., 0].numel()))
        return self.add(
            Op.DOT, self.span(size), ahead=1, a=a.offset, a_step=size, x=x.offset, n=n, m=size, w=number,
            w_step=size * n, c_step=size,
        )  # fmt: skip

    def units(self, x: Span, weight: Tensor, bias: Tensor, starts: list[int]) -> Span:
        """relu(b + W x), W (m, n), of the units starts[t + 1] ... starts[t + 2] - 1 after the symbol at position t."""
        number, n, y = len(self.matrices), padded(weight.shape[1], PANEL), self.span(padded(len(bias), PANEL))
        self.matrices.append((weight, True, n, len(bias)))
        extra = len(self.table)
        self.table += [*starts, starts[-1]]
        a = self.span(len(bias), bias)
        return self.add(Op.UNITS, y, ahead=1, a=a.offset, x=x.offset, n=n, w=number, extra=extra)

    def symbol(self, y: Span, a: Span, weight: Tensor, scalar: bool = False) -> Span:
        """y = a + embed(s) W, for W (E, m), or (D, E, m) of each variable; `scalar`: s as a number from -1 to 1."""
        weight = weight if weight.ndim == 3 else weight.unsqueeze(0)
        dimensions, width, m = weight.shape
        operands = {"a": a.offset, "m": padded(m)}
        c = self.constant(weight, m)
        if scalar or (width == 1 and self.output.classes != 1):
            slope, low = (2 / max(1, self.output.width - 1), -1.0) if scalar else self._embedding()
            extra = self.constant(torch.tensor([slope, low]))
            return self.add(Op.SCALED, y, **operands, c=c, c_step=padded(m) * (dimensions > 1), extra=extra)
        step = padded(m) * width * (dimensions > 1)
        return self.add(Op.LOOKUP, y, **operands, c=c, c_step=step, extra=padded(m))

    def prediction(self, order: int, outside: int) -> Span:
        """The inputs of a network with linear prediction, whose coefficients are behind `outside` others."""
        return self.add(Op.PREDICT, self.span(3), n=order, m=outside)

    def _embedding(self) -> tuple[float, float]:
        """u and v of an embedding u s + v; zeros where it has several numbers."""
        if self.output.width > 1 or self.output.classes == 1:
            return 0.0, 0.0
        low, high = self.output.embed(torch.tensor([0, 1]).to(self.output.dtype)).flatten().tolist()
        return high - low, low

    def draw_from(self, parameters: Span, step: int = 0) -> None:
        """The parameters of the next symbol; of variable i at i times step."""
        self.parameters, self.step = parameters, step

    # -- packing

    def code(self) -> Code:
        """The program with packed weights."""
        arrays = [array(matrix.t() if by_rows else matrix) for matrix, by_rows, *_ in self.matrices]
        packed, places, scales, position = [], [], [], 0
        for (_, by_rows, n, m), (values, scale) in zip(self.matrices, narrowed(arrays), strict=True):
            packed.append(in_rows(values.T, n) if by_rows else in_panels(values, n, m))
            scales.append(-1 if scale is None else self.constant(torch.from_numpy(scale)))
            places.append(position)
            position += packed[-1].size
        programs = {part: np.array(lines, np.int64).reshape(len(lines), 15) for part, lines in self.parts.items()}
        for line in itertools.chain(*programs.values()):
            if line[0] in (Op.PRODUCT, Op.DOT, Op.UNITS):
                number = line[9]
                line[9], line[11] = places[number], scales[number]
                if scales[number] < 0:
                    line[12] = 0
            line[6] += line[14] * self.cell
        return Code(
            **programs,
            width=self.width,
            channels=self.channels,
            cell=self.cell,
            table=np.array([*self.table, 0], np.int64),
            weights=np.concatenate(packed or [np.zeros(0, np.float32)]),
            constants=np.concatenate([np.zeros(0, np.float32), *self.constants]),
            places=self.places,
            parameters=self.parameters.offset,
            step=self.step,
            embedding=np.array(self._embedding(), np.float64),
        )
