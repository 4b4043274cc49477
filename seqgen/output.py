"""What a model's parameters mean: from P numbers to the distribution of the next symbol, and to the symbol."""

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
    """How to draw the next symbol; the default is the model's own distribution.

    `temperature` scales the distribution's sharpness (0 is the mode); `top_k` keeps the k likeliest symbols (0: all);
    `top_p` keeps the smallest set of likeliest symbols whose probability reaches p (nucleus sampling, Holtzman et al.
    2019, arXiv:1904.09751); `exclude` names symbols that are never drawn. Raises SeqgenError for values
    that make no sense.
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
            raise SeqgenError(f"exclude is {self.exclude!r}, expected symbols")
        if not 0 < self.top_p <= 1:
            raise SeqgenError(f"top_p is {self.top_p}, expected more than 0 and at most 1")


PLAIN = Sampling()


class Output(Configurable, ABC):
    """The meaning of a model's parameters, the only place where it is written, so loss and sampler cannot disagree.

    Letters: P parameters a symbol, E width of an embedded symbol; `...` any batch shape.
    """

    size: int
    """P, the number of parameters of one symbol."""
    width: int
    """E, the number of values that stand for one symbol at a model's input."""
    dtype: torch.dtype
    """Of the symbols."""
    classes: int | None
    """K, where symbols are the classes 0 ... K-1; None where they are real numbers."""
    half_precision: bool = False
    """Whether parameters computed in 16 bits (bfloat16, float16) tell neighbouring symbols apart."""
    shifts: slice | None = None
    """Which of the parameters move the symbol, in units of its embedding, so that a model may add to them."""

    @abstractmethod
    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> Distribution:
        """The distribution of symbols (...) given parameters (..., P)."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Symbols (...) as inputs (..., E) for the symbols that follow."""

    @abstractmethod
    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """The symbols (...) at which the inverse of the CDF meets uniform noise (...) in [0, 1), float64."""

    def project(self, x: Tensor, weight: Tensor) -> Tensor:
        """`embed(x) @ weight.T`, for weight (H, E): (..., H). Outputs with sparse embeddings do it by look-up."""
        return F.linear(self.embed(x).to(weight.dtype), weight)

    def add(self, total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """`total (B, H) + embed(x) @ weight` for symbols (B,) and weight (E, H), in as few operations as it takes."""
        if self.width == 1:
            return torch.addcmul(total, self.embed(x).to(weight.dtype), weight)
        return total + self.project(x, weight.t())

    def fitted(self, x: Tensor) -> Tensor | None:
        """Parameters (D, P) that fit each column of symbols (N, D) by itself; None where there is no formula for them.

        Half a symbol of every kind is added, so that nothing becomes impossible (Jeffreys' prior).
        """
        return None
