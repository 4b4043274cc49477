"""Real numbers as a Gaussian or a mixture of Gaussians."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs.mixture import Components, bin_centres, check_count, check_floor, components, moved, temper

BISECTIONS = 64
"""Steps of the bisection; the remaining interval is below the float64 rounding of its ends."""


class Gaussians(Output):
    """A mixture of K Gaussians (Bishop 1994, Mixture Density Networks; Uria et al. 2013, RNADE, arXiv:1306.0186).

    `p(x) = sum_j w_j N(x; mu_j, sigma_j^2)`. The P = 3K parameters are logits o, locations m and log-scales r:
    `w = softmax(o)`, `mu_j = c_j + m_j`, `sigma_j = floor + exp(r_j)`; for K = 1 there is no logit, and P = 2. The
    offsets c_j are the quantiles of the standard Gaussian at (2j + 1) / 2K, so c = 0 for K = 1, and parameters of zero
    fit standardized data.

    Deviations from the papers: the offsets c_j; the floor, in units of x. Without it the likelihood is unbounded where
    data repeat a value, since a component collapses onto that value. It is added: a clamp would leave a collapsed
    component without gradient.

    Temperature divides log w and multiplies sigma, so the density is not the tempered one, p^(1/temperature); 0 gives
    the mean of the component of largest weight. Other fields of `sampling` raise SeqgenError. Computed in float64.

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
        self.locations = slice(mixtures, 2 * mixtures) if mixtures > 1 else slice(0, 1)

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> "GaussianMixture":
        """The distribution of symbols (...) for parameters (..., P)."""
        dtype = torch.promote_types(parameters.dtype, torch.float32)
        parameters, offsets = self._complete(parameters)
        return GaussianMixture(temper(components(parameters, offsets, 1, self.floor), sampling), dtype)

    def moved(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Parameters (..., P) of the mixture moved."""
        return moved(*self._complete(parameters), shift, scale)[..., -self.size :]

    def _complete(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters (..., 3K), with a logit of 0 for a single Gaussian, and the offsets (K,)."""
        offsets = torch.special.ndtri(bin_centres(self.mixtures, parameters.device))
        return F.pad(parameters, (1, 0)) if self.mixtures == 1 else parameters, offsets

    def embed(self, x: Tensor) -> Tensor:
        """The symbol itself (..., 1)."""
        return x.unsqueeze(-1)

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """The number at which the CDF equals the noise."""
        return self(parameters, sampling).icdf(noise).to(self.dtype)


class GaussianMixture(Distribution):
    """A mixture of Gaussians (...).

    Results have `dtype`, that of the parameters, or float32 for parameters of half precision.
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
        """The number at which the CDF equals the value (...) in [0, 1), float64.

        Uniform noise comes in multiples of 2^-53, so 0 stands for [0, 2^-53) and is replaced by 2^-54, which keeps the
        result finite. One Gaussian has a closed form; for a mixture the result lies between the quantiles of the
        components and is found by bisection. Raises SeqgenError for NaN parameters.
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
        """In nats, `log(sigma sqrt(2 pi e))`; NotImplementedError for a mixture, which has no closed form."""
        if self.parts.scales.shape[-1] > 1:
            raise NotImplementedError("the entropy of a mixture of Gaussians has no closed form")
        return (self.parts.scales.log() + math.log(2 * math.pi * math.e) / 2).squeeze(-1).to(self.dtype)

    @property
    def mean(self) -> Tensor:
        """`sum_j w_j mu_j`."""
        return (self.parts.log_weights.exp() * self.parts.means).sum(-1).to(self.dtype)

    def _bisect(self, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """The number between low and high (...) at which the CDF equals the value (...)."""
        # In the upper half compare the upper tail, since the CDF rounds to 1 there.
        side = torch.where(value > 0.5, -1.0, 1.0).to(value)
        tail = torch.where(value > 0.5, 1 - value, value)
        for _ in range(BISECTIONS):
            middle = low + (high - low) / 2
            right = side * (self._below(side.unsqueeze(-1) * self._score(middle)) - tail) < 0
            low, high = torch.where(right, middle, low), torch.where(right, high, middle)
        return low + (high - low) / 2

    def _score(self, value: Tensor) -> Tensor:
        """z-scores (..., K) of a value (...): its distance from each mean in standard deviations."""
        return (value.double().unsqueeze(-1) - self.parts.means) / self.parts.scales

    def _below(self, score: Tensor) -> Tensor:
        """The CDF (...) of the mixture at z-scores (..., K)."""
        # Not torch.special.ndtr, which underflows below -8.5.
        return (self.parts.log_weights.exp() * torch.erfc(score / -math.sqrt(2)) / 2).sum(-1)
