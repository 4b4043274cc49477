"""Scores of items: their log-probabilities, symbol by symbol or in total, and their rank among held-out ones."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.config import SeqgenError
from seqgen.inference.conditioning import Conditioning, Label
from seqgen.inference.score import CHUNK, Columns, Scores, Total, jacobian, score, score_batch
from seqgen.modality import Modality
from seqgen.model import Batch, Model

BATCH = 64
"""Sequences that are scored at once."""
SHORT, MANY = 32, 256
"""Up to so many symbols, so many sequences are: a tenth faster for names, where steps are products of few rows."""


class Scorer:
    """Scores items with a model, its codec and its conditioning."""

    def __init__(self, model: Model, codec: Codec, modality: Modality, conditioning: Conditioning) -> None:
        self.model, self.codec, self.modality, self.conditioning = model, codec, modality, conditioning

    def score(
        self, items: Sequence[Any], *, prefix: Any = None, label: Label | Sequence[Label] = None, end: bool = True
    ) -> list[Scores]:
        """log p(item | prefix, label) of every item, symbol by symbol; `end` False leaves the end symbol out.

        Raises SeqgenError when there is nothing to score, and what the codec raises.
        """
        if prefix is not None and self.codec.length is not None:
            raise SeqgenError("items that all have the same number of symbols are scored whole, expected no prefix")
        before = torch.zeros(0, dtype=self.model.output.dtype) if prefix is None else self.codec.encode(prefix)
        order = self.model.order_starting_with(torch.arange(len(before)))
        results: dict[int, Scores] = {}
        for places, batch in self._batches(items, before, prefix, label, end):
            columns = score_batch(self.model, batch, order=order, detail=True).columns
            assert columns is not None  # asked for
            for row, place in enumerate(places):
                kept = slice(len(before), int(batch.mask[row].sum()))
                results[place] = self._scores(columns.select((row, kept)), kept)
        return [results[place] for place in range(len(items))]

    def totals(self, items: Sequence[Any], *, label: Label | Sequence[Label] = None, orders: int = 1) -> list[Total]:
        """log p(item | label) of every item in total, under the mixture of the model's first factorisations.

        Raises SeqgenError for more factorisations than the model was made for.
        """
        results: dict[int, Total] = {}
        nothing = torch.zeros(0, dtype=self.model.output.dtype)
        for places, batch in self._batches(items, nothing, None, label, True):
            (scored,) = score(self.model, [batch], orders=orders)
            nats = -(scored.totals + jacobian(self.codec.log_jacobian, scored.batch.mask))
            counts, units = batch.mask.sum(1), (self.codec.lengths(batch.x) * batch.mask).double().sum(1)
            rows = zip(places, nats.tolist(), counts.tolist(), units.tolist(), strict=True)
            for place, one, count, length in rows:
                results[place] = Total(one, count, length, self.codec.unit, self.codec.size is not None)
        return [results[place] for place in range(len(items))]

    def pieces(
        self, pieces: Iterable[Any], *, label: Label = None, condition: Any = None, end: bool = True
    ) -> Iterator[Scores]:
        """Scores of consecutive parts of one long item that comes in pieces, in constant memory."""
        order = self.model.order_number(0)
        if self.codec.length is not None or not (order is None or order.natural):
            raise SeqgenError("got an item in pieces; items of a fixed number of symbols are scored whole")
        signals = None if condition is None else [self.modality.signal(self.codec, condition)]
        context = self.conditioning.context(label, 1, signals)
        closing = [self.codec.close(torch.zeros(0, dtype=torch.int64))] if end and self.codec.end is not None else []
        symbols = (
            part
            for source in (self.codec.pieces(pieces), closing)
            for piece in source
            for part in torch.split(piece, CHUNK)
            if len(part)
        )
        batches = (
            Batch(x.unsqueeze(0), torch.ones(1, len(x), dtype=torch.bool), context, window=number)
            for number, x in enumerate(symbols)
        )
        for part in score(self.model, batches, detail=True):
            assert part.columns is not None  # asked for
            yield self._scores(part.columns.select(0))

    def _batches(
        self, items: Sequence[Any], before: Tensor, prefix: Any, label: Label | Sequence[Label], end: bool
    ) -> Iterator[tuple[list[int], Batch]]:
        """Batches of items of similar length, and which items they hold."""
        labels = self.conditioning.classes(label, len(items))
        symbols, counts = self.codec.encode_all(items)
        closing = self.codec.close(symbols[:0]) if end else symbols[:0]
        own = torch.tensor(counts, dtype=torch.int64)
        if len(own) and not len(closing) and not int(own.min()):
            raise SeqgenError(f"item {int(own.argmin())} is empty and no end symbol is counted: nothing to score")
        starts = own.cumsum(0) - own
        order, short = torch.argsort(own, stable=True), int((own <= SHORT).sum())
        groups = (*torch.split(order[:short], MANY), *torch.split(order[short:], BATCH))
        for chosen in filter(len, groups):
            places = chosen.tolist()
            x, mask = rows(symbols, starts[chosen], own[chosen], before, closing)
            signals = None
            if self.conditioning.features is not None:
                signals = [self.modality.signal(self.codec, [prefix, items[place]]) for place in places]
            context = self.conditioning.context_of(None if labels is None else labels[places], len(places), signals)
            yield places, Batch(x, mask, context)

    def _scores(self, columns: Columns, kept: slice = slice(None)) -> Scores:
        x, log_probs, ranks, entropies = columns
        added = torch.as_tensor(self.codec.log_jacobian, dtype=torch.float64)
        log_probs = log_probs + (added[kept] if added.ndim else added)
        units = self.codec.lengths(x).sum().item()
        total = Total(-float(log_probs.sum()), len(x), units, self.codec.unit, self.codec.size is not None)
        return Scores(self.codec.names(x), log_probs, ranks, entropies, x[-1].item() == self.codec.end, total)


def rows(symbols: Tensor, starts: Tensor, counts: Tensor, before: Tensor, behind: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, T) of symbols `before`, `counts` (B,) of `symbols` from `starts` (B,) on, and symbols `behind`.

    And the mask (B, T) of what they fill; the rest is 0.
    """
    column = torch.arange(len(before) + int(counts.max()) + len(behind)).unsqueeze(0)
    own, past = column - len(before), column - len(before) - counts.unsqueeze(1)
    shared = len(symbols) + torch.where(own < 0, column, len(before) + past)
    source = torch.where((own < 0) | (past >= 0), shared, starts.unsqueeze(1) + own)
    mask = past < len(behind)
    return torch.cat([symbols, before, behind])[source.masked_fill(~mask, 0)].masked_fill(~mask, 0), mask
