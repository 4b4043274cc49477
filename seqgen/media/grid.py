"""Grids of images, as one image or as text."""

import io
import math
from collections.abc import Sequence

import numpy as np

from seqgen.config import SeqgenError

BRAILLE = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bit of each dot (4 rows, 2 columns) of a braille character, added to U+2800."""
GAP = 2
"""Pixels between images."""


def grid(pictures: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Images uint8 (H, W) or (H, W, 3) of one size in a grid; without `columns`, about as many rows as columns."""
    if not pictures:
        raise SeqgenError("got no images, expected at least one")
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    height, width, *channels = pictures[0].shape
    rows = -(-len(pictures) // columns)
    whole = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *channels), 128, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (height + GAP) * (place // columns), (width + GAP) * (place % columns)
        whole[top : top + height, left : left + width] = picture
    return whole


def dots(pictures: Sequence[np.ndarray]) -> str:
    """Images side by side as text: a braille character for every 2 x 4 pixels, with a dot for each light pixel."""
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
    """An image uint8 (H, W) or (H, W, 3) as a PNG file, each pixel enlarged to `scale` x `scale`."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(file, "PNG")
    return file.getvalue()
