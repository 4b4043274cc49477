"""The interface of output distributions: from a model's P parameters to the distribution of the next symbol."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from seqgen.config import Configurable, SeqgenError, WrongType


@dataclass(frozen=True)
class Sampling:
    """How the next symbol is drawn; the default is the model's own distribution.

    `temperature` divides the logits (0 is the mode); `top_k` keeps the k likeliest symbols (0: all); `top_p` keeps the
    smallest set of likeliest symbols whose probability reaches p (nucleus sampling, Holtzman et al. 2019,
    arXiv:1904.09751; 1: all); `exclude` lists symbols that are never drawn. Raises SeqgenError for values out of range
    and WrongType for values of another type.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    exclude: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise WrongType(f"{name} is {value!r}, expected a number")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise SeqgenError(f"temperature is {self.temperature}, expected a finite number of 0 or more")
        if isinstance(self.top_k, bool) or not isinstance(self.top_k, int):
            raise WrongType(f"top_k is {self.top_k!r}, expected a whole number")
        if self.top_k < 0:
            raise SeqgenError(f"top_k is {self.top_k}, expected 0 (all symbols) or more")
        if any(isinstance(symbol, bool) or not isinstance(symbol, int) or symbol < 0 for symbol in self.exclude):
            raise SeqgenError(f"exclude is {self.exclude!r}, expected whole numbers of 0 or more")
        if not 0 < self.top_p <= 1:
            raise SeqgenError(f"top_p is {self.top_p}, expected more than 0 and at most 1")


PLAIN = Sampling()


def diverged(what: str) -> SeqgenError:
    """The error of a number that is NaN, such as a probability or a parameter."""
    return SeqgenError(f"a {what} is NaN, expected a number: the model has diverged, or its weights are damaged")


class Output(Configurable, ABC):
    """An output distribution: loss and sampler both interpret a model's parameters by it, so they cannot disagree.

    Letters: P parameters of one symbol, E width of an embedded symbol, H units; `...` any batch shape.
    """

    size: int
    """P, the number of parameters of one symbol."""
    width: int
    """E, the width of an embedded symbol, such as K for one-hot vectors."""
    dtype: torch.dtype
    """The dtype of symbols."""
    classes: int | None
    """K, where symbols are the classes 0 ... K-1; None where they are real numbers."""
    half_precision: bool = False
    """Whether parameters computed in 16 bits (bfloat16, float16) are precise enough for neighbouring symbols."""
    locations: slice | None = None
    """The location parameters (the means of a mixture), in units of the embedding; None for outputs without any."""

    @abstractmethod
    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> Distribution:
        """The distribution of symbols (...) for parameters (..., P)."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Embedded symbols (..., E), the input of a model, from symbols (...)."""

    @abstractmethod
    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """Symbols (...) by the inverse CDF at uniform noise (...) in [0, 1), float64."""

    def moved(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """Parameters (..., P), float64, of `shift + scale X`, where X has `parameters`; shift and scale are (...).

        Means are exact. A floor of the standard deviations is not scaled. Raises SeqgenError for an output without
        locations, such as classes without an order.
        """
        raise SeqgenError(f"{type(self).__name__} has no means to be predicted, expected a mixture")

    def project(self, x: Tensor, weight: Tensor) -> Tensor:
        """`embed(x) @ weight.T` (..., H) for weight (H, E); a look-up where embeddings are one-hot."""
        return F.linear(self.embed(x).to(weight.dtype), weight)

    def add(self, total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """`total + embed(x) @ weight` (B, H) for symbols (B,) and weight (E, H), as one operation if E is 1."""
        if self.width == 1:
            return torch.addcmul(total, self.embed(x).to(weight.dtype), weight)
        return total + self.project(x, weight.t())

    def fit_marginals(self, x: Tensor) -> Tensor | None:
        """Parameters (D, P) of the marginal of each column of symbols (N, D); None where there is no closed form.

        Half a count is added to every class (Jeffreys' prior), so that no probability is 0.
        """
        return None
