"""Parameters of location-scale mixtures: K weights, means and scales, for any shape of component."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.output import PLAIN, Sampling, diverged

MAX_LOG_SCALE = 80.0
"""Log-scales are clamped to it: exp(80) is near the largest float32, and inf / inf must not occur."""


class Components(NamedTuple):
    """log_weights, means and scales (..., K) of the K components, float64."""

    log_weights: Tensor
    means: Tensor
    scales: Tensor

    def check(self) -> None:
        """Raises SeqgenError for NaN, as a diverged model gives."""
        if any(bool(part.isnan().any()) for part in self):
            raise diverged("parameter")


def components(parameters: Tensor, offsets: Tensor, unit: float, floor: float) -> Components:
    """Components from parameters (..., 3K): K logits o, K locations m and K log-scales r.

    `weights = softmax(o)`, `means = offsets + m`, `scales = floor + unit exp(r)`. The floor is added and not clamped
    to, so that a collapsed scale still has a gradient.
    """
    logits, locations, log_scales = parameters.double().chunk(3, -1)
    return Components(
        logits.log_softmax(-1), offsets + locations, floor + unit * log_scales.clamp(max=MAX_LOG_SCALE).exp()
    )


def moved(parameters: Tensor, offsets: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Parameters (..., 3K) of the mixture with means `shift + scale mu_j` and scales `floor + scale unit exp(r_j)`.

    In float64: means near 1 that differ by less than float32 tells apart may be many scales from one another.
    """
    logits, locations, log_scales = parameters.double().chunk(3, -1)
    shift, scale = shift.double().unsqueeze(-1), scale.double().unsqueeze(-1)
    locations = shift + scale * (offsets + locations) - offsets
    return torch.cat([logits, locations, log_scales.clamp(max=MAX_LOG_SCALE) + scale.log()], -1)


def bin_centres(count: int, device: torch.device) -> Tensor:
    """Centres (K,) of K equal bins of (0, 1), (2j + 1) / 2K: offsets that break the symmetry between components."""
    return torch.arange(1, 2 * count, 2, dtype=torch.float64, device=device) / (2 * count)


def temper(parts: Components, sampling: Sampling) -> Components:
    """Log-weights divided by the temperature and scales multiplied by it.

    At 0 the component of largest weight (the first of equal ones) is left, as a point mass. Raises SeqgenError for
    `top_k`, `top_p` and `exclude`, which need symbols ranked by probability.
    """
    for name in ("top_k", "top_p", "exclude"):
        if (value := getattr(sampling, name)) != (expected := getattr(PLAIN, name)):
            raise SeqgenError(f"{name} is {value!r}, expected {expected!r}: a mixture has a temperature only")
    if sampling.temperature == 1:
        return parts
    tiny = torch.finfo(torch.float64).tiny
    temperature = max(sampling.temperature, tiny)
    # Subtract the maximum first: at a tiny temperature the quotients overflow, and inf - inf is NaN.
    relative = parts.log_weights - parts.log_weights.amax(-1, keepdim=True)
    if sampling.temperature == 0:
        others = torch.arange(relative.shape[-1], device=relative.device) != relative.argmax(-1, keepdim=True)
        relative = relative.masked_fill(others, -torch.inf)
    scales = (parts.scales * temperature).clamp(tiny, 1 / tiny)
    return Components((relative / temperature).log_softmax(-1), parts.means, scales)


def check_floor(floor: float) -> float:
    """`floor`, unchanged. Raises SeqgenError for values at which scales can be 0 or gradients overflow."""
    if isinstance(floor, bool) or not isinstance(floor, int | float) or not 1e-12 <= floor < math.inf:
        raise SeqgenError(f"floor is {floor!r}, expected a finite number of 1e-12 or more")
    return floor


def check_count(mixtures: int) -> int:
    """`mixtures`, unchanged. Raises SeqgenError for anything but a whole number of 1 or more."""
    if isinstance(mixtures, bool) or not isinstance(mixtures, int) or mixtures < 1:
        raise SeqgenError(f"mixtures is {mixtures!r}, expected a whole number of 1 or more")
    return mixtures
