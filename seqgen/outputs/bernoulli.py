"""The Bernoulli distribution."""

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, constraints
from torch.nn import functional as F

from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs.categorical import check_probs, inverse_cdf, restrict


class Bernoulli(Output):
    """Binary symbols, 0 or 1, with one logit o as parameter: `p(x = 1) = 1 / (1 + exp(-o))`.

    With a `sampling` the distribution is the Categorical over {0, 1} with logits (0, o), so that temperature 0 and
    top_k = 1 give probabilities of exactly 0. Temperature divides the logit; `top_k`, `top_p` and `exclude` apply to
    the two classes.
    """

    size = 1
    width = 1
    dtype = torch.int64
    classes = 2
    half_precision = True

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> Distribution:
        """The distribution of symbols (...) for logits (..., 1)."""
        if sampling == PLAIN:
            return LogitBernoulli(parameters.squeeze(-1))
        return distributions.Categorical(logits=restrict(F.pad(parameters, (1, 0)), sampling), validate_args=False)

    def embed(self, x: Tensor) -> Tensor:
        """The symbol itself (..., 1)."""
        return x.to(dtype=torch.get_default_dtype()).unsqueeze(-1)

    def fit_marginals(self, x: Tensor) -> Tensor:
        """Logits (D, 1) of the frequencies of ones."""
        ones = x.sum(0, dtype=torch.float64)
        return ((ones + 0.5) / (len(x) - ones + 0.5)).log().unsqueeze(-1)

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """0 where the noise is below p(x = 0), 1 elsewhere."""
        if sampling == PLAIN:
            return (noise >= check_probs(parameters.squeeze(-1).double().neg().sigmoid_())).long()
        return inverse_cdf(restrict(F.pad(parameters, (1, 0)), sampling).softmax(-1), noise)


class LogitBernoulli(Distribution):
    """The Bernoulli distribution of one logit (...)."""

    arg_constraints = {}  # noqa: RUF012
    has_enumerate_support = True

    def __init__(self, logit: Tensor) -> None:
        self.logit = logit
        super().__init__(logit.shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """0 and 1."""
        return constraints.boolean

    def log_prob(self, value: Tensor) -> Tensor:
        """log sigmoid(o) for 1, log sigmoid(-o) for 0, in nats."""
        # Not -F.softplus, which is linear above a threshold and so inexact.
        sign = value.to(self.logit.dtype) * 2 - 1  # in floats: products of integers take ten times as long
        return F.logsigmoid(sign * self.logit)

    @property
    def logits(self) -> Tensor:
        """log p (..., 2)."""
        return F.logsigmoid(torch.stack([-self.logit, self.logit], -1))

    @property
    def probs(self) -> Tensor:
        """p (..., 2)."""
        return torch.stack([-self.logit, self.logit], -1).sigmoid()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """0 and 1: (2, ...)."""
        values = torch.arange(2, device=self.logit.device).view(-1, *(1 for _ in self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values

    def entropy(self) -> Tensor:
        """In nats."""
        return -(self.probs * self.logits).sum(-1)
