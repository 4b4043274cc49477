"""Programs for the compiled sampler: laying out memory, packing weights, and running."""

import itertools
import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from seqgen.engine import Request, Sampler, Unsupported
from seqgen.engines import draws
from seqgen.engines.kernel import Code, Op, run
from seqgen.engines.vectors import LANES
from seqgen.model import Model
from seqgen.nn.rounding import LEVELS
from seqgen.output import Output, diverged

PANEL = 64
FEW = 8
"""Columns that are looked at first."""
INT8_ERROR = 1e-4
"""The greatest deviation from a whole multiple of the scale, which is that of float32 for multiples up to 127."""
AHEAD = 64
"""Symbols whose inputs from outside are computed at once."""
MARGIN = 64
"""Floats behind the memory of a row, which a vector may be read from beyond the last number."""


class Span(NamedTuple):
    """Floats of a row's memory: an offset and a length, a multiple of 16."""

    offset: int
    length: int

    def part(self, start: int, length: int) -> "Span":
        """Some of it."""
        return Span(self.offset + start, length)


class Weights(NamedTuple):
    """Numbers in the narrowest type that holds them, and a scale (columns,) for int8, None for others."""

    values: np.ndarray
    scale: np.ndarray | None


def padded(length: int, unit: int = LANES) -> int:
    """The next multiple of a unit."""
    return -(-length // unit) * unit


def int8_scale(values: np.ndarray) -> np.ndarray | None:
    """Scales (m,) of which the columns (n, m) are multiples from -127 to 127, up to rounding; None if there are none.

    A column may be a part of one whose greatest weight is 127 times the scale, so every greatest multiple is tried.
    """
    greatest = np.abs(values).max(0)
    scale = np.ones_like(greatest)
    left = np.flatnonzero(greatest > 0)
    if len(left) > FEW and int8_scale(values[:, :FEW]) is None:
        return None  # at once, for weights that were not rounded
    for multiple in range(LEVELS, 0, -1):
        if not len(left):
            break
        tried = greatest[left] / np.float32(multiple)
        ratios = values[:, left] / tried
        fits = (np.abs(ratios - np.rint(ratios)) < INT8_ERROR).all(0)
        scale[left[fits]], left = tried[fits], left[~fits]
    return None if len(left) else scale


def narrowed(matrices: list[np.ndarray]) -> list[Weights]:
    """All matrices (n, m) in the narrowest type that holds them all; of int8 up to the rounding of float32."""
    scales = list(itertools.takewhile(lambda scale: scale is not None, map(int8_scale, matrices)))
    if len(scales) == len(matrices):
        pairs = zip(matrices, scales, strict=True)
        return [Weights(np.rint(matrix / scale).astype(np.int8), scale) for matrix, scale in pairs]
    if any((matrix.view(np.uint32) & 0xFFFF).any() for matrix in matrices):
        return [Weights(matrix, None) for matrix in matrices]
    return [Weights((matrix.view(np.uint32) >> 16).astype(np.uint16), None) for matrix in matrices]


def _array(value: Tensor) -> np.ndarray:
    array: np.ndarray = value.detach().to(torch.float32).contiguous().numpy()
    return array


class Program:
    """A model's step as a list of operations, with its weights; `Running` is a state of it.

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
            self.fixed.append((span, _flat(value)))
        return span

    def constant(self, value: Tensor, width: int | None = None) -> int:
        """The place of constants (..., width), every row padded; plain numbers for width None."""
        array = _flat(value)
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
            low, high = -1.0, 2 / max(1, self.output.width - 1) - 1
            if not scalar:
                low, high = self.output.embed(torch.tensor([0, 1]).to(self.output.dtype)).flatten().tolist()
            extra = self.constant(torch.tensor([high - low, low]))
            return self.add(Op.SCALED, y, **operands, c=c, c_step=padded(m) * (dimensions > 1), extra=extra)
        step = padded(m) * width * (dimensions > 1)
        return self.add(Op.LOOKUP, y, **operands, c=c, c_step=step, extra=padded(m))

    def draw_from(self, parameters: Span, step: int = 0) -> None:
        """The parameters of the next symbol; of variable i at i times step."""
        self.parameters, self.step = parameters, step

    # -- packing

    def code(self) -> Code:
        """The program with packed weights."""
        arrays = [_array(matrix.t() if by_rows else matrix) for matrix, by_rows, *_ in self.matrices]
        packed, places, scales, position = [], [], [], 0
        for (_, by_rows, n, m), (values, scale) in zip(self.matrices, narrowed(arrays), strict=True):
            packed.append(_by_rows(values.T, n) if by_rows else _in_panels(values, n, m))
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
        )


def _flat(value: Tensor) -> np.ndarray:
    return _array(value).reshape(-1)


def _in_panels(values: np.ndarray, n: int, m: int) -> np.ndarray:
    """A matrix (n, m), padded, as panels of 16 columns."""
    whole = np.zeros((n, m), values.dtype)
    whole[: values.shape[0], : values.shape[1]] = values
    return whole.reshape(n, -1, LANES).swapaxes(0, 1).reshape(-1)


def _by_rows(values: np.ndarray, n: int) -> np.ndarray:
    whole = np.zeros((values.shape[0], n), values.dtype)
    whole[:, : values.shape[1]] = values
    return whole.reshape(-1)


class Layout(ABC):
    """The program of a model, with its packed weights; `fill` writes a state of the plain loop to memory.

    It lives as long as its model, which it must not keep alive. Images have `beside` cells of zeros on either side.
    """

    def __init__(self, program: Program, beside: int = 0) -> None:
        self.program, self.code, self.beside = program, program.code(), beside

    @property
    def model(self) -> Any:
        """The model, which is known before the program is."""
        return self._model()

    @model.setter
    def model(self, model: Model) -> None:
        self._model = weakref.ref(model)

    @abstractmethod
    def fill(self, memory: "Running", request: Request) -> None:
        """Write the state of a request, and what is conditioned on, to the rows of memory."""

    def outside(self, request: Request) -> Callable[[int, int], Tensor] | None:
        """A function that gives the inputs (B, n, E) of n steps from one on, for programs with FETCH; else None."""
        return None


class Running(Sampler):
    """A program at work on the B sequences of a request."""

    def __init__(self, layout: Layout, request: Request) -> None:
        program, code = layout.program, layout.code
        batch, size = request.parameters.shape
        self._code, self._dtype = code, program.output.dtype
        self._how = draws.prepare(program.output, request.sampling)
        cells = code.width + 2 * layout.beside if code.width else 1
        self._memory = np.zeros((batch, code.cell * cells + MARGIN), np.float32)
        self._cells = self._memory[:, : code.cell * cells].reshape(batch, cells, -1)
        self._cells = self._cells[:, layout.beside : layout.beside + max(1, code.width)]
        for span, value in program.fixed:
            self._cells[..., span.offset : span.offset + value.size] = value
        self._base = np.arange(batch, dtype=np.int64) * self._memory.shape[1] + layout.beside * code.cell
        self._rows, self._last = np.arange(batch, dtype=np.int64), np.zeros(batch)
        self._wide = np.zeros(batch * code.width, np.int64)
        self._count, self._time, self._pending = batch, request.time, False
        self._end = math.nan if request.end is None else float(request.end)  # which no symbol equals
        self._outside = layout.outside(request)
        layout.fill(self, request)
        if not code.width:
            place = int(code.places[min(request.time, len(code.places) - 1)])
            self.set(Span(code.parameters + code.step * place, size), request.parameters)

    def set(self, span: Span, value: Tensor) -> None:
        """Write (B, length) or (length,) numbers to a span of every row, of images to all cells."""
        value = value.detach().float()
        self._cells[..., span.offset : span.offset + value.shape[-1]] = value.view(*value.shape[:-1], 1, -1).numpy()

    def replay(self, symbols: Tensor) -> None:
        """Take in the first symbols (B, S) of images, from the first pixel on."""
        self._time, self._pending = -1, True
        if symbols.shape[1]:
            self._run(symbols.double(), symbols.double().numpy().copy(), True)

    def draw(self, noise: Tensor) -> Tensor:
        """The next symbols (B, n) at noise (B, n)."""
        if self._outside is None or noise.shape[1] <= AHEAD:
            values = noise
            if self._how.kind == draws.GAUSSIANS:
                values = torch.special.ndtri(noise.clamp(2**-54, 1 - 2**-53))
            return self._run(values, np.full(noise.shape, self._end), False)
        parts = []
        for columns in torch.split(noise, AHEAD, 1):
            parts.append(self.draw(columns))
            if parts[-1].shape[1] < columns.shape[1]:
                break
        return torch.cat(parts, 1)

    def _run(self, noise: Tensor, symbols: np.ndarray, given: bool) -> Tensor:
        outside = np.zeros((1, 1, 1), np.float32)
        if self._outside is not None:
            first = self._time + 1 - (not self._pending)
            outside = self._outside(first, noise.shape[1]).detach().float().contiguous().numpy()
        self._count, drawn = run(
            self._code, self._memory.reshape(-1), self._base, self._rows, self._count, self._wide, self._time,
            self._pending, self._last, outside, self._how, noise.contiguous().numpy(), self._end, symbols, given,
        )  # fmt: skip
        if self._count < 0:
            raise diverged("probability")
        if drawn:
            self._time += drawn - (not self._pending)
            self._pending = True
        return torch.from_numpy(symbols[:, :drawn]).to(self._dtype)


KEPT = 4
"""Layouts of a model that are kept, one for each order of its variables."""
CHECKED = 4
"""Rows and symbols that a new layout draws beside the plain loop."""
NEAR = 1e-5
"""How near to the boundary between two symbols noise may lie to fall either way."""
_LAYOUTS: WeakKeyDictionary[Model, tuple[Any, dict[bytes, Layout | None]]] = WeakKeyDictionary()


def start(model: Model, request: Request, build: Callable[[], Layout], key: bytes = b"") -> Running:
    """A sampler of a model, whose layout is built where the last one of that key is of other weights.

    Raises Unsupported for a layout that does not agree with the plain loop.
    """
    stamp = [_stamp(tensor) for tensor in (*model.parameters(), *model.buffers())]
    known, layouts = _LAYOUTS.get(model, (None, {}))
    if stamp != known:
        layouts = {}
    if key not in layouts:
        layout = build()
        checked = layout if _agrees(layout, model, request) else None
        layouts = {**dict(list(layouts.items())[1 - KEPT :]), key: checked}
        _LAYOUTS[model] = stamp, layouts
    if (found := layouts[key]) is None:
        raise Unsupported(f"that for {type(model).__name__} does not agree with the plain loop on this machine")
    return Running(found, request)


def _stamp(tensor: Tensor) -> tuple[int, int, int]:
    """The place of a tensor and the sum of its bits: fused optimizers change weights without a new version."""
    flat = tensor.detach().reshape(-1)
    if flat.storage_offset() % 2:
        flat = flat.clone()
    pairs = flat[: len(flat) // 2 * 2].view(torch.int64)  # whose sum is ten times as fast as that of int32
    return tensor.data_ptr(), int(pairs.sum()), int(flat[len(flat) // 2 * 2 :].view(torch.int32).sum())


def _agrees(layout: Layout, model: Model, request: Request) -> bool:
    """Whether the first symbols of the first rows are those of the plain loop, or as near as rounding allows."""
    sampling, context, parameters, state, _, length, _ = request
    noise = torch.rand(
        len(parameters), min(length, CHECKED), dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    drawn = Running(layout, request._replace(end=None)).draw(noise)
    if drawn.shape != noise.shape:
        return False
    for column, (x, values) in enumerate(zip(drawn.unbind(1), noise.unbind(1), strict=True)):
        low, expected, high = (
            model.output.draw(parameters, (values + nudge).clamp(0, 1 - 2**-53), sampling).double()
            for nudge in (-NEAR, 0, NEAR)
        )
        slack = 1e-4 * (1 + expected.abs()) if model.output.classes is None else torch.zeros_like(expected)
        far = (x < low - slack) | (x > high + slack)
        if bool(far[:CHECKED].any()):
            return False
        if column + 1 == noise.shape[1] or not torch.allclose(x.double(), expected, rtol=1e-4, atol=1e-4):
            return True  # from here on the histories differ
        rows, state = model.step(x.unsqueeze(1), state, context)
        parameters = rows.squeeze(1)
    return True
