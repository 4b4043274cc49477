"""Sound as symbols, one a sample."""

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
"""The most that an array may have; more are taken for samples in the wrong order."""


class Sound(Codec):
    """Mono sound, one symbol a sample; implementations say how a sample becomes a symbol, and back.

    An item is a path (read, mixed down, resampled), a Clip (resampled), or floats (N,) or (N, channels) at the codec's
    own rate, in an array or a tensor. Of an array `decode(encode(x))` is x, mixed down, within the implementation's
    bound. An empty array has no symbols; a file without samples is refused.

    Args:
        rate: Samples a second, Hz.
    """

    learns = False
    modality = "sound"
    unit = "second"

    def __init__(self, rate: int) -> None:
        if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
            raise SeqgenError(f"rate is {rate!r}, expected a whole number of samples a second, 1 or more")
        self.rate = rate
        self.usual_length = rate

    @abstractmethod
    def quantize(self, samples: np.ndarray) -> Tensor:
        """Symbols (N,) of finite samples (N,) float32, each of one sample alone."""

    @abstractmethod
    def amplitude(self, symbols: Tensor) -> np.ndarray:
        """Samples (N,) float32 of symbols (N,), the end not among them. Raises SeqgenError for what is no symbol."""

    def samples(self, item: Any) -> np.ndarray:
        """The samples (N,) float32 of an item, mono, at `rate`.

        Raises AudioError for a file that cannot be used and for NaN and infinities, with their place; TypeError for
        what is no sound, integers among it, whose full scale is anybody's guess.
        """
        return np.concatenate([np.zeros(0, np.float32), *self._blocks(item)])

    def _blocks(self, item: Any) -> Iterator[np.ndarray]:
        if isinstance(item, str | os.PathLike):
            return audio.blocks(item, self.rate)
        if isinstance(item, Clip):
            return iter([audio.resample(_mono(item.samples), item.rate, self.rate)])
        return iter([_mono(item)])

    def encode(self, item: Any) -> Tensor:
        """Symbols (N,). Raises what `samples` raises."""
        return self.quantize(self.samples(item))

    def decode(self, symbols: Tensor) -> Clip:
        """The clip at `rate`, up to the first end symbol. Raises SeqgenError for what is no symbol, with its place."""
        ends = (symbols == self.end).nonzero() if self.end is not None else symbols[:0]
        return Clip(self.amplitude(symbols[: int(ends[0])] if len(ends) else symbols), self.rate)

    def stream(self, symbols: Iterable[Any]) -> Iterator[Clip]:
        """Clips of at most 20 ms, or of one sample where that is longer; nothing is read beyond the end symbol."""
        source = itertools.takewhile(lambda symbol: symbol != self.end, symbols)
        while block := list(itertools.islice(source, max(1, self.rate // 50))):
            yield self.decode(torch.tensor(block))

    def pieces(self, items: Iterable[Any]) -> Iterator[Tensor]:
        """Symbols piece by piece, those of a file as it is read; every item is resampled by itself."""
        return (self.quantize(block) for item in items for block in self._blocks(item))

    def lengths(self, symbols: Tensor) -> Tensor:
        """Seconds (N,) float64: 1 / rate each, none for the end."""
        seconds = torch.full(symbols.shape, 1 / self.rate, dtype=torch.float64, device=symbols.device)
        return seconds if self.end is None else seconds.masked_fill(symbols == self.end, 0)

    def names(self, symbols: Tensor) -> list[str]:
        """The symbols' numbers, with six digits where they are no whole ones; `<end>` for the end."""
        return ["<end>" if symbol == self.end else f"{symbol:.6g}" for symbol in symbols.tolist()]

    def fit(self, items: Iterable[Any]) -> Self:
        """The codec itself: there is nothing to learn."""
        return self

    @property
    def fitted(self) -> bool:
        """Always."""
        return True


def levels(bits: object) -> int:
    """2^bits. Raises SeqgenError unless bits are 2 to 16."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 16:
        raise SeqgenError(f"bits is {bits!r}, expected a whole number from 2 to 16")
    return 1 << bits


def check_levels(symbols: Tensor, count: int) -> None:
    """Raises SeqgenError unless symbols (N,) are whole numbers below count."""
    if len(symbols) and symbols.is_floating_point():
        raise SeqgenError(f"got symbols of type {symbols.dtype}, expected whole numbers below {count}")
    wrong = (symbols < 0) | (symbols >= count)
    if wrong.any():
        place = int(wrong.int().argmax())
        raise SeqgenError(f"symbol {symbols[place]} at position {place} stands for no sound, expected 0 .. {count - 1}")


def _mono(item: Any) -> np.ndarray:
    """Samples (N,) float32 of an array or a tensor (N,) or (N, channels)."""
    if isinstance(item, Tensor):
        item = item.detach().cpu().float().numpy() if item.is_floating_point() else item.detach().cpu().numpy()
    if not isinstance(item, np.ndarray):
        kind = type(item).__name__
        raise WrongType(f"got {item!r:.60} of type {kind}, expected a sound: a path, a Clip or an array of samples")
    if item.dtype.kind != "f":
        raise WrongType(f"got samples of type {item.dtype}, expected floats, with full scale at 1")
    if item.ndim not in (1, 2) or (item.ndim == 2 and not 1 <= item.shape[1] <= CHANNELS):
        raise WrongType(f"got samples of shape {item.shape}, expected (N,) or (N, channels), {CHANNELS} at most")
    with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused below
        samples = item.astype(np.float32)
    audio.check_finite(samples, "sample")
    return samples if samples.ndim == 1 else samples.mean(1, dtype=np.float64).astype(np.float32)
