"""Quantized levels as a mixture of discretized logistic distributions."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs.mixture import Components, bin_centres, check_count, check_floor, components, moved, temper

MAX_ENUMERATED = 4096
"""The largest number of levels that are summed over at once."""
HALF_PRECISION_LEVELS = 256
"""The largest number of levels that 16-bit means tell apart: bfloat16 has 8 significant bits."""


class DiscretizedLogistics(Output):
    """A mixture of K discretized logistics over L levels (Salimans et al. 2017, PixelCNN++, arXiv:1701.05517).

    Level k = 0 ... L-1 has the value `x_k = 2k / (L-1) - 1` in [-1, 1], the centre of a bin of half-width
    `h = 1 / (L-1)`; the lowest bin extends to -inf and the highest to +inf. With the logistic sigmoid,
    `p(k) = sum_j w_j (sigmoid((x_k + h - mu_j) / s_j) - sigmoid((x_k - h - mu_j) / s_j))`.

    The P = 3K parameters are logits o, locations m and log-scales r: `w = softmax(o)`,
    `mu_j = (2j + 1) / K - 1 + m_j`, `s_j = floor h + exp(r_j) / 2K`. Parameters of zero give components of equal
    weight, 2/K apart, that cover [-1, 1] nearly uniformly. `floor` is in half-widths of a bin; at 0.1 a single level
    can have probability 0.9999.

    Deviations from the paper: log-probabilities are exact, while the paper's code approximates a bin of probability
    below 1e-5 by the density at its centre, with errors up to 2 nats at small scales; the floor is added to the scale,
    while the paper's code clamps log-scales at -7; the means have the offsets above. The linear dependence of colour
    channels on one another is part of the model, which adds it to the locations.

    Temperature divides log w and multiplies s, so the distribution is not the tempered one, p^(1/temperature); 0 gives
    the level nearest to the mean of the component of largest weight, which is the mode for small scales. Other fields
    of `sampling` raise SeqgenError. Computed in float64, since values, scales and bins differ by orders of magnitude.

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
        self.half_precision = levels <= HALF_PRECISION_LEVELS
        self.mixtures = check_count(mixtures)
        self.floor = check_floor(floor)
        self.size, self.locations = 3 * mixtures, slice(mixtures, 2 * mixtures)

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> "DiscretizedLogisticMixture":
        """The distribution of symbols (...) for parameters (..., 3K)."""
        half = 1 / (self.levels - 1)
        parts = temper(
            components(parameters, self._offsets(parameters), 0.5 / self.mixtures, self.floor * half), sampling
        )
        if sampling.temperature == 0:  # centre the point mass in its bin, away from the edges
            nearest = ((parts.means + 1) / (2 * half)).round().clamp(0, self.levels - 1)
            parts = parts._replace(means=2 * half * nearest - 1)
        return DiscretizedLogisticMixture(parts, self.levels, torch.promote_types(parameters.dtype, torch.float32))

    def embed(self, x: Tensor) -> Tensor:
        """The values x_k in [-1, 1] of levels (..., 1)."""
        return (2 * x.double() / (self.levels - 1) - 1).unsqueeze(-1)

    def moved(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Parameters (..., 3K) of the mixture with its means and scales before discretization moved."""
        return moved(parameters, self._offsets(parameters), shift, scale)

    def _offsets(self, parameters: Tensor) -> Tensor:
        return 2 * bin_centres(self.mixtures, parameters.device) - 1

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """The lowest level whose cumulative probability exceeds the noise."""
        return self(parameters, sampling).icdf(noise)


class DiscretizedLogisticMixture(Distribution):
    """A mixture of discretized logistics (...) over the levels 0 ... L-1; other values have probability 0.

    Results have `dtype`, that of the parameters, or float32 for parameters of half precision.
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
        """log p in nats, without cancellation, however small p is.

        For a bin with upper edge a and lower edge b, standardized by mean and scale,
        `sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))`, a product of positive factors. The lowest
        bin has the first factor alone, the highest the second.
        """
        level = value.unsqueeze(-1)
        lowest, highest = level <= 0, level >= self.levels - 1
        inner = (-torch.expm1(-2 / (self.levels - 1) / self.parts.scales)).log()
        # Not F.softplus, which is linear above a threshold and so inexact.
        log_probs = self.parts.log_weights + inner.masked_fill(lowest | highest, 0)
        log_probs = log_probs + F.logsigmoid(self._edge(level)).masked_fill(highest, 0)
        log_probs = log_probs + F.logsigmoid(-self._edge(level - 1)).masked_fill(lowest, 0)
        outside = (value < 0) | (value >= self.levels)
        return log_probs.logsumexp(-1).masked_fill(outside, -torch.inf).to(self.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """p(level <= value)."""
        return self._cdf(value).to(self.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """The lowest level at which the CDF exceeds the value (...) in [0, 1), by bisection.

        Raises SeqgenError for NaN parameters.
        """
        self.parts.check()
        # Scale by the rounded total, so that the last level of positive probability is not stepped over.
        wanted = value.double().clamp(max=1 - 2**-53) * self._cdf(torch.full_like(value, self.levels - 1))
        below = torch.full_like(wanted, -1, dtype=torch.int64)  # invariant: CDF(below) <= wanted < CDF(found)
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
        """In nats, by enumeration; NotImplementedError for more than 4096 levels."""
        if self.levels > MAX_ENUMERATED:
            raise NotImplementedError(
                f"the entropy over {self.levels} levels, more than {MAX_ENUMERATED}, is not computed"
            )
        probs = self.log_prob(self.enumerate_support(expand=False)).exp()
        entropy: Tensor = torch.special.entr(probs).sum(0)
        return entropy

    @property
    def mean(self) -> Tensor:
        """The expected level: the sum of p(level > k) over all k >= 0."""
        total = self.parts.means.new_zeros(self.batch_shape)
        for levels in torch.split(self.enumerate_support(expand=False), MAX_ENUMERATED):  # in constant memory
            total = total + (1 - self._cdf(levels)).sum(0)
        return total.to(self.dtype)

    def _edge(self, level: Tensor) -> Tensor:
        """The upper edge of a level's bin, standardized by means and scales (..., K)."""
        return ((2 * level.double() + 1) / (self.levels - 1) - 1 - self.parts.means) / self.parts.scales

    def _cdf(self, value: Tensor) -> Tensor:
        """The CDF in float64; at the highest level it is 1 up to rounding."""
        level = value.unsqueeze(-1)
        below = self._edge(level).sigmoid().masked_fill(level < 0, 0).masked_fill(level >= self.levels - 1, 1)
        return (self.parts.log_weights.exp() * below).sum(-1)
