"""Several pictures as one."""

import io
import math
from collections.abc import Sequence

import numpy as np

from seqgen.config import SeqgenError

BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bits of the dots of a letter, from U+2800 on."""
GAP = 2
"""Pixels between pictures."""


def grid(pictures: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Pictures uint8 (H, W) or (H, W, 3) side by side, row after row, as square as can be unless told."""
    if not pictures:
        raise SeqgenError("got no pictures, expected some")
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    height, width, *channels = pictures[0].shape
    rows = -(-len(pictures) // columns)
    whole = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *channels), 128, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (height + GAP) * (place // columns), (width + GAP) * (place % columns)
        whole[top : top + height, left : left + width] = picture
    return whole


def dots(pictures: Sequence[np.ndarray]) -> str:
    """Pictures side by side as lines of braille, two pixels wide and four high a letter; what is light is a dot."""
    rows = zip(*(_braille(picture) for picture in pictures), strict=True)
    return "\n".join(" ".join(row) for row in rows)


def _braille(picture: np.ndarray) -> list[str]:
    light = picture.reshape(*picture.shape[:2], -1).mean(2) >= 128
    height, width = (side + -side % unit for side, unit in zip(light.shape, (4, 2), strict=True))
    whole = np.zeros((height, width), np.int64)
    whole[: light.shape[0], : light.shape[1]] = light
    cells = whole.reshape(height // 4, 4, width // 2, 2).transpose(0, 2, 1, 3)
    return ["".join(map(chr, row)) for row in (0x2800 + (cells * BRAILLE).sum((2, 3))).tolist()]


def png(picture: np.ndarray, scale: int = 1) -> bytes:
    """A picture uint8 (H, W) or (H, W, 3) as a PNG file, every pixel `scale` wide."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(file, "PNG")
    return file.getvalue()
