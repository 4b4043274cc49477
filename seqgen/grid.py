"""Several pictures as one."""

import io
import math
from collections.abc import Sequence

import numpy as np

GAP = 2
"""Pixels between pictures."""


def grid(pictures: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Pictures uint8 (H, W) or (H, W, 3) side by side, row after row, as square as can be unless told."""
    if not pictures:
        raise ValueError("got no pictures, expected some")
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    height, width, *channels = pictures[0].shape
    rows = -(-len(pictures) // columns)
    whole = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *channels), 128, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (height + GAP) * (place // columns), (width + GAP) * (place % columns)
        whole[top : top + height, left : left + width] = picture
    return whole


def png(picture: np.ndarray, scale: int = 1) -> bytes:
    """A picture uint8 (H, W) or (H, W, 3) as a PNG file, every pixel `scale` wide."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(file, "PNG")
    return file.getvalue()
