"""Images of one size."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqgen.codec import Codec
from seqgen.codecs.pixels import WHITE, Pixels
from seqgen.config import SeqgenError
from seqgen.media.files import write_atomically
from seqgen.media.grid import GAP, dots, grid, png
from seqgen.modality import Modality, Preview, Request, sample_command
from seqgen.output import PLAIN, Sampling

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from seqgen.inference.conditioning import Label
    from seqgen.inference.score import Total
    from seqgen.pipeline import Pipeline

COLUMNS = 80
"""Characters of a terminal's line."""


class ImageModality(Modality):
    """Arrays uint8 (H, W) or (H, W, 3); in a PNG file side by side, on a terminal in braille."""

    name = "image"
    noun = "images"
    plural = "images"
    suffixes = (".png",)
    options = frozenset({"probabilities"})
    key = "image"

    def write(self, codec: Codec, items: list[Any], path: Path) -> list[Path]:
        """One PNG file: a single image pixel by pixel, so that it can be read again; several enlarged, in a grid."""
        write_atomically(path, png(grid(items), 1 if len(items) == 1 else 4))
        return [path]

    def show(self, codec: Codec, items: list[Any]) -> str:
        """Braille, two pixels wide and four high a character, as many images side by side as 80 columns hold."""
        count = max(1, (COLUMNS + 1) // (-(-items[0].shape[1] // 2) + 1)) if items else 1
        return "\n\n".join(dots(items[first : first + count]) for first in range(0, len(items), count))

    def plain(self, codec: Codec, item: Any) -> Any:
        """Nested lists of 0 ... 255."""
        return item.tolist()

    def save(self, pipeline: "Pipeline", items: list[Any], request: Request) -> list[Path]:
        """With the conditional means beside the images, if asked for."""
        assert request.out is not None  # whoever calls has checked
        if not request.probabilities:
            return self.write(pipeline.codec, items, request.out)
        choices = request.choices
        sampling = Sampling(*(choices[name] for name in ("temperature", "top_k", "top_p")))
        means = expected(pipeline, items, request.label, choices.get("prompt"), sampling)
        write_atomically(request.out, png(sheet(items, means), 4))
        return [request.out]

    def preview(
        self,
        pipeline: "Pipeline",
        path: Path,
        seed: int,
        count: int = 10,
        length: int | None = None,
        examples: "Iterable[tuple[Any, dict[str, str]]]" = (),
    ) -> "Iterator[Preview]":
        """A grid of images."""
        whole = grid(pipeline.sample(count, seed=seed))
        path = path.with_suffix(".png")
        write_atomically(path, png(whole, 2))
        yield Preview(path, picture=whole if whole.ndim == 3 else whole[:, :, None])

    def example(
        self, pipeline: "Pipeline", name: str, label: dict[str, str], condition: Path | None = None
    ) -> dict[str, str]:
        """Two images in braille."""
        command = f"{sample_command(name, label)} -n 2 --seed 1 --out pictures.png"
        return {"command": command, "result": dots(pipeline.sample(2, label=label, seed=1))}

    def line(self, total: "Total") -> str:
        """Nats an image come first in tables of results."""
        return f"{super().line(total)} {total.nats_per_unit:8.3f} nats/image"


@torch.inference_mode()
def expected(
    pipeline: "Pipeline",
    items: Sequence[np.ndarray],
    label: "Label" = None,
    prompt: Any = None,
    sampling: Sampling = PLAIN,
) -> list[np.ndarray]:
    """E[x_i | x_<i], the conditional mean of every pixel of each image, as an image of the same size.

    For binary pixels that is p(x_i = 1 | x_<i), white where it is 1. The order of the variables, and what temperature
    and truncation make of the probabilities, are those that samples with this prompt are drawn with. Raises SeqgenError
    for a model of anything but images.
    """
    if not isinstance(codec := pipeline.codec, Pixels):
        raise SeqgenError(f"got a codec {type(codec).__name__}, expected one of images")
    found = []
    for item in items:  # one by one: each pixel has up to 256 levels, and the probability of each is computed
        distribution, restore = pipeline.conditionals(codec.encode(item), label, prompt, sampling)
        levels = distribution.enumerate_support(expand=False)  # (L, 1, 1)
        mean = restore((levels * distribution.log_prob(levels).exp()).sum(0)) * (WHITE / (codec.levels - 1))
        found.append(mean.round().cpu().numpy().astype(np.uint8).reshape(item.shape))
    return found


def sheet(items: Sequence[np.ndarray], means: Sequence[np.ndarray]) -> np.ndarray:
    """Two grids side by side, uint8 (H, W) or (H, W, 3): images, and their conditional means."""
    left, right = grid(items), grid(means)
    between = np.full((len(left), 4 * GAP, *left.shape[2:]), WHITE, np.uint8)
    return np.concatenate([left, between, right], 1)
