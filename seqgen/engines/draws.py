"""Drawing a symbol from a model's parameters, as `Output.draw` does, in compiled functions.

A symbol is a float64, which holds every class and every real number; NaN stands for parameters that are not numbers.
"""

# mypy: ignore-errors

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from seqgen.engine import Unsupported
from seqgen.engines.vectors import LANES, F, exp, load, splat, store, sub
from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians
from seqgen.outputs.gaussians import BISECTIONS
from seqgen.outputs.mixture import MAX_LOG_SCALE, bin_centres

CATEGORICAL, BERNOULLI, LOGISTICS, GAUSSIANS = range(4)
KINDS = {Categorical: CATEGORICAL, Bernoulli: BERNOULLI, DiscretizedLogistics: LOGISTICS, Gaussians: GAUSSIANS}
TINY = np.finfo(np.float64).tiny
SMALLEST = float(np.finfo(np.float32).tiny)


class Draw(NamedTuple):
    """What the compiled draw needs to know of an output and a sampling, as numbers."""

    kind: int
    plain: bool  # the model's own distribution
    size: int  # parameters
    components: int  # of a mixture
    levels: int
    floor: float
    offsets: np.ndarray  # float64 (components,), of the means
    temperature: float
    top_k: int
    top_p: float
    excluded: np.ndarray  # uint8 (K,), nonzero for classes that are never drawn
    scratch: np.ndarray  # float64, of 2 K or 3 components
    probs: np.ndarray  # float32 (K,), padded
    ranks: np.ndarray  # int64 (2 K,)


def prepare(output: Output, sampling: Sampling) -> Draw:
    """The draw of an output under a sampling.

    Raises Unsupported for an output that none was written for, and SeqgenError for what the output cannot honour.
    """
    kind = KINDS.get(type(output))
    if kind is None:
        raise Unsupported(f"there is no compiled draw of {type(output).__name__}")
    if sampling != PLAIN:
        output(torch.zeros(1, output.size), sampling)
    classes = 2 if kind == BERNOULLI else output.size
    excluded = np.zeros(classes, np.uint8)
    excluded[[symbol for symbol in sampling.exclude if symbol < classes]] = 1
    mixture = output.size // 3 if output.size > 2 else 1
    offsets = np.zeros(0)
    if kind >= LOGISTICS:
        centres = bin_centres(mixture, torch.device("cpu"))
        offsets = (torch.special.ndtri(centres) if kind == GAUSSIANS else 2 * centres - 1).numpy()
    return Draw(
        kind,
        sampling == PLAIN,
        output.size,
        mixture,
        getattr(output, "levels", 0),
        getattr(output, "floor", 0.0),
        offsets,
        float(sampling.temperature),
        sampling.top_k,
        float(sampling.top_p),
        excluded,
        np.zeros(2 * classes + output.size),
        np.zeros(output.size + LANES, np.float32),
        np.zeros(2 * classes, np.int64),
    )


@njit
def draw(how, memory, place, u, shift, gain):
    """The symbol for parameters in `memory` from `place` on; those of a mixture moved, see `Output.moved`.

    u is uniform noise in [0, 1), for Gaussians the standard Gaussian quantile of it.
    """
    kind, size = how.kind, how.size
    scratch = how.scratch
    if kind >= LOGISTICS:
        count = how.components
        if not _components(how, memory, place, shift, gain):
            return np.nan
        return _logistics(count, how.levels, scratch, u) if kind == LOGISTICS else _gaussians(count, scratch, u)
    if kind == CATEGORICAL and how.plain:
        return _plain(memory, place, size, how.probs, u)
    if kind == BERNOULLI:
        if how.plain:
            logit = np.float64(memory[place])
            return np.nan if math.isnan(logit) else (1.0 if u >= 1 / (1 + math.exp(logit)) else 0.0)
        size = 2
        scratch[0], scratch[1] = 0.0, memory[place]
    else:
        for k in range(size):
            scratch[k] = memory[place + k]
    return _restricted(size, how.temperature, how.top_k, how.top_p, how.excluded, scratch, how.ranks, u)


# -- classes


@njit
def _plain(memory, place, size, probs, u):
    """The first class whose cumulative probability exceeds u."""
    top = memory[place]
    for k in range(size):
        if math.isnan(memory[place + k]):
            return np.nan
        top = max(top, memory[place + k])
    if math.isinf(top):
        return np.nan
    for k in range(0, size, 16):
        store(probs, k, exp(sub(load(memory, place + k), splat(F(top)))))
    whole = 0.0
    for k in range(size):
        whole += probs[k]
    return _inverse_cdf(probs, 0, size, u * whole)


@njit
def _inverse_cdf(probs, start, size, wanted):
    """The first class whose cumulative probability exceeds a number, and the last of positive probability at most."""
    below, last = 0.0, 0
    for k in range(size):
        below += probs[start + k]
        if below > wanted:
            return np.float64(k)
        if probs[start + k] > 0:
            last = k
    return np.float64(last)


@njit
def _restricted(size, temperature, top_k, top_p, excluded, logits, ranks, u):
    """A class by temperature, top_k, top_p and without excluded ones: see `restrict`. Probabilities follow logits."""
    top, mode = -np.inf, -1
    for k in range(size):
        if math.isnan(logits[k]):
            return np.nan
        if excluded[k]:
            logits[k] = -np.inf
        if logits[k] > top:
            top, mode = logits[k], k
    if mode < 0 or math.isinf(top):
        return np.nan
    if temperature == 0.0:
        return np.float64(mode)
    whole = 0.0
    for k in range(size):
        logits[k] = (logits[k] - top) / max(temperature, SMALLEST)
        logits[size + k] = math.exp(logits[k])
        whole += logits[size + k]
    if 0 < top_k < size or top_p < 1:
        order = _descending(logits, ranks, size)
        kept = min(size, top_k) if top_k else size
        whole = 0.0
        for rank in range(kept):
            whole += logits[size + ranks[order + rank]]
        below, rank = 0.0, 0
        while rank < kept and (rank == 0 or top_p == 1 or below / whole < top_p):
            below += logits[size + ranks[order + rank]]
            rank += 1
        whole = below
        for removed in range(rank, size):
            logits[size + ranks[order + removed]] = 0.0
    return _inverse_cdf(logits, size, size, u * whole)


@njit
def _descending(values, ranks, size):
    """Where in `ranks` (2 size,) the indices of the values are, the greatest first, lower ones first: a merge sort."""
    for k in range(size):
        ranks[k] = k
    source, target, width = 0, size, 1
    while width < size:
        for start in range(0, size, 2 * width):
            middle, end = min(start + width, size), min(start + 2 * width, size)
            left, right = start, middle
            for k in range(start, end):
                if left < middle and (right == end or values[ranks[source + left]] >= values[ranks[source + right]]):
                    ranks[target + k] = ranks[source + left]
                    left += 1
                else:
                    ranks[target + k] = ranks[source + right]
                    right += 1
        source, target = target, source
        width *= 2
    return source


# -- mixtures


@njit
def _components(how, memory, place, shift, gain):
    """Weights, means and scales of a mixture, one after the other in `scratch`; False for NaN."""
    kind, count, levels, floor, temperature = how.kind, how.components, how.levels, how.floor, how.temperature
    scratch = how.scratch
    single = kind == GAUSSIANS and count == 1  # which has no logit
    logistic = kind == LOGISTICS
    half = 1.0 / max(1, levels - 1)
    unit = 0.5 / count if logistic else 1.0
    heaviest = 0
    for j in range(count):
        scratch[j] = 0.0 if single else memory[place + j]
        mean = shift + gain * (np.float64(memory[place + (0 if single else count) + j]) + how.offsets[j])
        spread = min(np.float64(memory[place + (1 if single else 2 * count) + j]), MAX_LOG_SCALE)
        scale = floor * (half if logistic else 1.0) + gain * math.exp(spread) * unit
        if math.isnan(scratch[j]) or math.isnan(mean) or math.isnan(scale):
            return False
        if temperature == 0.0 and logistic:  # the middle of a level
            mean = 2 * half * min(max(np.rint((mean + 1) / (2 * half)), 0.0), levels - 1.0) - 1
        if temperature != 1.0:
            scale = min(max(scale * max(temperature, TINY), TINY), 1 / TINY)
        scratch[count + j], scratch[2 * count + j] = mean, scale
        if scratch[j] > scratch[heaviest]:
            heaviest = j
    top, whole = scratch[heaviest], 0.0
    for j in range(count):
        if temperature == 0.0:
            scratch[j] = 1.0 if j == heaviest else 0.0
        else:
            scratch[j] = math.exp((scratch[j] - top) / max(temperature, TINY))
        whole += scratch[j]
    for j in range(count):
        scratch[j] /= whole
    return not math.isnan(whole)


@njit
def _logistic_cdf(count, levels, scratch, level):
    if level < 0:
        return 0.0
    found = 0.0
    for j in range(count):
        if level >= levels - 1:
            found += scratch[j]
        else:
            edge = ((2.0 * level + 1) / (levels - 1) - 1 - scratch[count + j]) / scratch[2 * count + j]
            found += scratch[j] / (1 + math.exp(-edge))
    return found


@njit
def _logistics(count, levels, scratch, u):
    """The lowest level at which the CDF exceeds u, by bisection."""
    wanted = min(u, 1 - 2.0**-53) * _logistic_cdf(count, levels, scratch, levels - 1)
    below, found = -1, levels - 1
    while found - below > 1:
        middle = (below + found) // 2
        if _logistic_cdf(count, levels, scratch, middle) > wanted:
            found = middle
        else:
            below = middle
    return np.float64(found)


@njit
def _gaussians(count, scratch, score):
    """The number at which the CDF is that of a standard Gaussian at `score`: between the quantiles of the components.

    By bisection, with the upper tail in the upper half, since the CDF rounds to 1 there.
    """
    low, high = np.inf, -np.inf
    for j in range(count):
        if scratch[j] > 0:
            number = scratch[count + j] + scratch[2 * count + j] * score
            low, high = min(low, number), max(high, number)
    side = -1.0 if score > 0 else 1.0
    tail = math.erfc(-side * score / math.sqrt(2.0)) / 2
    for _ in range(BISECTIONS):
        middle = low + (high - low) / 2
        if middle <= low or middle >= high:  # one Gaussian, or neighbouring numbers
            break
        below = 0.0
        for j in range(count):
            z = (middle - scratch[count + j]) / scratch[2 * count + j]
            below += scratch[j] * math.erfc(-side * z / math.sqrt(2.0)) / 2
        if side * (below - tail) < 0:
            low = middle
        else:
            high = middle
    return np.float64(F(low + (high - low) / 2))  # a symbol is a float32
