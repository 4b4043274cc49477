"""Requests to models of images: sampling row by row, reading uploaded pictures, and scoring."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seqgen.codec import Codec
from seqgen.config import SeqgenError
from seqgen.inference.score import Total
from seqgen_app.catalog import Entry
from seqgen_app.limits import Deadline, Limits, Refused

INTERVAL = 0.15
"""Seconds between two views of images that are being sampled."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
UNREADABLE = f"The picture cannot be read: expected a file of the format {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."


class ImageRequest(NamedTuple):
    """A request for images, checked; `prompt` holds the upper rows of a picture to complete."""

    n: int
    label: dict[str, str]
    sampling: dict[str, Any]
    seed: int
    prompt: np.ndarray | None


class Images(NamedTuple):
    """The upper rows of every image so far, uint8 (h, W) or (h, W, 3), of which the first `given` are the prompt's.

    The last of a request is `done`.
    """

    images: list[np.ndarray]
    given: int
    seed: int
    done: bool = False
    note: str = ""


def size(codec: Codec) -> tuple[int, int, int]:
    """Height, width and channels of a codec's images. Raises SeqgenError for a codec without a shape."""
    if codec.shape is None:
        raise SeqgenError(f"{type(codec).__name__} has no shape, expected the height, width and channels of its images")
    return codec.shape


def check(
    entry: Entry,
    limits: Limits,
    n: Any = 1,
    label: Any = None,
    temperature: Any = 1.0,
    seed: Any = None,
    picture: Any = None,
    kept: Any = 0.5,
    invert: Any = False,
) -> ImageRequest:
    """The request; `picture` is the path of one to complete, of which the share `kept` of the rows stays, from the top.

    One row is left to sample at least. Raises Refused.
    """
    n = limits.whole("How many", n, 1, limits.pictures)
    codec, kept = entry.pipeline.codec, limits.number("The kept share of rows", kept, 0, 1)
    height, _, _ = size(codec)
    rows = min(round(kept * height), height - 1)
    given = None if picture is None else read(picture, codec, limits, invert)
    prompt = None if given is None or not rows else given[:rows]
    return ImageRequest(n, entry.label(label), limits.sampling(temperature), limits.seed(seed), prompt)


def sample(entry: Entry, limits: Limits, request: ImageRequest) -> Iterator[Images]:
    """The images as they grow, the given rows first."""
    deadline, given = Deadline(limits.deadline), 0 if request.prompt is None else len(request.prompt)
    source = entry.pipeline.stream(
        request.n, prompt=request.prompt, label=request.label, seed=request.seed, **request.sampling
    )
    rows: list[tuple[np.ndarray, ...]] = []
    shown, note = -INTERVAL, ""
    for row in source:
        rows.append(row)
        if deadline.passed:
            note = f"Stopped after {deadline.elapsed:.0f} s."
            break
        if len(rows) >= given and deadline.elapsed - shown > INTERVAL:
            yield Images(_joined(rows), given, request.seed)
            shown = deadline.elapsed
    yield Images(_joined(rows), given, request.seed, True, note)


def _joined(rows: list[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def read(path: Any, codec: Codec, limits: Limits, invert: Any = False) -> np.ndarray:
    """An uploaded picture as the codec represents it, uint8 (H, W) or (H, W, 3).

    It is cropped around its middle to the proportions of the codec's images, resized, inverted with `invert`, and
    quantized. Its size is checked before it is decoded. Raises Refused, without the path.
    """
    if not isinstance(path, str):
        raise Refused(UNREADABLE)
    if (length := Path(path).stat().st_size) > limits.upload:
        raise Refused(f"The picture has {length:,} bytes, expected {limits.upload:,} at most.")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if (count := opened.width * opened.height) > limits.pixels:
                raise Refused(f"The picture has {count:,} pixels, expected {limits.pixels:,} at most.")
            found = _resized(opened, *size(codec))
    except Image.DecompressionBombError:
        raise Refused(f"The picture has too many pixels, expected {limits.pixels:,} at most.") from None
    except Refused:
        raise
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError):
        raise Refused(UNREADABLE) from None
    values = 255 - np.asarray(found) if limits.boolean("Invert", invert) else np.asarray(found)
    decoded: np.ndarray = codec.decode(codec.encode(values))
    return decoded


def _resized(opened: Image.Image, height: int, width: int, channels: int) -> Image.Image:
    """Transparent pixels become black."""
    upright = ImageOps.exif_transpose(opened)
    ground = Image.new("RGBA", upright.size, "black")
    ground.alpha_composite(upright.convert("RGBA"))
    return ImageOps.fit(ground.convert("L" if channels == 1 else "RGB"), (width, height))


class ScoredImage(NamedTuple):
    """The score of an image: the image as the model reads it, its total, bits (H, W) of its pixels, and its p-value."""

    total: Total
    image: np.ndarray
    bits: np.ndarray
    p_value: float | None


def score(entry: Entry, limits: Limits, picture: Any, label: Any = None, invert: Any = False) -> ScoredImage:
    """The score of an uploaded picture, given the path; the bits of a pixel are those of all its channels.

    Raises Refused.
    """
    if picture is None:
        raise Refused("There is nothing to score: upload a picture.")
    image, labels = read(picture, entry.pipeline.codec, limits, invert), entry.label(label)
    scores = entry.pipeline.score(image, label=labels)
    bits = (-scores.log_probs / math.log(2)).reshape(*image.shape[:2], -1).sum(2).numpy()
    return ScoredImage(scores.total, image, bits, entry.p_value(scores.total, labels))
