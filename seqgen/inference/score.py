"""Log-probabilities of given sequences, symbol by symbol and in total, in constant memory."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.model import Carry, Context, Model, arranged
from seqgen.output import Output

CHUNK = 1024
"""Symbols of one sequence that are held at once."""
NUMBERS = 1 << 22
"""Parameters that are held at once, where the outputs' size makes this fewer symbols."""


@dataclass(frozen=True)
class Total:
    """The score of a sequence as a whole: `nats` = -log p; totals of parts add up."""

    nats: float = 0.0
    symbols: float = 0  # whole, unless items are weighted
    units: float = 0
    unit: str = "character"

    def __add__(self, other: "Total") -> "Total":
        return Total(self.nats + other.nats, self.symbols + other.symbols, self.units + other.units, other.unit)

    @property
    def bits(self) -> float:
        """-log2 p."""
        return self.nats / math.log(2)

    @property
    def nats_per_symbol(self) -> float:
        """Cross-entropy in nats; NaN when there is no symbol."""
        return self.nats / self.symbols if self.symbols else math.nan

    @property
    def bits_per_symbol(self) -> float:
        """Cross-entropy in bits, all symbols that the model scored, the end symbol with them if it was counted."""
        return self.nats_per_symbol / math.log(2)

    @property
    def bits_per_unit(self) -> float:
        """All bits, those of the end symbol too, over the characters of the text; NaN for an empty text."""
        return self.bits / self.units if self.units else math.nan

    @property
    def nats_per_unit(self) -> float:
        """All nats over the characters, seconds, rows or images; NaN when there are none."""
        return self.nats / self.units if self.units else math.nan

    @property
    def perplexity(self) -> float:
        """exp of the nats per symbol; infinite when that overflows, NaN when there is no symbol."""
        return math.inf if self.nats_per_symbol >= 709 else math.exp(self.nats_per_symbol)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON; None for what is not a finite number."""
        numbers = {
            "nats": self.nats,
            "bits": self.bits,
            "symbols": self.symbols,
            f"{self.unit}s": self.units,
            "nats_per_symbol": self.nats_per_symbol,
            "bits_per_symbol": self.bits_per_symbol,
            f"bits_per_{self.unit}": self.bits_per_unit,
            f"nats_per_{self.unit}": self.nats_per_unit,
            "perplexity": self.perplexity,
        }
        return {name: number if math.isfinite(number) else None for name, number in numbers.items()}


Rank = Callable[[str, Total], dict[str, float]]
"""What says how usual an item is among others, from its name and its total: numbers by name."""


def shown(ranks: dict[str, float]) -> str:
    """Such numbers behind others in a line."""
    return "".join(f" {name.replace('_', '-')} {value:.4f}" for name, value in ranks.items())


def unranked(item: str, total: Total) -> dict[str, float]:
    """Nothing: nobody asked."""
    return {}


class Columns(NamedTuple):
    """Symbols x (B, T) with log p(x_t | x_<t) in nats, rank (1: the likeliest) and entropy in nats, all (B, T).

    Of numbers, and of very many classes, there are no ranks and no entropies.
    """

    x: Tensor
    log_probs: Tensor
    ranks: Tensor | None
    entropies: Tensor | None

    def select(self, index: Any) -> "Columns":
        """The same of other rows or places."""
        x, log_probs, *rest = self
        return Columns(x[index], log_probs[index], *(None if column is None else column[index] for column in rest))

    @classmethod
    def join(cls, parts: "Sequence[Columns]") -> "Columns":
        """One behind the other in time."""
        x, log_probs, *rest = zip(*parts, strict=True)
        joined = (None if column[0] is None else torch.cat(column, 1) for column in rest)
        return cls(torch.cat(x, 1), torch.cat(log_probs, 1), *joined)


@dataclass(frozen=True)
class Scores:
    """The score of one sequence, symbol by symbol.

    `names` are readable symbols; `log_probs` (T,) float64 is log p(x_t | x_<t) in nats; `ranks` (T,) is one more
    than the number of likelier symbols (1: the model's first guess); `entropies` (T,) in nats is how uncertain the
    model was; both are None for numbers and for very many classes. `end_counted` says whether the last symbol is the
    end of the sequence. `p_value` is the rank among held-out items, where it was asked for.
    """

    names: list[str]
    log_probs: Tensor
    ranks: Tensor | None
    entropies: Tensor | None
    end_counted: bool
    total: Total
    p_value: float | None = None

    @property
    def log_prob(self) -> float:
        """log p of the whole, in nats."""
        return -self.total.nats

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON: the total's numbers, `end_counted`, and one entry for each symbol."""
        columns = {"symbol": self.names, "log_prob": self.log_probs.tolist()}
        columns |= {} if self.ranks is None else {"rank": self.ranks.tolist()}
        columns |= {} if self.entropies is None else {"entropy": self.entropies.tolist()}
        symbols = [dict(zip(columns, column, strict=True)) for column in zip(*columns.values(), strict=True)]
        ranked = {} if self.p_value is None else {"p_value": self.p_value}
        return {**self.total.as_dict(), **ranked, "end_counted": self.end_counted, "per_symbol": symbols}


@torch.inference_mode()
def follow(model: Model, pieces: Iterable[Tensor], context: Context | None = None) -> Iterator[Columns]:
    """Scores of B sequences given in pieces (B, T), with the state carried.

    Memory is that of one chunk, or, where sequences have at most D symbols, that of the piece.
    """
    carry: Carry | None = None
    for piece in pieces:
        length = max(1, min(CHUNK, NUMBERS // (max(1, len(piece)) * model.output.size)))
        if model.dimensions is not None:  # short, and a model of images looks at all before it again
            length = max(1, piece.shape[1])
        for x in torch.split(piece.to(model.device), length, 1):
            if x.shape[1]:
                rows, carry = model.advance(x, carry, context)
                yield columns(model.output, rows, x)


def columns(output: Output, parameters: Tensor, x: Tensor) -> Columns:
    """Log-probabilities, ranks and entropies (B, T) of symbols x (B, T) under parameters (B, T, P), in float64."""
    distribution = output(parameters.double())
    log_probs = distribution.log_prob(x)
    if output.classes is None or output.size < output.classes - 1:
        return Columns(x.cpu(), log_probs.cpu(), None, None)  # numbers, or too many classes to look at each
    rivals = distribution.log_prob(distribution.enumerate_support(expand=False))  # (K, B, T)
    ranks = (rivals > log_probs).sum(0) + 1
    return Columns(x.cpu(), log_probs.cpu(), ranks.cpu(), distribution.entropy().cpu())


@torch.inference_mode()
def ensemble(model: Model, x: Tensor, context: Context | None = None, orders: int = 1) -> Tensor:
    """log p(x) (B,) of vectors (B, D) under the mixture of a model's first factorisations, float64, in nats.

    `p(x) = 1/M sum_m p(x | factorisation m)`: probabilities are averaged, as of any mixture, where an average of
    parameters or of log-probabilities would be no density. Raises SeqgenError for more than the model was made for.
    """
    if orders < 1 or (model.orders is not None and orders > model.orders):
        raise SeqgenError(
            f"orders is {orders}, expected 1 to {model.orders or 'any number'}, what the model was made for"
        )
    totals = []
    for number in range(orders):
        y, said = arranged(x, context, model.order_number(number))
        totals.append(model.output(model(y, said).double()).log_prob(y).sum(1))
    return torch.stack(totals).logsumexp(0) - math.log(orders)
