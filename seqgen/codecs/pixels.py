"""Images."""

import itertools
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import UnknownSymbol
from seqgen.codecs.vectors import Vectors
from seqgen.config import SeqgenError, WrongType

WHITE = 255
"""The largest 8-bit grey value, white."""


class Pixels(Vectors):
    """Images of one size in raster order: row by row from the upper left, the channels R, G, B of each pixel in turn.

    A symbol is one of L levels. A value v from 0 to 255 is quantised to the nearest level k = `round((L - 1) v / 255)`,
    and level k decodes to `round(255 k / (L - 1))`. So `decode(encode(x))` is x if x was itself decoded from symbols,
    and differs from x by at most `127.5 / (L - 1) + 0.5` otherwise.

    With `drawn`, for models whose training data was binarized at random, a pixel is white with probability v / 255
    instead. The random numbers are seeded by the image, so the same image always gets the same pixels; black and white
    pixels do not change.

    An item is one of
    - an array or tensor (H, W) or (H, W, C): integers 0 to 255, bools, or floats with white at 1; with two levels, an
      integer array whose maximum is at most 1 holds levels;
    - a PIL image, composited onto white where it is transparent;
    - the path of an image file.

    In a partial item (`partial`), rows are missing at the bottom, or the unknown pixels are masked in a `numpy.ma`
    array or fully transparent.

    Args:
        height: H, rows.
        width: W, columns.
        channels: C, 1 for greyscale or 3 for RGB.
        levels: L, 2 to 256.
        drawn: Whether values are binarized at random instead of rounded; needs two levels.

    >>> codec = Pixels(2, 2, levels=2)
    >>> codec.encode(np.array([[0, 200], [255, 100]])).tolist()
    [0, 1, 1, 0]
    """

    modality = "image"
    unit = "image"
    learns = False

    def __init__(self, height: int, width: int, channels: int = 1, levels: int = 256, drawn: bool = False) -> None:
        for name, value in (("height", height), ("width", width)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SeqgenError(f"{name} is {value!r}, expected a whole number of 1 or more")
        if channels not in (1, 3) or isinstance(channels, bool):
            raise SeqgenError(f"channels is {channels!r}, expected 1 or 3")
        if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= 256:
            raise SeqgenError(f"levels is {levels!r}, expected a whole number from 2 to 256")
        if drawn and levels != 2:
            raise SeqgenError(f"levels is {levels!r}, expected 2 with drawn=True")
        self.height, self.width, self.channels, self.size, self.drawn = height, width, channels, levels, drawn
        self.shape = height, width, channels
        self.length = height * width * channels

    def quantize(self, values: np.ndarray) -> np.ndarray:
        """Levels, uint8, of values 0 ... 255."""
        levels: np.ndarray = np.rint(values.astype(np.float32) * ((self.levels - 1) / WHITE)).astype(np.uint8)
        return levels

    @property
    def levels(self) -> int:
        """L."""
        assert self.size is not None
        return self.size

    def encode(self, item: Any) -> Tensor:
        """Symbols (D,). Raises UnknownSymbol for another size, and with the position of a value out of range."""
        values = self._values(item)
        if len(values) != self.height or np.ma.is_masked(values):
            raise UnknownSymbol(f"got a part of an image, expected all {self.height} rows and no masked pixels")
        return self._symbols(np.ma.getdata(values))

    def partial(self, item: Any) -> tuple[Tensor, Tensor]:
        """Positions (S,) and symbols (S,) of the known pixels."""
        values = self._values(item, part=True)
        known = ~np.ma.getmaskarray(values).reshape(-1)
        return torch.from_numpy(np.flatnonzero(known)), self._symbols(np.ma.getdata(values))[torch.from_numpy(known)]

    def _symbols(self, values: np.ndarray) -> Tensor:
        if self.drawn:
            values = binarized(values, np.random.default_rng(zlib.crc32(values.astype(np.float32).tobytes())))
        return torch.from_numpy(self.quantize(values).reshape(-1).astype(np.int64))

    def _values(self, item: Any, part: bool = False) -> np.ndarray:
        """Values 0 to 255 (h, W, C), possibly masked; h is H, or less for a part of an image."""
        values = self._array(item, part)
        if values.ndim == 2:
            values = values[:, :, None]
        expected = (self.height, self.width, self.channels)
        if values.ndim != 3 or values.shape[1:] != expected[1:] or len(values) > self.height:
            raise UnknownSymbol(
                f"got an image of shape {values.shape}, expected (height, width, channels) = {expected}"
            )
        wrong = np.ma.getdata(~((values >= 0) & (values <= WHITE))) & ~np.ma.getmaskarray(values)
        if wrong.any():
            row, column, channel = np.argwhere(wrong)[0]
            raise UnknownSymbol(
                f"row {row}, column {column}, channel {channel} is {values[row, column, channel]}, expected black at 0 "
                f"and white at {WHITE}, or at 1 in floats"
            )
        return values

    def _array(self, item: Any, part: bool) -> np.ndarray:
        if isinstance(item, str | os.PathLike):
            return read(Path(item), self.channels, part)
        if isinstance(item, Tensor):
            item = item.detach().cpu().numpy()
        if not isinstance(item, np.ndarray):
            item = _converted(item, self.channels, part)
        if item.dtype.kind not in "buif":
            raise WrongType(f"got an array of {item.dtype}, expected an image: an array of numbers, or a path")
        bits = item.dtype.kind in "ui" and self.levels == 2 and int(np.ma.getdata(item).max(initial=0)) <= 1
        values: np.ndarray = item * np.float32(WHITE) if bits or item.dtype.kind in "bf" else item
        return values

    def decode(self, symbols: Tensor) -> np.ndarray:
        """An image uint8 (H, W) or (H, W, 3) of symbols (D,)."""
        wrong = (symbols < 0) | (symbols >= self.levels)
        if bool(wrong.any()):
            place = int(wrong.int().argmax())
            raise SeqgenError(f"got symbol {symbols[place]} at position {place}, expected 0 .. {self.levels - 1}")
        if len(symbols) != self.length:
            raise SeqgenError(f"got {len(symbols)} symbols, expected {self.length}")
        values = np.rint(symbols.detach().cpu().numpy() * (WHITE / (self.levels - 1))).astype(np.uint8)
        return values.reshape((self.height, self.width, 3) if self.channels == 3 else (self.height, self.width))

    def stream(self, symbols: Iterable[Any]) -> Iterator[np.ndarray]:
        """Rows uint8 (1, W) or (1, W, 3), from the top."""
        source, count = iter(symbols), self.width * self.channels
        strip = Pixels(1, self.width, self.channels, self.levels)
        while row := list(itertools.islice(source, count)):
            yield strip.decode(torch.tensor(row))

    def names(self, symbols: Tensor) -> list[str]:
        """The levels as text."""
        return [str(symbol) for symbol in symbols.tolist()]

    def fit(self, items: Iterable[Any]) -> Self:
        """The codec itself; it has nothing to fit."""
        return self


def binarized(values: np.ndarray, random: "np.random.Generator") -> np.ndarray:
    """Values (...) from 0 to 255 drawn as 0 or 255, uint8 (...): 255 with probability value / 255."""
    drawn: np.ndarray = (random.random(values.shape, np.float32) * WHITE < values).astype(np.uint8) * WHITE
    return drawn


def read(path: Path, channels: int | None, part: bool = False) -> np.ndarray:
    """The image in a file: uint8 (H, W) or (H, W, 3). Raises UnknownSymbol for a file that is not an image.

    `channels` is 1 or 3; None keeps greyscale images greyscale and makes all others RGB. With `part`, fully
    transparent pixels are masked; otherwise transparency is composited onto white.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return _converted(picture, channels, part)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise UnknownSymbol(f"{path} cannot be read as an image: {error}") from None


def _converted(picture: Any, channels: int | None, part: bool = False) -> np.ndarray:
    """A PIL image as `read` returns it, with its EXIF orientation applied. Raises WrongType for anything else."""
    from PIL import Image, ImageOps

    if not isinstance(picture, Image.Image):
        raise WrongType(f"got {picture!r:.60} of type {type(picture).__name__}, expected an image: an array or a path")
    picture = ImageOps.exif_transpose(picture)
    if part and picture.has_transparency_data:
        values, clear = _converted(picture, channels), np.asarray(picture.convert("RGBA"))[..., 3] == 0
        return np.ma.masked_array(values, clear if values.ndim == 2 else np.repeat(clear[:, :, None], 3, 2))
    if picture.mode in ("F", "I") or picture.mode.startswith("I;"):
        picture = Image.fromarray(_eight_bits(np.asarray(picture), picture.mode))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = _grey_if_it_is(picture) if channels is None else picture
    elif picture.mode == "P" and channels is None:
        picture = _grey_if_it_is(picture)
    grey = picture.mode in ("1", "L") if channels is None else channels == 1
    return np.asarray(picture.convert("L" if grey else "RGB"))


def _eight_bits(values: np.ndarray, mode: str) -> np.ndarray:
    """Values 0 to 255 (uint8) of 16-bit values 0 to 65535, or floats 0 to 1; Pillow's own conversion clips them."""
    most = 1 if mode == "F" else 65535
    if not (values.min(initial=0) >= 0 and values.max(initial=0) <= most):
        raise SeqgenError(f"got values from {values.min()} to {values.max()}, expected 0 to {most}")
    found: np.ndarray = np.rint(values.astype(np.float64) * (WHITE / most)).astype(np.uint8)
    return found


def _grey_if_it_is(picture: Any) -> Any:
    colours = np.asarray(picture.convert("RGB"))
    return picture.convert("L" if (colours == colours[..., :1]).all() else "RGB")
