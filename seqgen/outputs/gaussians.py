"""A real number, as a Gaussian or a mixture of Gaussians."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs.mixture import Components, check_count, check_floor, components, spread, temper

HALVINGS = 64
"""Of an interval of float64 numbers: what is left is below the round-off of its ends."""


class Gaussians(Output):
    """A mixture of K Gaussians (Bishop 1994, Mixture Density Networks; Uria et al. 2013, RNADE, arXiv:1306.0186).

    `p(x) = sum_j w_j N(x; mu_j, sigma_j^2)`. The parameters are logits o, shifts m and log-scales r, P = 3K of them:
    `w = softmax(o)`, `mu_j = c_j + m_j`, `sigma_j = floor + exp(r_j)`; for K = 1 there is no logit, and P = 2. The
    c_j are quantiles of the standard Gaussian, those of (2j + 1) / 2K, and c = 0 for K = 1; so zeros suit
    standardized data.

    Deviations from the papers: the offsets c_j; the floor, in units of x. Without it the likelihood of data that
    repeat a value has no bound: a component collapses onto the value. It is added, where a clamp would take the
    gradient from a component that has collapsed.

    A temperature divides log w and multiplies sigma. What is drawn then follows no power of the likelihood; 0 gives the
    mean of the heaviest component. Other fields of `sampling` raise SeqgenError. All is computed in float64.

    >>> output = Gaussians()
    >>> o_1 = torch.tensor([2.0, math.log(0.5)])  # mean 2, sigma 0.501
    >>> round(output(o_1).log_prob(torch.tensor(2.5)).item(), 4)
    -0.7258
    >>> round(output.draw(o_1, torch.tensor(0.9, dtype=torch.float64)).item(), 4)
    2.6421
    """

    width = 1
    dtype = torch.float32
    classes = None

    def __init__(self, mixtures: int = 1, floor: float = 1e-3) -> None:
        self.mixtures = check_count(mixtures)
        self.floor = check_floor(floor)
        self.size = 3 * mixtures if mixtures > 1 else 2
        self.shifts = slice(mixtures, 2 * mixtures) if mixtures > 1 else slice(0, 1)

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> "GaussianMixture":
        """The distribution of symbols (...) given parameters (..., P)."""
        dtype = torch.promote_types(parameters.dtype, torch.float32)
        if self.mixtures == 1:
            parameters = F.pad(parameters, (1, 0))  # a weight of 1
        centres = torch.special.ndtri(spread(self.mixtures, parameters.device))
        return GaussianMixture(temper(components(parameters, centres, 1, self.floor), sampling), dtype)

    def embed(self, x: Tensor) -> Tensor:
        """The number itself (..., 1)."""
        return x.unsqueeze(-1)

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """The number at which the CDF equals the noise."""
        return self(parameters, sampling).icdf(noise).to(self.dtype)


class GaussianMixture(Distribution):
    """The distribution of Gaussians; values are real numbers (...).

    Results are of `dtype`: that of the parameters, float32 where they were of half precision.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real

    def __init__(self, parts: Components, dtype: torch.dtype) -> None:
        self.parts, self.dtype = parts, dtype
        super().__init__(parts.means.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density in nats."""
        log_probs = -self._score(value).square() / 2 - self.parts.scales.log() - math.log(2 * math.pi) / 2
        return (self.parts.log_weights + log_probs).logsumexp(-1).to(self.dtype)

    def cdf(self, value: Tensor) -> Tensor:
        """p(x <= value)."""
        return self._below(self._score(value)).to(self.dtype)

    def icdf(self, value: Tensor) -> Tensor:
        """The number at which the CDF equals the value (...) in [0, 1); in float64, for whoever goes on with it.

        Noise comes in multiples of 2^-53: 0 stands for all that lies below the first, and counts as 2^-54, so that
        the result is finite. One Gaussian has a closed form; the number sought in a mixture lies between its
        components' own, and is found by bisection. Raises SeqgenError for parameters that are not numbers.
        """
        self.parts.check()
        value = value.double().clamp(2**-54, 1 - 2**-53)
        numbers: Tensor = self.parts.means + self.parts.scales * torch.special.ndtri(value).unsqueeze(-1)
        if numbers.shape[-1] == 1:
            return numbers.squeeze(-1)
        absent = self.parts.log_weights == -torch.inf
        low, high = numbers.masked_fill(absent, torch.inf).amin(-1), numbers.masked_fill(absent, -torch.inf).amax(-1)
        return self._bisect(value, low, high)

    def entropy(self) -> Tensor:
        """In nats, `log(sigma sqrt(2 pi e))`; NotImplementedError for a mixture, for which there is no closed form."""
        if self.parts.scales.shape[-1] > 1:
            raise NotImplementedError("the entropy of a mixture of Gaussians has no closed form")
        return (self.parts.scales.log() + math.log(2 * math.pi * math.e) / 2).squeeze(-1).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        """`sum_j w_j mu_j`."""
        return (self.parts.log_weights.exp() * self.parts.means).sum(-1).to(self.dtype)

    def _bisect(self, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Where the CDF equals the value (...), between low and high (...)."""
        # In the upper half the tail above is compared, since there the CDF is too close to 1 to tell places apart.
        side = torch.where(value > 0.5, -1.0, 1.0).to(value)
        tail = torch.where(value > 0.5, 1 - value, value)
        for _ in range(HALVINGS):
            middle = low + (high - low) / 2
            right = side * (self._below(side.unsqueeze(-1) * self._score(middle)) - tail) < 0
            low, high = torch.where(right, middle, low), torch.where(right, high, middle)
        return low + (high - low) / 2

    def _score(self, value: Tensor) -> Tensor:
        """How many standard deviations a value (...) lies above each mean (..., K)."""
        return (value.double().unsqueeze(-1) - self.parts.means) / self.parts.scales

    def _below(self, score: Tensor) -> Tensor:
        """The probability (...) below a score of each component (..., K)."""
        # Not torch.special.ndtr, which is 0 below -8.5.
        return (self.parts.log_weights.exp() * torch.erfc(score / -math.sqrt(2)) / 2).sum(-1)
