"""Images as HTML: a grid of images that are being sampled, and a map of the surprise of pixels."""

import base64
from html import escape

import numpy as np

from seqgen.media import grid
from seqgen_app.tabs.image_request import Images

UNSAMPLED = 128
"""The grey of rows that are not sampled yet."""
TINT = np.array([0.55, 0.75, 1.0])
"""The tint of given rows, red, green and blue."""
COLOURS = np.array([[12, 18, 38], [96, 46, 96], [217, 85, 57], [253, 186, 76], [255, 246, 214]], np.float64)
"""The colour map, from no surprise to the most."""
WIDTH = 420
"""Pixels of the page that an image is enlarged to, about."""
EMPTY = '<div class="canvas empty">The images appear here, row by row.</div>'


def image_grid(sampled: Images, height: int) -> str:
    """All images side by side as far as they are sampled."""
    whole = grid.grid([_padded(image, sampled.given, height) for image in sampled.images])
    description = f"{len(sampled.images)} images, {len(sampled.images[0])} of {height} rows sampled"
    return f'<div class="canvas">{_image(whole, description, "grid")}</div>'


def _padded(image: np.ndarray, given: int, height: int) -> np.ndarray:
    """In colour, uint8 (height, W, 3), with rows that are not sampled yet in grey and given rows tinted."""
    colours = np.repeat(image[:, :, None], 3, 2) if image.ndim == 2 else image
    whole = np.full((height, *colours.shape[1:]), UNSAMPLED, np.uint8)
    whole[: len(colours)] = colours
    whole[:given] = (whole[:given] * TINT).astype(np.uint8)
    return whole


def surprise_map(image: np.ndarray, bits: np.ndarray) -> str:
    """An image as the model reads it, and beside it the surprise (H, W) of its pixels in bits."""
    most = max(float(bits.max()), 1e-9)
    legend = f'<div class="legend"><span>0 bits</span><i class="ramp"></i><span>{most:.1f} bits</span></div>'
    parts = [
        _figure(_image(image, "the image as the model reads it", "grid"), "as the model reads it"),
        _figure(
            _image(coloured(bits.clip(0) / most), "surprise of each pixel", "grid map"),
            f"surprise of each pixel{legend}",
        ),
    ]
    return f'<div class="pair">{"".join(parts)}</div>'


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def coloured(values: np.ndarray) -> np.ndarray:
    """Colours uint8 (H, W, 3) of values 0 ... 1 (H, W)."""
    places = np.linspace(0, 1, len(COLOURS))
    return np.stack([np.interp(values, places, channel) for channel in COLOURS.T], -1).astype(np.uint8)


def _image(pixels: np.ndarray, description: str, kind: str) -> str:
    data = base64.b64encode(grid.png(pixels, max(1, round(WIDTH / pixels.shape[1])))).decode()
    return f'<img class="{kind}" alt="{escape(description, quote=True)}" src="data:image/png;base64,{data}">'


def ramp() -> str:
    """The colour map as a CSS gradient."""
    stops = [f"rgb({red:.0f} {green:.0f} {blue:.0f})" for red, green, blue in COLOURS]
    return f"linear-gradient(to right, {', '.join(stops)})"
