"""Scores of items: their log-probabilities, and what these tell."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.inference import detect
from seqgen.inference.conditioning import Conditioned, Label
from seqgen.inference.detect import Calibration, Side
from seqgen.inference.score import NUMBERS, Columns, Scores, Total, ensemble, follow
from seqgen.model import arranged

BATCH = 64
"""Sequences that are scored at once."""


class Scorer(Conditioned):
    """Judges items; `calibration` holds the held-out scores that an item is ranked among."""

    calibration: Calibration | None = None

    @overload
    def score(
        self,
        item: list[Any],
        *,
        prefix: Any = None,
        label: Label | list[Label] = None,
        end: bool = True,
        p_value: Side | None = None,
    ) -> list[Scores]: ...
    @overload
    def score(
        self, item: Any, *, prefix: Any = None, label: Label = None, end: bool = True, p_value: Side | None = None
    ) -> Scores: ...
    def score(
        self,
        item: Any,
        *,
        prefix: Any = None,
        label: Label | list[Label] = None,
        end: bool = True,
        p_value: Side | None = None,
    ) -> Scores | list[Scores]:
        """log p(item | prefix, label), symbol by symbol; of a list of items, a list, with one label or as many.

        A model with features is conditioned on those of the item itself, behind the prefix. `end` False leaves the
        end symbol out, for an item that may go on. Items of a list are scored in batches, which changes nothing but the
        speed; the model's memory does not grow with an item's length. `p_value` "low" or "both" asks for the rank among
        held-out items. Raises SeqgenError when there is nothing to score, and what the codec raises.
        """
        if not isinstance(item, list):
            scores: list[Scores] = self.score([item], prefix=prefix, label=label, end=end, p_value=p_value)
            return scores[0]
        if p_value is not None and (prefix is not None or not end):
            raise SeqgenError("a p-value is that of a whole item: expected no prefix and the end counted")
        if prefix is not None and self.codec.length is not None:
            raise SeqgenError("items that all have as many symbols are scored whole, expected no prefix")
        before, labels = self._prompt(prefix), self.numbered(label, len(item))
        order = self.model.order_starting_with(torch.arange(len(before)))
        symbols, counts = self.codec.encode_all(item)
        encoded = zip(torch.split(symbols, counts), range(len(item)), strict=True)
        sequences = [self._sequence(one, place, before, end) for one, place in encoded]
        by_length = sorted(range(len(item)), key=lambda place: len(sequences[place]))  # like lengths pad little
        results: dict[int, Scores] = {}
        size = BATCH
        if self.model.dimensions is not None:
            size = max(1, min(BATCH, NUMBERS // (self.model.dimensions * self.model.output.size)))
        for group in (by_length[first : first + size] for first in range(0, len(item), size)):
            padded = torch.nn.utils.rnn.pad_sequence([sequences[place] for place in group], batch_first=True)
            sounds = [[prefix, item[place]] for place in group] if self.features is not None else None
            context = self.context_of(None if labels is None else labels[group], len(group), sounds)
            x, context = arranged(padded.to(self.model.device), context, order)
            columns = Columns.join(list(follow(self.model, [x], context)))
            if order is not None:
                columns = columns.select((slice(None), order.restore(torch.arange(x.shape[1], device=x.device)).cpu()))
            for row, place in enumerate(group):
                kept = slice(len(before), len(sequences[place]))
                results[place] = self._scores(columns.select((row, kept)), kept)
        if p_value is not None:
            for place, one in results.items():
                said = self.labelled(label[place] if isinstance(label, list) else label)
                results[place] = dataclasses.replace(one, p_value=self.p_value(one.total, said, p_value))
        return [results[place] for place in range(len(item))]

    def labelled(self, label: Label) -> bool:
        """Whether all of the model's labels are said, or none. Raises SeqgenError for some: nothing was ranked so."""
        said = self.numbered(label, 1)
        if said is not None and not bool(said.all()):
            raise SeqgenError(f"label is {label!r}; expected all of {', '.join(self.labels)} or none, for a p-value")
        return said is not None

    def p_value(self, total: Total, labelled: bool = False, side: Side = "low") -> float:
        """The rank of an item's log p per symbol among held-out ones of like length, scored given a label or not.

        Raises SeqgenError for a model without held-out scores.
        """
        if self.calibration is None:
            raise SeqgenError("the model has no held-out scores to rank among; seqgen calibrate RUN adds them")
        return self.calibration.p_value(-total.nats_per_symbol, total.symbols, labelled, side)

    def ratios(self, items: list[Any], background: "Scorer", *, label: Label | list[Label] = None) -> list[float]:
        """log p(item) less that of a background model, which takes no labels, in nats per symbol of this one.

        Raises SeqgenError for a background model whose items are of other symbols.
        """
        self.check_background(background)
        own, other = self.score(items, label=label), background.score(items)
        pairs = zip(own, other, strict=True)
        return [detect.likelihood_ratio(one.log_prob, two.log_prob, one.total.symbols) for one, two in pairs]

    def check_background(self, background: "Scorer") -> None:
        """Raises SeqgenError for a model of pictures of another size or of other levels, or of other columns."""
        own, other = ((type(codec), codec.length, codec.size) for codec in (self.codec, background.codec))
        if own[0] is not other[0] or (self.codec.length is not None and own != other):
            told = [
                f"{kind.__name__} of {length} symbols in {size or 'numbers'}" for kind, length, size in (own, other)
            ]
            raise SeqgenError(f"the background model is one of {told[1]}, expected {told[0]}, as the model itself")

    def purify(self, items: list[Any], radius: int, *, label: Label = None, below: float | None = None) -> list[Any]:
        """The likeliest items of which no symbol is farther than `radius` levels away, found symbol by symbol.

        With `below` only items whose p-value is smaller are changed. Raises SeqgenError for items without levels.
        """
        if self.codec.length is None:
            raise SeqgenError(f"{type(self.codec).__name__} has no levels that are near each other")
        if not items:
            return []
        x = torch.stack([self.codec.encode(item) for item in items])
        chosen = list(range(len(items)))
        if below is not None:
            ranked = self.score(items, label=label, p_value="low")
            chosen = [place for place, one in enumerate(ranked) if one.p_value is not None and one.p_value < below]
        for first in range(0, len(chosen), BATCH):
            group = chosen[first : first + BATCH]
            x[group] = detect.purify(self.model, x[group], radius, self.context(label, len(group))).cpu()
        return [self.codec.decode(row) for row in x]

    def _sequence(self, symbols: Tensor, place: int, before: Tensor, end: bool) -> Tensor:
        symbols = self.codec.close(symbols) if end else symbols
        if not len(symbols):
            raise SeqgenError(f"item {place} is empty and no end symbol is counted: there is nothing to score")
        return torch.cat([before, symbols])

    def score_orders(self, items: Sequence[Any], orders: int, *, label: Label | list[Label] = None) -> list[Total]:
        """Totals of vectors under the mixture of the model's first factorisations, of which each has equal weight.

        Raises SeqgenError for more factorisations than the model was made for.
        """
        labels, totals = self.numbered(label, len(items)), []
        for first in range(0, len(items), BATCH):
            group = slice(first, first + BATCH)
            x = torch.stack([self.codec.encode(item) for item in items[group]]).to(self.model.device)
            context = self.context_of(None if labels is None else labels[group], len(x), None)
            log_probs = ensemble(self.model, x, context, orders) + self._log_jacobian(slice(x.shape[1])).sum()
            units = self.codec.lengths(x[0].cpu()).sum().item()
            totals += [Total(-nats, x.shape[1], units, self.codec.unit) for nats in log_probs.tolist()]
        return totals

    def _log_jacobian(self, kept: slice) -> Tensor:
        whole = torch.as_tensor(self.codec.log_jacobian, dtype=torch.float64)
        return whole[kept] if whole.ndim else whole

    def _scores(self, columns: Columns, kept: slice = slice(None)) -> Scores:
        x, log_probs, ranks, entropies = columns
        log_probs = log_probs + self._log_jacobian(kept)
        total = Total(-float(log_probs.sum()), len(x), self.codec.lengths(x).sum().item(), self.codec.unit)
        return Scores(self.codec.names(x), log_probs, ranks, entropies, x[-1].item() == self.codec.end, total)

    def score_pieces(
        self, pieces: Iterable[Any], *, label: Label = None, condition: Any = None, end: bool = True
    ) -> Iterator[Scores]:
        """The score of one long item that comes in pieces, in constant memory: scores of consecutive parts.

        The totals of the parts add up to the item's. A model with features needs the whole sound as `condition`.
        """
        context = self.context(label, 1, None if condition is None else [condition])
        order = self.model.order_number(0)
        if self.codec.length is not None or not (order is None or order.natural):
            raise SeqgenError("an item with a number of symbols of its own, or in an order of its own, is scored whole")
        closing = [self.codec.close(torch.zeros(0, dtype=torch.int64))] if end and self.codec.end is not None else []
        symbols = (piece.unsqueeze(0) for source in (self.codec.pieces(pieces), closing) for piece in source)
        for part in follow(self.model, symbols, context):
            yield self._scores(part.select(0))

    def _prompt(self, prompt: Any) -> Tensor:
        return torch.zeros(0, dtype=self.model.output.dtype) if prompt is None else self.codec.encode(prompt)
