"""Pictures as papers show them: a grid of samples, and beside it what the model expected of every pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from seqgen.codecs import Pixels
from seqgen.codecs.pixels import GREY
from seqgen.config import SeqgenError
from seqgen.inference.conditioning import Label
from seqgen.media.grid import GAP, grid
from seqgen.model import arranged
from seqgen.output import PLAIN, Sampling
from seqgen.pipeline import Pipeline


@torch.inference_mode()
def expected(
    pipeline: Pipeline,
    items: Sequence[np.ndarray],
    label: Label = None,
    prompt: Any = None,
    sampling: Sampling = PLAIN,
) -> list[np.ndarray]:
    """Of each picture, every pixel's mean given those before it, `E[x_i | x_<i]`, as a picture like it.

    For binary pixels that is the conditional probability `p(x_i = 1 | x_<i)`, white where it is 1. The order, and what
    temperature and truncation make of the probabilities, are those in which such items are drawn behind the prompt.
    Raises SeqgenError for a model of anything but pictures.
    """
    if not isinstance(codec := pipeline.codec, Pixels):
        raise SeqgenError(f"the model is one of {type(codec).__name__}, expected one of pictures")
    model, (_, order) = pipeline.model, pipeline.known(prompt)
    found = []
    for item in items:  # one after the other: a pixel has up to 256 levels, of each of which the probability is taken
        x, context = arranged(codec.encode(item).to(model.device).unsqueeze(0), pipeline.context(label, 1), order)
        distribution = model.output(model(x, context).double(), sampling)
        levels = distribution.enumerate_support(expand=False)  # (L, 1, 1)
        mean = (levels * distribution.log_prob(levels).exp()).sum(0)
        mean = (mean if order is None else order.restore(mean)) * (GREY / (codec.levels - 1))
        found.append(mean.round().cpu().numpy().astype(np.uint8).reshape(item.shape))
    return found


def sheet(items: Sequence[np.ndarray], means: Sequence[np.ndarray]) -> np.ndarray:
    """Two grids side by side, uint8 (H, W) or (H, W, 3): pictures, and what was expected of them."""
    left, right = grid(items), grid(means)
    between = np.full((len(left), 4 * GAP, *left.shape[2:]), GREY, np.uint8)
    return np.concatenate([left, between, right], 1)
