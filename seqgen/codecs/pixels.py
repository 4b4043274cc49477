"""Pictures."""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import UnknownSymbol
from seqgen.codecs.vectors import Vectors

GREY = 255
"""White, in pictures."""


class Pixels(Vectors):
    """A picture of one size, pixel after pixel from the upper left, row by row, of each pixel red, green and blue.

    A symbol is one of L levels, the one nearest to a value v of 0 ... 255: `round((L - 1) v / 255)`. Decoded it is
    `round(255 k / (L - 1))`, so `decode(encode(x))` is x if x was decoded, and within `127.5 / (L - 1) + 0.5` of it
    otherwise.

    An item is an array (H, W) or (H, W, C) of whole numbers 0 ... 255, of bools, or of floats with white at 1; or a
    picture as Pillow has it; or the path of one. In a part of an item rows lack at the bottom, or pixels are masked in
    a `numpy.ma` array.

    Args:
        height: H, rows.
        width: W, columns.
        channels: C, 1 for grey or 3 for red, green and blue.
        levels: L, 2 to 256.

    >>> codec = Pixels(2, 2, levels=2)
    >>> codec.encode(np.array([[0, 200], [255, 100]])).tolist()
    [0, 1, 1, 0]
    """

    unit = "image"
    learns = False

    def __init__(self, height: int, width: int, channels: int = 1, levels: int = 256) -> None:
        for name, value in (("height", height), ("width", width)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}, expected a whole number of 1 or more")
        if channels not in (1, 3) or isinstance(channels, bool):
            raise ValueError(f"channels is {channels!r}, expected 1 or 3")
        if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= 256:
            raise ValueError(f"levels is {levels!r}, expected a whole number from 2 to 256")
        self.height, self.width, self.channels, self.size = height, width, channels, levels
        self.shape = height, width, channels
        self.length = height * width * channels

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Levels, uint8, of values 0 ... 255."""
        levels: np.ndarray = np.rint(values.astype(np.float32) * ((self.levels - 1) / GREY)).astype(np.uint8)
        return levels

    @property
    def levels(self) -> int:
        """L."""
        assert self.size is not None
        return self.size

    def encode(self, item: Any) -> Tensor:
        """Symbols (D,). Raises UnknownSymbol for another size and for values out of range, with their place."""
        values = self._values(item)
        if len(values) != self.height or np.ma.is_masked(values):
            raise UnknownSymbol(f"a part of a picture is given, expected all {self.height} rows and no pixel masked")
        return self._symbols(np.ma.getdata(values))

    def partial(self, item: Any) -> tuple[Tensor, Tensor]:
        """Places (S,) and symbols (S,) of the pixels that are known."""
        values = self._values(item)
        known = ~np.ma.getmaskarray(values).reshape(-1)
        return torch.from_numpy(np.flatnonzero(known)), self._symbols(np.ma.getdata(values))[torch.from_numpy(known)]

    def _symbols(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(self.quantize(values).reshape(-1).astype(np.int64))

    def _values(self, item: Any) -> np.ndarray:
        """Values 0 ... 255 (h, W, C), h <= H, maybe masked."""
        values = self._array(item)
        if values.ndim == 2:
            values = values[:, :, None]
        expected = (self.height, self.width, self.channels)
        if values.ndim != 3 or values.shape[1:] != expected[1:] or len(values) > self.height:
            raise UnknownSymbol(f"a picture is {values.shape}, expected (height, width, channels) = {expected}")
        wrong = np.ma.getdata(~((values >= 0) & (values <= GREY))) & ~np.ma.getmaskarray(values)
        if wrong.any():
            row, column, channel = np.argwhere(wrong)[0]
            raise UnknownSymbol(
                f"row {row}, column {column}, channel {channel} is {values[row, column, channel]}, expected black at 0 "
                f"and white at {GREY}, or at 1 in floats"
            )
        return values

    def _array(self, item: Any) -> np.ndarray:
        if isinstance(item, str | os.PathLike):
            return read(Path(item), self.channels)
        if isinstance(item, Tensor):
            item = item.detach().cpu().numpy()
        if not isinstance(item, np.ndarray):
            item = np.asarray(_converted(item, self.channels))
        if item.dtype.kind not in "buif":
            raise TypeError(f"got an array of {item.dtype}, expected a picture: numbers, or a path")
        values: np.ndarray = item if item.dtype.kind in "ui" else item * np.float32(GREY)
        return values

    def decode(self, symbols: Tensor) -> np.ndarray:
        """A picture uint8 (H, W), or (H, W, 3), of symbols (D,)."""
        wrong = (symbols < 0) | (symbols >= self.levels)
        if bool(wrong.any()):
            place = int(wrong.int().argmax())
            raise ValueError(
                f"symbol {symbols[place]} at position {place} is no level, expected 0 .. {self.levels - 1}"
            )
        if len(symbols) != self.length:
            raise ValueError(f"got {len(symbols)} symbols, expected {self.length}")
        values = np.rint(symbols.detach().cpu().numpy() * (GREY / (self.levels - 1))).astype(np.uint8)
        return values.reshape((self.height, self.width, 3) if self.channels == 3 else (self.height, self.width))

    def stream(self, symbols: Iterable[Any]) -> Iterator[np.ndarray]:
        """Row after row, (1, W) or (1, W, 3)."""
        source, count = iter(symbols), self.width * self.channels
        strip = Pixels(1, self.width, self.channels, self.levels)
        while row := list(itertools.islice(source, count)):
            yield strip.decode(torch.tensor(row))

    def names(self, symbols: Tensor) -> list[str]:
        """The levels."""
        return [str(symbol) for symbol in symbols.tolist()]

    def fit(self, items: Iterable[Any]) -> Self:
        """The codec itself: there is nothing to learn."""
        return self


def read(path: Path, channels: int) -> np.ndarray:
    """The picture in a file, uint8 (H, W) or (H, W, 3). Raises UnknownSymbol for what is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.asarray(_converted(picture, channels))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as error:
        raise UnknownSymbol(f"{path} is no picture that can be read: {error}") from None


def _converted(picture: Any, channels: int) -> Any:
    if not hasattr(picture, "convert"):
        raise TypeError(f"got {picture!r:.60} of type {type(picture).__name__}, expected a picture: an array or a path")
    return picture.convert("RGB" if channels == 3 else "L")
