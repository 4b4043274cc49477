"""The categorical distribution, and truncated sampling from it."""

import math

import torch
from torch import Tensor, distributions
from torch.distributions.utils import lazy_property
from torch.nn import functional as F

from seqgen.config import SeqgenError
from seqgen.output import PLAIN, Output, Sampling, diverged


class Categorical(Output):
    """One of K classes; the parameters are K unnormalised log-probabilities (logits).

    `p(x = k) = exp(o_k) / sum_j exp(o_j)`. Temperature divides the logits; then `exclude`, `top_k` and `top_p`, in
    this order, remove classes, with renormalisation after each; of equally likely classes the lower is kept.

    The lecture's example over the classes h, e, l, o:

    >>> output = Categorical(4)
    >>> o_1 = torch.tensor([1.0, 2.2, -3.0, 4.1])
    >>> [round(p, 4) for p in output(o_1).probs.tolist()]
    [0.0377, 0.1251, 0.0007, 0.8365]
    >>> output.draw(o_1, torch.tensor(0.1, dtype=torch.float64)).item()  # 0.0377 <= 0.1 < 0.0377 + 0.1251: e
    1
    """

    classes: int
    dtype = torch.int64
    half_precision = True

    def __init__(self, classes: int) -> None:
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
            raise SeqgenError(f"classes is {classes!r}, expected a whole number of 1 or more")
        self.classes = self.size = self.width = classes

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> distributions.Categorical:
        """The distribution of symbols (...) for logits (..., K)."""
        return LogitCategorical(restrict(parameters, sampling))

    def embed(self, x: Tensor) -> Tensor:
        """One-hot vectors (..., K)."""
        return F.one_hot(x, self.classes).to(torch.get_default_dtype())

    def fit_marginals(self, x: Tensor) -> Tensor:
        """Log-frequencies (D, K)."""
        counts = torch.full((x.shape[1], self.classes), 0.5, dtype=torch.float64, device=x.device)
        counts.scatter_add_(1, x.t(), torch.ones_like(counts[:, :1]).expand(-1, len(x)))
        return (counts / (len(x) + self.classes / 2)).log()

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """The first class whose cumulative probability exceeds the noise."""
        return inverse_cdf(restrict(parameters, sampling).softmax(-1), noise)

    def project(self, x: Tensor, weight: Tensor) -> Tensor:
        """`embed(x) @ weight.T` as an embedding look-up, since the embeddings are one-hot."""
        return F.embedding(x, weight.t())


class LogitCategorical(distributions.Categorical):
    """The categorical distribution of logits (..., K), which are normalised only where all of them are asked for."""

    def __init__(self, logits: Tensor) -> None:
        self._param, self._num_events = logits, logits.shape[-1]
        distributions.Distribution.__init__(self, logits.shape[:-1], validate_args=False)

    @lazy_property
    def logits(self) -> Tensor:
        """log p (..., K)."""
        return self._param - self._param.logsumexp(-1, keepdim=True)

    @lazy_property
    def probs(self) -> Tensor:
        """p (..., K)."""
        return self._param.softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of symbols, in nats."""
        value, _ = torch.broadcast_tensors(value, self._param[..., 0])  # type: ignore[no-untyped-call]
        logits, index = self._param.expand(*value.shape, -1), value.long().unsqueeze(-1)
        log_prob: Tensor = logits.gather(-1, index).squeeze(-1) - self._param.logsumexp(-1)
        return log_prob


def restrict(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits (..., K) divided by the temperature, with the classes that `sampling` removes set to -inf.

    Raises SeqgenError where `exclude` lists every class.
    """
    if sampling == PLAIN:
        return logits
    if sampling.exclude:
        if len(set(sampling.exclude)) >= logits.shape[-1]:
            raise SeqgenError(f"exclude lists all {logits.shape[-1]} classes, expected one or more left to draw")
        excluded = torch.tensor(sampling.exclude, device=logits.device)
        logits = logits.index_fill(-1, excluded, -torch.inf)
    if sampling.temperature == 0:
        return _keep(logits, torch.arange(logits.shape[-1], device=logits.device) == logits.argmax(-1, keepdim=True))
    # Subtract the maximum first: at a tiny temperature the quotient overflows, and inf - inf is NaN.
    temperature = max(sampling.temperature, torch.finfo(logits.dtype).tiny)  # smaller values are 0 in float32
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if 0 < sampling.top_k < logits.shape[-1] or sampling.top_p < 1:
        order = logits.argsort(dim=-1, descending=True, stable=True)
        ranked = logits.gather(-1, order)
        ranked[..., sampling.top_k or logits.shape[-1] :] = -torch.inf
        kept = ranked > -torch.inf
        if sampling.top_p < 1:  # not for 1, since the cumulative sum may round to 1 before the last class
            probs = ranked.softmax(-1, dtype=torch.float64)
            kept &= probs.cumsum(-1) - probs < sampling.top_p  # the likelier classes do not reach top_p yet
            kept[..., 0] = True  # the mode, however small top_p
        logits = _keep(logits, torch.zeros_like(kept).scatter(-1, order, kept))
    return logits


def _keep(logits: Tensor, kept: Tensor) -> Tensor:
    return logits.masked_fill(~kept, -torch.inf)


def inverse_cdf(probs: Tensor, noise: Tensor) -> Tensor:
    """Classes (...) by the inverse CDF of probabilities (..., K) at noise (...) in [0, 1); never one of probability 0.

    Raises SeqgenError for NaN probabilities.
    """
    cdf = probs.double().cumsum(-1)
    total = check_probs(cdf[..., -1:].contiguous())
    # Clamp to the last class of positive probability, the first to reach the total, which rounding may step over.
    drawn = torch.searchsorted(cdf, noise.double().unsqueeze(-1) * total, right=True)
    return torch.minimum(drawn, torch.searchsorted(cdf, total)).squeeze(-1)


def check_probs(probs: Tensor) -> Tensor:
    """The probabilities, unchanged. Raises SeqgenError for NaN, as a diverged model gives."""
    if math.isnan(probs.sum().item()):
        raise diverged("probability")
    return probs
