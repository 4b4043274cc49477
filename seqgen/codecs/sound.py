"""Audio as symbols."""

import itertools
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.config import SeqgenError, WrongType
from seqgen.media import audio
from seqgen.media.audio import Clip

CHANNELS = 64
"""Maximum channels of an array; a longer second axis probably means (channels, N) instead of (N, channels)."""


class Sound(Codec):
    """Mono audio; subclasses define how samples become symbols.

    An item is a path (read, mixed down to mono and resampled), a Clip (mixed down and resampled), or an array or tensor
    of floats (N,) or (N, channels) at the codec's own rate (mixed down). An empty array has no symbols; a file without
    samples raises AudioError.

    Args:
        rate: Sample rate, Hz.
        hop: Samples of a frame.
        frame: Symbols of a frame.
    """

    learns = False
    modality = "sound"
    unit = "second"

    def __init__(self, rate: int, hop: int = 1, frame: int = 1) -> None:
        if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
            raise SeqgenError(f"rate is {rate!r}, expected a whole number of samples a second, 1 or more")
        self.rate, self.hop, self.frame = rate, hop, frame
        self.usual_length = self.count(rate)

    def count(self, samples: Any) -> Any:
        """Symbols of as many samples, an int or an array of ints, without the end symbol; the last frame is padded."""
        return -(-samples // self.hop) * self.frame

    @property
    def symbol_rate(self) -> float:
        """Symbols a second."""
        return self.rate / self.hop * self.frame

    @abstractmethod
    def span(self, samples: np.ndarray, first: int, last: int) -> Tensor:
        """Symbols first .. last - 1 of a clip of samples (N,), which may be mapped to a file; fewer if it ends earlier.

        They are `encode(samples)[first:last]`, for which only the samples that matter are read.
        """

    def samples(self, item: Any) -> np.ndarray:
        """The samples (N,) float32 of an item, mono, at `rate`.

        Raises AudioError for a file that cannot be used, and for NaN and infinities, with their position. Raises
        WrongType for anything else, integer arrays included, because their full scale is ambiguous.
        """
        return np.concatenate([np.zeros(0, np.float32), *self.blocks(item)])

    def blocks(self, item: Any) -> Iterator[np.ndarray]:
        """`samples` in blocks (N_i,)."""
        if isinstance(item, str | os.PathLike):
            return audio.blocks(item, self.rate)
        if isinstance(item, Clip):
            return iter([audio.resample(_mono(item.samples), item.rate, self.rate)])
        return iter([_mono(item)])

    def until_end(self, symbols: Tensor) -> Tensor:
        """Symbols before the first end symbol."""
        ends = (symbols == self.end).nonzero() if self.end is not None else symbols[:0]
        return symbols[: int(ends[0])] if len(ends) else symbols

    def lengths(self, symbols: Tensor) -> Tensor:
        """Seconds (N,) float64: 1 / symbol_rate for each symbol, 0 for the end symbol."""
        seconds = torch.full(symbols.shape, 1 / self.symbol_rate, dtype=torch.float64, device=symbols.device)
        return seconds if self.end is None else seconds.masked_fill(symbols == self.end, 0)

    def names(self, symbols: Tensor) -> list[str]:
        """The symbols as numbers with up to six significant digits; `<end>` for the end symbol."""
        return ["<end>" if symbol == self.end else f"{symbol:.6g}" for symbol in symbols.tolist()]

    def fit(self, items: Iterable[Any]) -> Self:
        """The codec itself; it has nothing to fit."""
        return self

    @property
    def fitted(self) -> bool:
        """Always True."""
        return True


class Samples(Sound):
    """Mono audio, one symbol per sample; subclasses define the mapping between samples and symbols.

    For an array, `decode(encode(x))` is x mixed down, within the bound of the subclass.
    """

    @abstractmethod
    def quantize(self, samples: np.ndarray) -> Tensor:
        """Symbols (N,) of finite samples (N,) float32; each symbol depends on its own sample only."""

    @abstractmethod
    def amplitude(self, symbols: Tensor) -> np.ndarray:
        """Samples (N,) float32 of symbols (N,) without the end symbol. Raises SeqgenError for an invalid symbol."""

    def encode(self, item: Any) -> Tensor:
        """Symbols (N,). Raises what `samples` raises."""
        return self.quantize(self.samples(item))

    def span(self, samples: np.ndarray, first: int, last: int) -> Tensor:
        """Those of samples first .. last - 1."""
        return self.encode(np.array(samples[first:last]))

    def decode(self, symbols: Tensor) -> Clip:
        """The clip at `rate`, up to the first end symbol. Raises SeqgenError with the position of an invalid symbol."""
        return Clip(self.amplitude(self.until_end(symbols)), self.rate)

    def stream(self, symbols: Iterable[Any]) -> Iterator[Clip]:
        """Clips of 20 ms, or of one sample below 50 Hz; the last may be shorter. Stops reading at the end symbol."""
        source = itertools.takewhile(lambda symbol: symbol != self.end, symbols)
        while block := list(itertools.islice(source, max(1, self.rate // 50))):
            yield self.decode(torch.tensor(block))

    def pieces(self, items: Iterable[Any]) -> Iterator[Tensor]:
        """Symbols piece by piece; files are read block by block, and each item is resampled separately."""
        return (self.quantize(block) for item in items for block in self.blocks(item))


def levels(bits: object) -> int:
    """2^bits. Raises SeqgenError unless `bits` is an int from 2 to 16."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise SeqgenError(f"bits is {bits!r}, expected a whole number from 2 to 16")
    return 1 << bits


def check_levels(symbols: Tensor, count: int) -> None:
    """Raises SeqgenError unless symbols (N,) are integers from 0 to count - 1."""
    if len(symbols) and symbols.is_floating_point():
        raise SeqgenError(f"got symbols of type {symbols.dtype}, expected whole numbers below {count}")
    wrong = (symbols < 0) | (symbols >= count)
    if wrong.any():
        place = int(wrong.int().argmax())
        raise SeqgenError(f"got symbol {symbols[place]} at position {place}, expected 0 .. {count - 1}")


def _mono(item: Any) -> np.ndarray:
    """Mono samples (N,) float32 of an array or tensor (N,) or (N, channels)."""
    if isinstance(item, Tensor):
        item = item.detach().cpu().float().numpy() if item.is_floating_point() else item.detach().cpu().numpy()
    if not isinstance(item, np.ndarray):
        kind = type(item).__name__
        raise WrongType(f"got {item!r:.60} of type {kind}, expected audio: a path, a Clip or an array of samples")
    if item.dtype.kind != "f":
        raise WrongType(f"got samples of type {item.dtype}, expected floats, with full scale at 1")
    if item.ndim not in (1, 2) or (item.ndim == 2 and not 1 <= item.shape[1] <= CHANNELS):
        raise WrongType(f"got samples of shape {item.shape}, expected (N,) or (N, channels), {CHANNELS} at most")
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and raise below
        samples = item.astype(np.float32)
    audio.check_finite(samples, "sample")
    return samples if samples.ndim == 1 else samples.mean(1, dtype=np.float64).astype(np.float32)
