"""The sampling loop. Sampling is a pure function of (model, context, sampling, noise).

The plain loop, `Model.step` and `Output.draw` in turn, works for every model. A compiled sampler (seqgen.engine) takes
its place where there is one for the request, and draws the same symbols.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqgen import engine
from seqgen.config import SeqgenError
from seqgen.engine import Choice, Request, Sampler, Unsupported
from seqgen.model import Context, Model
from seqgen.output import PLAIN, Sampling

BLOCK = 64
"""Columns of noise that are drawn at once."""
FIRST = 16
"""Symbols of the first chunk of a compiled sampler."""
SECONDS = 0.05
"""About the time of the later chunks: long enough to cost nothing, short enough to play while they are drawn."""
GROWTH = 64
"""How many times as long as a chunk the next one may be; the first ones need not tell the time of the others."""
LARGEST = 1 << 14
"""Symbols of a chunk at most."""


class Key:
    """The key of a generator as its seed sequence: with `Philox(key=...)` numpy asks the system for a seed first.

    It is registered as an ISeedSequence at its first use, since importing numpy.random takes time.
    """

    def __init__(self, *words: int) -> None:
        self.words = np.array(words, np.uint64)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> np.ndarray:
        """The key."""
        return self.words


class Noise:
    """Uniform noise (B, T) in [0, 1), float64, a pure function of (seed, row, position), in blocks of columns.

    Row b is the sequence of doubles of numpy's counter-based generator Philox with the key (seed, b), so it depends
    neither on the number of rows nor on the length.

    Args:
        batch: B, the number of rows.
        length: T, the number of columns.
        seed: From 0 to 2^64 - 1.
        first: The number of the first row.
    """

    def __init__(self, batch: int, length: int, seed: int, first: int = 0) -> None:
        np.random.bit_generator.ISeedSequence.register(Key)
        keys: list[Any] = [Key(seed, row) for row in range(first, first + batch)]  # of a type that stubs leave out
        self._rows = [np.random.Generator(np.random.Philox(key)) for key in keys]
        self.shape = batch, length
        self._left = length

    def take(self, columns: int) -> Tensor:
        """The next columns (B, n), n less than asked for at the end."""
        columns = min(columns, self._left)
        self._left -= columns
        return torch.from_numpy(np.stack([row.random(columns) for row in self._rows]))


class GivenNoise:
    """Noise (B, T) from a tensor."""

    def __init__(self, noise: Tensor) -> None:
        self._rest, self.shape = noise.cpu(), (noise.shape[0], noise.shape[1])

    def take(self, columns: int) -> Tensor:
        """The next columns (B, n), n less than asked for at the end."""
        taken, self._rest = self._rest[:, :columns], self._rest[:, columns:]
        return taken


def draw_noise(batch: int, length: int, seed: int) -> Tensor:
    """All of `Noise` (B, T) at once."""
    return Noise(batch, length, seed).take(length)


@torch.inference_mode()
def chunks(
    model: Model,
    noise: Noise | Tensor,
    sampling: Sampling = PLAIN,
    context: Context | None = None,
    prompt: Tensor | None = None,
    end: int | None = None,
    loop: Choice = "auto",
    report: Callable[[str], None] | None = None,
) -> Iterator[Tensor]:
    """Symbols (B, n) chunk by chunk, until noise (B, T) ends or every row holds the symbol `end`.

    A prompt (B, S), of any length, is taken in by one `step`. `loop` says which loop draws, `report` is told which it
    was, and why. Chunks of the plain loop are one symbol long; those of a compiled sampler take about a twentieth of a
    second. Memory does not grow with the number of symbols drawn. Raises SeqgenError where a compiled sampler is asked
    for and there is none.
    """
    source = GivenNoise(noise) if isinstance(noise, Tensor) else noise
    batch, length = source.shape
    if loop not in engine.CHOICES:
        raise SeqgenError(f"engine is {loop!r}, expected one of {', '.join(engine.CHOICES)}")
    if not length:  # the prompt may be the whole item
        return
    parameters, state = model.start(batch, context)
    known = 0 if prompt is None else prompt.shape[1]
    if prompt is not None and known:
        rows, state = model.step(prompt.to(model.device), state, context)
        parameters = rows[:, -1]
    request = Request(sampling, context, parameters, state, known, length, end)
    sampler, why = _sampler(model, request, loop)
    if report is not None:
        report(why)
    yield from _plain(model, source, request) if sampler is None else _compiled(sampler, source)


def columns(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Symbols (B,), one position after the other, of chunks (B, n)."""
    for chunk in chunks:
        yield from chunk.unbind(1)


def sample(
    model: Model,
    noise: Noise | Tensor,
    sampling: Sampling = PLAIN,
    context: Context | None = None,
    prompt: Tensor | None = None,
    end: int | None = None,
    watch: Callable[[int, int], None] | None = None,
    loop: Choice = "auto",
    report: Callable[[str], None] | None = None,
) -> Tensor:
    """Symbols (B, T) without the prompt; T is shorter than the noise once every row holds the symbol `end`.

    The arguments are those of `chunks`; `watch` is called with the number of symbols drawn so far and the largest
    number that may be drawn. What follows the end symbol in a row has no meaning.
    """
    batch, length = noise.shape
    symbols = torch.empty(batch, length, dtype=model.output.dtype, device=model.device)
    drawn = 0
    for chunk in chunks(model, noise, sampling, context, prompt, end, loop, report):
        symbols[:, drawn : drawn + chunk.shape[1]] = chunk
        drawn += chunk.shape[1]
        if watch is not None:
            watch(drawn, length)
    return symbols[:, :drawn]


def _sampler(model: Model, request: Request, loop: Choice) -> tuple[Sampler | None, str]:
    """A compiled sampler or None, and which loop that is, and why."""
    if loop == "plain":
        return None, "plain loop, as asked for"
    import seqgen.engines  # noqa: F401, it takes half a second, and registers the samplers

    try:
        return engine.sampler(model, request), "compiled"
    except Unsupported as error:
        if loop == "compiled":
            raise SeqgenError(f"engine is 'compiled', expected auto or plain: {error}") from None
        return None, f"plain loop: {error}"


def _compiled(sampler: Sampler, source: Noise | GivenNoise) -> Iterator[Tensor]:
    columns = FIRST
    while True:
        noise = source.take(columns)
        if not noise.shape[1]:
            return
        began = time.perf_counter()
        chunk = sampler.draw(noise)
        took = time.perf_counter() - began
        if chunk.shape[1]:
            yield chunk
        if chunk.shape[1] < noise.shape[1]:
            return
        columns = int(min(max(1, columns * SECONDS / max(1e-9, took)), GROWTH * columns, LARGEST))


def _plain(model: Model, source: Noise | GivenNoise, request: Request) -> Iterator[Tensor]:
    sampling, context, parameters, state, _, length, end = request
    ended = torch.zeros(len(parameters), dtype=torch.bool, device=model.device)
    drawn = 0
    while drawn < length:
        for noise in source.take(BLOCK).to(model.device).unbind(1):
            x = model.output.draw(parameters, noise, sampling)
            yield x.unsqueeze(1)
            drawn += 1
            if end is not None:
                ended |= x == end
                if bool(ended.all()):
                    return
            if drawn < length:
                rows, state = model.step(x.unsqueeze(1), state, context)
                parameters = rows.squeeze(1)
