"""Log-probabilities of given sequences, symbol by symbol and in total, in constant memory."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.config import SeqgenError
from seqgen.model import Batch, Carry, Model, Order, arranged
from seqgen.output import Output

CHUNK = 2048
"""Symbols of one sequence that are held at once."""
NUMBERS = 1 << 22
"""Parameters that are held at once, where the outputs' size makes this fewer symbols."""


@dataclass(frozen=True)
class Total:
    """The score of a sequence as a whole: `nats` = -log p; totals of parts add up.

    `symbols` were scored; `units` are the characters, seconds, rows or images that they make up. Not `discrete` is the
    density of numbers, which has no perplexity.
    """

    nats: float = 0.0
    symbols: float = 0  # whole, unless items are weighted
    units: float = 0
    unit: str = "character"
    discrete: bool = True

    def __add__(self, other: "Total") -> "Total":
        sums = (self.nats + other.nats, self.symbols + other.symbols, self.units + other.units)
        return Total(*sums, other.unit, self.discrete and other.discrete)

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
            **({"perplexity": self.perplexity} if self.discrete else {}),
        }
        return {name: number if math.isfinite(number) else None for name, number in numbers.items()}


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
    def join(cls, parts: "Sequence[Columns]", dim: int = 1) -> "Columns":
        """Consecutive pieces of the same rows, or, along dimension 0, other rows."""
        x, log_probs, *rest = zip(*parts, strict=True)
        joined = (None if column[0] is None else torch.cat(column, dim) for column in rest)
        return cls(torch.cat(x, dim), torch.cat(log_probs, dim), *joined)


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
        ranked = {} if self.p_value is None else {"p_value": self.p_value}
        return {**self.total.as_dict(), **ranked, "end_counted": self.end_counted, "per_symbol": self.symbols()}

    def symbols(self) -> list[dict[str, Any]]:
        """Of each symbol its name, its log-probability and, for classes, its rank and the entropy, as plain JSON."""
        columns = {"symbol": self.names, "log_prob": self.log_probs.tolist()}
        columns |= {} if self.ranks is None else {"rank": self.ranks.tolist()}
        columns |= {} if self.entropies is None else {"entropy": self.entropies.tolist()}
        return [dict(zip(columns, column, strict=True)) for column in zip(*columns.values(), strict=True)]


class RowScores(NamedTuple):
    """What the scoring loop yields for one batch.

    `totals` (B,) float64 is log p of the counted symbols of every row, in nats; `columns` holds the scores of single
    symbols where they were asked for; `carry` is where the next window of the same sequences goes on.
    """

    batch: Batch
    totals: Tensor
    columns: Columns | None = None
    carry: Carry | None = None

    def total(self, codec: Codec, log_jacobian: Tensor | float | None = None) -> Total:
        """The sum over rows, each times its weight, as a score of the items that a codec's symbols stand for.

        `log_jacobian` is the codec's unless given: 0 keeps the density of symbols.
        """
        x, mask, _, weight, _ = self.batch
        added = jacobian(codec.log_jacobian if log_jacobian is None else log_jacobian, mask)
        counted = mask.double() if weight is None else mask * weight.double().unsqueeze(1)
        nats = self.totals + added
        if weight is not None:
            nats = (nats * weight).masked_fill(weight == 0, 0)
        units = (codec.lengths(x.cpu()).to(x.device) * counted).sum()
        return Total(-float(nats.sum()), float(counted.sum()), float(units), codec.unit, codec.size is not None)


def jacobian(log_jacobian: Tensor | float, mask: Tensor) -> Tensor:
    """The sum (B,) of a codec's log-Jacobian, a number or one a symbol (T,), over the counted symbols of a mask."""
    return (torch.as_tensor(log_jacobian, dtype=torch.float64, device=mask.device) * mask).sum(1)


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """The model in evaluation mode, without dropout, and afterwards in the mode it was in."""
    before = model.training
    if before:
        model.eval()
    try:
        yield
    finally:
        if before:
            model.train()


def score(
    model: Model, batches: Iterable[Batch], *, orders: int = 1, order: Order | None = None, detail: bool = False
) -> Iterator[RowScores]:
    """The scoring loop: log p(x) of every row of every batch, in float64; windows continue those before them.

    Memory is bounded by `NUMBERS` parameters at a time, whatever the batches. For vectors `orders` > 1 scores the
    mixture of the model's first factorisations, `p(x) = 1/M sum_m p(x | m)`: probabilities are averaged, where an
    average of parameters or of log-probabilities would be no density. `order` is that of all rows, by default the
    model's first. `detail` keeps the scores of single symbols. Raises SeqgenError for more factorisations than the
    model was made for.
    """
    carry: Carry | None = None
    for batch in batches:
        scored = score_batch(model, batch, carry, orders=orders, order=order, detail=detail)
        carry = scored.carry
        yield scored


@torch.inference_mode()
def score_batch(
    model: Model,
    batch: Batch,
    carry: Carry | None = None,
    *,
    orders: int = 1,
    order: Order | None = None,
    detail: bool = False,
) -> RowScores:
    """The body of the scoring loop; `carry` is that of the window before, if the batch is not the first window."""
    check_orders(model, orders)
    batch = batch.to(model.device)
    carry = carry if batch.window else None
    with evaluating(model):
        if model.dimensions is None or batch.window is not None:
            parts, carry = _chunks(model, batch, carry, detail)
            totals = sum(
                (part.totals for part in parts), torch.zeros(len(batch.x), dtype=torch.float64, device=model.device)
            )
            columns = Columns.join([part.columns for part in parts if part.columns is not None]) if detail else None
        else:
            groups = [_vectors(model, group, orders, order, detail) for group in _groups(model, batch)]
            totals = torch.cat([group.totals for group in groups])
            columns = (
                Columns.join([group.columns for group in groups if group.columns is not None], 0) if detail else None
            )
            carry = None
    return RowScores(batch, totals.double(), columns, carry)


def check_orders(model: Model, orders: int) -> None:
    """Raises SeqgenError for more factorisations than the model was made for."""
    if orders < 1 or (model.orders is not None and orders > model.orders):
        raise SeqgenError(
            f"orders is {orders}, expected 1 to {model.orders or 'any number'}, what the model was made for"
        )


def _chunks(model: Model, batch: Batch, carry: Carry | None, detail: bool) -> tuple[list[RowScores], Carry | None]:
    """Pieces of sequences in time, the state carried from one to the next."""
    x, mask, context, *_ = batch
    length = max(1, min(CHUNK, NUMBERS // (max(1, len(x)) * model.output.size)))
    if model.dimensions is not None:  # short, and a model of images would see all before a piece again
        length = max(1, x.shape[1])
    found = []
    pieces = zip(torch.split(x, length, 1), torch.split(mask, length, 1), strict=True)
    for piece, counted in pieces if x.shape[1] else ():
        rows, carry = model.advance(piece, carry, context)
        found.append(_scored(model, rows, piece, counted, detail))
    return found, carry


def _groups(model: Model, batch: Batch) -> Iterator[Batch]:
    """Rows of vectors together, as many as memory allows: a model of images sees a whole one at once."""
    size = max(1, NUMBERS // (max(1, batch.x.shape[1]) * model.output.size))
    for first in range(0, len(batch.x), size):
        yield batch.rows(slice(first, first + size))


def _vectors(model: Model, batch: Batch, orders: int, order: Order | None, detail: bool) -> RowScores:
    """Whole vectors in one factorisation, or under the mixture of several."""
    members = [order or model.order_number(0)] if orders == 1 else map(model.order_number, range(orders))
    found = []
    for member in members:
        x, context = arranged(batch.x, batch.context, member)
        mask, _ = arranged(batch.mask, None, member)
        scored = _scored(model, model(x, context), x, mask, detail and orders == 1)
        found.append(scored if member is None else scored._replace(columns=_restored(scored.columns, member)))
    if orders == 1:
        return found[0]
    totals = torch.stack([one.totals for one in found]).logsumexp(0) - math.log(orders)
    return RowScores(batch, totals)


def _restored(columns: Columns | None, order: Order) -> Columns | None:
    if columns is None:
        return None
    places = order.restore(torch.arange(columns.x.shape[1], device=order.permutation.device)).cpu()
    return columns.select((slice(None), places))


def _scored(model: Model, parameters: Tensor, x: Tensor, mask: Tensor, detail: bool) -> RowScores:
    if detail:
        columns = score_symbols(model.output, parameters, x)
        log_probs = columns.log_probs.to(mask.device)
    else:
        columns, log_probs = None, model.output(parameters.double()).log_prob(x)
    # Filled, not multiplied: 0 times the -inf of an impossible symbol behind a sequence's end is not a number.
    return RowScores(Batch(x, mask), log_probs.masked_fill(~mask, 0).sum(1), columns)


def score_symbols(output: Output, parameters: Tensor, x: Tensor) -> Columns:
    """Log-probabilities, ranks and entropies (B, T) of symbols x (B, T) under parameters (B, T, P), in float64."""
    distribution = output(parameters.double())
    log_probs = distribution.log_prob(x)
    if output.classes is None or output.size < output.classes - 1:
        return Columns(x.cpu(), log_probs.cpu(), None, None)  # numbers, or too many classes to look at each
    rivals = distribution.log_prob(distribution.enumerate_support(expand=False))  # (K, B, T)
    ranks = (rivals > log_probs).sum(0) + 1
    return Columns(x.cpu(), log_probs.cpu(), ranks.cpu(), distribution.entropy().cpu())
