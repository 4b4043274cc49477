"""Running a program: its memory, filled with a state of the plain loop, and the draws."""

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqgen.engine import Request, Sampler
from seqgen.engines import draws
from seqgen.engines.kernel import run
from seqgen.engines.program import Program, Span
from seqgen.model import Model
from seqgen.output import diverged

AHEAD = 256
"""Symbols whose inputs from outside are computed at once."""
MARGIN = 64
"""Floats behind the memory of a row, which a vector may be read from beyond the last number."""


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

    def next_parameters(self, request: Request) -> Tensor:
        """The parameters (B, P) of the next symbol, before `moves`."""
        return request.parameters

    def outside(self, request: Request) -> Callable[[int, int], Tensor] | None:
        """A function that gives the inputs (B, n, E) of n steps from one on, for programs with FETCH; else None."""
        return None


class Running(Sampler):
    """A program at work on the B sequences of a request.

    `moves` (B, 2 or more), float64, begins with a shift and a scale of the next symbol; see `kernel.run`.
    """

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
        self.moves = np.repeat([[0.0, 1.0]], batch, 0)
        layout.fill(self, request)
        if not code.width:
            place = int(code.places[min(request.time, len(code.places) - 1)])
            self.set(Span(code.parameters + code.step * place, size), layout.next_parameters(request))

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
            self._pending, self._last, outside, self.moves, self._how, noise.contiguous().numpy(), self._end, symbols,
            given,
        )  # fmt: skip
        if self._count < 0:
            raise diverged("probability")
        if drawn:
            self._time += drawn - (not self._pending)
            self._pending = True
        return torch.from_numpy(symbols[:, :drawn]).to(self._dtype)
