"""The interface of compiled samplers, which draw the symbols that the plain loop of `generate` would, only faster.

The law: the same noise gives the same symbols, but for draws whose noise lies within 1e-5 of the boundary between two
symbols.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.model import Context, Model, State
from seqgen.output import Sampling

Choice = Literal["auto", "plain", "compiled"]
"""Which loop draws: the compiled one where there is one, the plain one, or the compiled one or an error."""
CHOICES: tuple[Choice, ...] = ("auto", "plain", "compiled")


class Unsupported(SeqgenError):
    """A request that no engine can honour; the message says why."""


class Request(NamedTuple):
    """What is to be drawn: B sequences that go on from a state of `Model.start` and `step`.

    `parameters` (B, P) are those of the next symbol, `time` is the number of symbols so far, `length` that of symbols
    to draw, and `end` the symbol that ends a sequence, if there is one.
    """

    sampling: Sampling
    context: Context | None
    parameters: Tensor
    state: State
    time: int
    length: int
    end: int | None = None


class Sampler(ABC):
    """Draws symbols of the B sequences of a request."""

    @abstractmethod
    def draw(self, noise: Tensor) -> Tensor:
        """The next symbols (B, n) at uniform noise (B, n) in [0, 1), float64, n >= 1.

        Once every row has ended, fewer columns; behind the end of a row its symbols are the end symbol. Raises
        SeqgenError for parameters that are NaN.
        """


Offer = Callable[[Any, Request], Sampler]
"""A sampler for a model and a request. Raises Unsupported."""
OFFERS: dict[type[Model], Offer] = {}


def offers(model: type[Model]) -> Callable[[Offer], Offer]:
    """Register an offer for a class of models; not for subclasses, which may compute something else."""

    def register(offer: Offer) -> Offer:
        OFFERS[model] = offer
        return offer

    return register


def sampler(model: Model, request: Request) -> Sampler:
    """A compiled sampler. Raises Unsupported, and SeqgenError for what the plain loop refuses too."""
    if (offer := OFFERS.get(type(model))) is None:
        raise Unsupported(f"there is none for {type(model).__name__}")
    if model.dimensions is not None and request.time + request.length > model.dimensions:
        wanted = request.time + request.length
        raise SeqgenError(f"a sequence of {wanted} symbols was asked for, expected at most {model.dimensions}")
    return offer(model, request)
