"""A level of a finely quantized scale, as a mixture of logistic distributions that are rounded to levels."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs.mixture import Components, check_count, check_floor, components, spread, temper

COUNTED = 4096
"""Levels up to which sums over all of them are taken at once."""
COARSE = 256
"""Levels up to which means of 16 bits tell neighbouring levels apart: bfloat16 has 8 significant bits."""


class DiscretizedLogistics(Output):
    """A mixture of K discretized logistics over L levels (Salimans et al. 2017, PixelCNN++, arXiv:1701.05517).

    Level k = 0 ... L-1 lies at `x_k = 2k / (L-1) - 1` in [-1, 1], in the middle of a bin of half-width
    `h = 1 / (L-1)`; the lowest bin reaches down to -inf and the highest up to +inf. With the logistic sigmoid
    `p(k) = sum_j w_j (sigmoid((x_k + h - mu_j) / s_j) - sigmoid((x_k - h - mu_j) / s_j))`.

    The P = 3K parameters are logits o, shifts m and log-scales r: `w = softmax(o)`,
    `mu_j = (2j + 1) / K - 1 + m_j`, `s_j = floor h + exp(r_j) / 2K`. So zeros mean equal bells, 2/K apart, that
    cover [-1, 1] nearly evenly. `floor` is in half-widths of a bin: at 0.1 a level can hold 0.9999 of the
    probability, and a smaller scale would gain nothing.

    Deviations from the paper: log-probabilities are exact everywhere, where the paper's code takes the density at the
    middle of the bin for bins of probability below 1e-5, which is off by up to 2 nats at small scales; the floor is
    added to the scale, where there log-scales are clamped at -7; the means have the offsets above. The coupling of
    colour channels is the model's, which may add to the shifts.

    A temperature divides log w and multiplies s. What is drawn then follows no power of the likelihood; 0 gives the
    level nearest to the mean of the heaviest component, the mode in the limit. Other fields of `sampling` raise
    SeqgenError. All is computed in float64, since places, scales and bins span many orders of magnitude.

    >>> output = DiscretizedLogistics(levels=5, mixtures=1)
    >>> [round(p, 4) for p in output(torch.zeros(3)).log_prob(torch.arange(5)).exp().tolist()]
    [0.1933, 0.1898, 0.2337, 0.1898, 0.1933]
    >>> output.draw(torch.zeros(3), torch.tensor(0.5, dtype=torch.float64)).item()
    2
    """

    width = 1
    dtype = torch.int64

    def __init__(self, levels: int = 65536, mixtures: int = 10, floor: float = 0.1) -> None:
        if isinstance(levels, bool) or not isinstance(levels, int) or not 2 <= levels <= 2**24:
            raise SeqgenError(f"levels is {levels!r}, expected a whole number from 2 to 2^24 (float32)")
        self.classes = self.levels = levels
        self.half_precision = levels <= COARSE
        self.mixtures = check_count(mixtures)
        self.floor = check_floor(floor)
        self.size, self.shifts = 3 * mixtures, slice(mixtures, 2 * mixtures)

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> "DiscretizedLogisticMixture":
        """The distribution of symbols (...) given parameters (..., 3K)."""
        half = 1 / (self.levels - 1)
        centres = 2 * spread(self.mixtures, parameters.device) - 1
        parts = temper(components(parameters, centres, 0.5 / self.mixtures, self.floor * half), sampling)
        if sampling.temperature == 0:  # the spike in the middle of its bin, where it is wholly inside
            nearest = ((parts.means + 1) / (2 * half)).round().clamp(0, self.levels - 1)
            parts = parts._replace(means=2 * half * nearest - 1)
        return DiscretizedLogisticMixture(parts, self.levels, torch.promote_types(parameters.dtype, torch.float32))

    def embed(self, x: Tensor) -> Tensor:
        """The place in [-1, 1] of a level (..., 1)."""
        return (2 * x.double() / (self.levels - 1) - 1).unsqueeze(-1)

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """The lowest level whose cumulative probability exceeds the noise."""
        return self(parameters, sampling).icdf(noise)


class DiscretizedLogisticMixture(Distribution):
    """The distribution of DiscretizedLogistics; values are levels (...), anything else has probability 0.

    Results are of `dtype`: that of the parameters, float32 where they were of half precision.
    """

    arg_constraints = {}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(self, parts: Components, levels: int, dtype: torch.dtype) -> None:
        self.parts, self.levels, self.dtype = parts, levels, dtype
        super().__init__(parts.means.shape[:-1], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """0 ... L-1."""
        interval: constraints.Constraint = constraints.integer_interval(0, self.levels - 1)  # type: ignore[no-untyped-call]
        return interval

    def log_prob(self, value: Tensor) -> Tensor:
        """log p in nats, with no threshold and no cancellation, however small.

        For a bin with upper edge a and lower edge b, in scales from the mean,
        `sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))`: all three factors are positive. The
        lowest bin has only the first, the highest only the second.
        """
        level = value.unsqueeze(-1)
        lowest, highest = level <= 0, level >= self.levels - 1
        inner = (-torch.expm1(-2 / (self.levels - 1) / self.parts.scales)).log()
        # Not F.softplus, which is linear above a threshold.
        log_probs = self.parts.log_weights + inner.masked_fill(lowest | highest, 0)
        log_probs = log_probs + F.logsigmoid(self._edge(level)).masked_fill(highest, 0)
        log_probs = log_probs + F.logsigmoid(-self._edge(level - 1)).masked_fill(lowest, 0)
        outside = (value < 0) | (value >= self.levels)
        return log_probs.logsumexp(-1).masked_fill(outside, -torch.inf).to(self.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """p(level <= value)."""
        return self._cdf(value).to(self.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """The lowest level at which the CDF exceeds the value (...) in [0, 1), by bisection: monotone in the value.

        Raises SeqgenError for parameters that are not numbers.
        """
        self.parts.check()
        # Round-off must not step over the last possible level, the first to reach the total.
        wanted = value.double().clamp(max=1 - 2**-53) * self._cdf(torch.full_like(value, self.levels - 1))
        below = torch.full_like(wanted, -1, dtype=torch.int64)  # CDF(below) <= wanted < CDF(found), all the way
        found = torch.full_like(below, self.levels - 1)
        for _ in range((self.levels - 1).bit_length()):
            middle = (below + found) // 2
            over = self._cdf(middle) > wanted
            below, found = torch.where(over, below, middle), torch.where(over, middle, found)
        return found

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All levels (L, ...)."""
        levels = torch.arange(self.levels, device=self.parts.means.device)
        levels = levels.view(-1, *(1 for _ in self.batch_shape))
        return levels.expand(-1, *self.batch_shape) if expand else levels

    def entropy(self) -> Tensor:
        """In nats, by enumeration; NotImplementedError where there are too many levels for that."""
        if self.levels > COUNTED:
            raise NotImplementedError(f"the entropy over {self.levels} levels, more than {COUNTED}, is not computed")
        probs = self.log_prob(self.enumerate_support(expand=False)).exp()
        entropy: Tensor = torch.special.entr(probs).sum(0)
        return entropy

    @property
    def mean(self) -> Tensor:
        """The expected level: the sum of p(level > k) over all k >= 0."""
        total = self.parts.means.new_zeros(self.batch_shape)
        for piece in torch.split(self.enumerate_support(expand=False), COUNTED):  # in constant memory
            total = total + (1 - self._cdf(piece)).sum(0)
        return total.to(self.dtype)

    def _edge(self, level: Tensor) -> Tensor:
        """The upper edge of a level's bin, in scales from the means (..., K)."""
        return ((2 * level.double() + 1) / (self.levels - 1) - 1 - self.parts.means) / self.parts.scales

    def _cdf(self, value: Tensor) -> Tensor:
        """The CDF in float64; what it reaches at the highest level differs from 1 by round-off."""
        level = value.unsqueeze(-1)
        below = self._edge(level).sigmoid().masked_fill(level < 0, 0).masked_fill(level >= self.levels - 1, 1)
        return (self.parts.log_weights.exp() * below).sum(-1)
