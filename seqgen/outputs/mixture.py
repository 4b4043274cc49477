"""What mixtures of shifted and scaled copies of one bell have in common, whatever the bell."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.output import PLAIN, Sampling

LARGEST = 80.0
"""Log-scales above it count as it: exp(80) is near the largest float32, and nothing may overflow to inf / inf."""


class Components(NamedTuple):
    """log_weights, means and scales (..., K) of K components, float64."""

    log_weights: Tensor
    means: Tensor
    scales: Tensor

    def check(self) -> None:
        """Raises SeqgenError for components that are not numbers, as a model gives that has diverged."""
        if any(bool(part.isnan().any()) for part in self):
            raise SeqgenError("a parameter is not a number: the model has diverged, or its weights are damaged")


def components(parameters: Tensor, centres: Tensor, unit: float, floor: float) -> Components:
    """Components from parameters (..., 3K): K logits o, K shifts m and K log-scales r.

    `weights = softmax(o)`, `means = centres + m`, `scales = floor + unit exp(r)`. The floor is added: unlike a clamp
    it leaves a gradient below itself, so that a scale that has collapsed can grow again.
    """
    logits, shifts, log_scales = parameters.double().chunk(3, -1)
    return Components(logits.log_softmax(-1), centres + shifts, floor + unit * log_scales.clamp(max=LARGEST).exp())


def spread(count: int, device: torch.device) -> Tensor:
    """Places (K,) that part (0, 1) evenly, (2j + 1) / 2K: components that start alike would all learn the same."""
    return torch.arange(1, 2 * count, 2, dtype=torch.float64, device=device) / (2 * count)


def temper(parts: Components, sampling: Sampling) -> Components:
    """Log-weights divided by the temperature and scales multiplied by it; at 0 the heaviest component is left, a spike.

    Of components of equal weight the first is the heaviest. Raises SeqgenError for `top_k`, `top_p` and `exclude`,
    which ask for a ranking of the symbols that a mixture does not make.
    """
    for name in ("top_k", "top_p", "exclude"):
        if (value := getattr(sampling, name)) != (expected := getattr(PLAIN, name)):
            raise SeqgenError(f"{name} is {value!r}, expected {expected!r}: a mixture has a temperature only")
    if sampling.temperature == 1:
        return parts
    tiny = torch.finfo(torch.float64).tiny
    temperature = max(sampling.temperature, tiny)
    # The heaviest first, as at a tiny temperature the quotients would overflow, and inf - inf is not a number.
    relative = parts.log_weights - parts.log_weights.amax(-1, keepdim=True)
    if sampling.temperature == 0:
        others = torch.arange(relative.shape[-1], device=relative.device) != relative.argmax(-1, keepdim=True)
        relative = relative.masked_fill(others, -torch.inf)
    scales = (parts.scales * temperature).clamp(tiny, 1 / tiny)
    return Components((relative / temperature).log_softmax(-1), parts.means, scales)


def check_floor(floor: float) -> float:
    """`floor` as it is; raises SeqgenError for what no scale can rest on, or what lets gradients overflow."""
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 1e-12 <= floor < math.inf:
        raise SeqgenError(f"floor is {floor!r}, expected a finite number of 1e-12 or more")
    return floor


def check_count(mixtures: int) -> int:
    """`mixtures` as it is; raises SeqgenError for what is no number of components."""
    if isinstance(mixtures, bool) or not isinstance(mixtures, int) or mixtures < 1:
        raise SeqgenError(f"mixtures is {mixtures!r}, expected a whole number of 1 or more")
    return mixtures
