"""Drawing pictures, row by row, and reading those that a visitor hands in."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seqgen.codecs import Pixels
from seqgen_app.limits import Limits, Refused
from seqgen_app.shelf import Entry
from seqgen_app.text import new_seed

EVERY = 0.15
"""Seconds between two looks at pictures that are being drawn."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
NONE = "The picture is none that can be read: expected a PNG, JPEG, WebP, GIF or BMP file."


class Drawn(NamedTuple):
    """What there is so far of each picture, its upper rows, uint8 (h, W) or (h, W, 3); how many of them were given."""

    pictures: list[np.ndarray]
    given: int
    seed: int
    done: bool
    note: str


class Wish(NamedTuple):
    """What is asked of a model of pictures, checked; `prompt` are the rows that are given."""

    n: int
    label: dict[str, str]
    sampling: dict[str, Any]
    seed: int
    prompt: np.ndarray | None


def wish(
    entry: Entry,
    limits: Limits,
    n: Any = 1,
    label: Any = None,
    temperature: Any = 1.0,
    seed: Any = None,
    picture: Any = None,
    kept: Any = 0.5,
    invert: Any = False,
) -> Wish:
    """The wish; of a picture that is handed in, the share `kept` of the rows is given, from the top. Raises Refused."""
    n = limits.whole("How many", n, 1, limits.pictures)
    pixels, kept = entry.pixels, limits.number("The share that is kept", kept, 0, 1)
    rows = min(round(kept * pixels.height), pixels.height - 1)
    handed = None if picture is None else read(picture, pixels, limits, invert)
    prompt = None if handed is None or not rows else handed[:rows]
    return Wish(n, entry.label(label), limits.sampling(temperature), new_seed(limits.seed(seed)), prompt)


def draw(entry: Entry, limits: Limits, wished: Wish) -> Iterator[Drawn]:
    """The pictures as they grow, the rows that are given first."""
    clock, given = limits.clock(), 0 if wished.prompt is None else len(wished.prompt)
    rows = entry.pipeline.stream(
        wished.n, prompt=wished.prompt, label=wished.label, seed=wished.seed, **wished.sampling
    )
    strips: list[tuple[np.ndarray, ...]] = []
    shown = -EVERY
    for row in rows:
        strips.append(row)
        if clock.over:
            yield Drawn(_joined(strips), given, wished.seed, True, f"stopped after {clock.seconds:.0f} s")
            return
        if len(strips) >= given and clock.seconds - shown > EVERY:
            yield Drawn(_joined(strips), given, wished.seed, False, "")
            shown = clock.seconds
    yield Drawn(_joined(strips), given, wished.seed, True, "")


def _joined(strips: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*strips, strict=True)]


def read(path: Any, pixels: Pixels, limits: Limits, invert: Any = False) -> np.ndarray:
    """A picture that was handed in as the model sees it, uint8 (H, W) or (H, W, 3). Raises Refused, without its path.

    Its middle in the model's proportions is scaled to the model's size, black and white exchanged with `invert`, and
    quantized. How large it is, is known from its head, before anything is decoded.
    """
    if not isinstance(path, str):
        raise Refused(NONE)
    if (size := Path(path).stat().st_size) > limits.upload:
        raise Refused(f"The picture has {size:,} bytes, expected {limits.upload:,} at most.")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if (count := opened.width * opened.height) > limits.pixels:
                raise Refused(f"The picture has {count:,} pixels, expected {limits.pixels:,} at most.")
            found = _scaled(opened, pixels)
    except Image.DecompressionBombError:
        raise Refused(f"The picture has too many pixels, expected {limits.pixels:,} at most.") from None
    except Refused:
        raise
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError):
        raise Refused(NONE) from None
    values = np.asarray(found)
    values = 255 - values if limits.yes("The exchange of black and white", invert) else values
    return pixels.decode(pixels.encode(values))


def _scaled(opened: Image.Image, pixels: Pixels) -> Image.Image:
    """What is clear becomes black."""
    upright = ImageOps.exif_transpose(opened)
    ground = Image.new("RGBA", upright.size, "black")
    ground.alpha_composite(upright.convert("RGBA"))
    return ImageOps.fit(ground.convert("L" if pixels.channels == 1 else "RGB"), (pixels.width, pixels.height))
