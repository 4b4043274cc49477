"""Pictures as HTML: a grid that grows, and how surprising each pixel is."""

import base64
from collections.abc import Sequence
from html import escape

import numpy as np

from seqgen.media import grid
from seqgen_app.image import Drawn

GROUND = 128
"""The grey of what is not drawn yet, and between pictures."""
GIVEN = np.array([0.55, 0.75, 1.0])
"""The tint of rows that were given."""
RAMP = np.array([[12, 18, 38], [96, 46, 96], [217, 85, 57], [253, 186, 76], [255, 246, 214]], np.float64)
"""From no surprise to the most."""
WIDE = 420
"""Pixels of a page that a grid has at least, as far as whole ones go."""


def drawn_grid(drawn: Drawn, height: int) -> str:
    """All pictures side by side as far as they are drawn."""
    whole = grid.grid([_padded(picture, drawn.given, height) for picture in drawn.pictures])
    words = f"{len(drawn.pictures)} pictures, {len(drawn.pictures[0])} of {height} rows drawn"
    return f'<div class="canvas">{_image(whole, words, "grid")}</div>'


EMPTY = '<div class="canvas empty">The pictures appear here, row by row.</div>'


def _padded(picture: np.ndarray, given: int, height: int) -> np.ndarray:
    """In colours, with the rows that are not drawn yet in grey, and those that were given in blue."""
    colours = np.repeat(picture[:, :, None], 3, 2) if picture.ndim == 2 else picture
    whole = np.full((height, *colours.shape[1:]), GROUND, np.uint8)
    whole[: len(colours)] = colours
    whole[:given] = (whole[:given] * GIVEN).astype(np.uint8)
    return whole


def surprise(picture: np.ndarray, bits: np.ndarray) -> str:
    """A picture as the model sees it, and beside it the surprise (H, W) of its pixels in bits."""
    most = max(float(bits.max()), 1e-9)
    heat = _coloured(bits.clip(0) / most)
    legend = f'<div class="legend"><span>0 bits</span><i class="ramp"></i><span>{most:.1f} bits</span></div>'
    parts = [
        _figure(_image(picture, "the picture as the model sees it", "grid"), "as the model sees it"),
        _figure(_image(heat, "a map of surprise", "grid heat"), f"how surprising each pixel is{legend}"),
    ]
    return f'<div class="pair">{"".join(parts)}</div>'


def _figure(inside: str, words: str) -> str:
    return f"<figure>{inside}<figcaption>{words}</figcaption></figure>"


def _coloured(values: np.ndarray) -> np.ndarray:
    """Colours uint8 (H, W, 3) of values 0 ... 1 (H, W)."""
    places = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(values, places, channel) for channel in RAMP.T], -1).astype(np.uint8)


def _image(pixels: np.ndarray, words: str, kind: str) -> str:
    data = base64.b64encode(grid.png(pixels, max(1, round(WIDE / pixels.shape[1])))).decode()
    return f'<img class="{kind}" alt="{escape(words, quote=True)}" src="data:image/png;base64,{data}">'


def ramp() -> str:
    """The colours of the map as CSS."""
    stops: Sequence[str] = [f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in RAMP]
    return f"linear-gradient(to right, {', '.join(stops)})"
