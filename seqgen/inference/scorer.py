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
            for place, mask, x, one in zip(places, batch.mask, batch.x, nats.tolist(), strict=True):
                units = float(self.codec.lengths(x[mask]).sum())
                results[place] = Total(one, int(mask.sum()), units, self.codec.unit, self.codec.size is not None)
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
        sequences = [self._sequence(one, place, before, end) for place, one in enumerate(torch.split(symbols, counts))]
        by_length = sorted(range(len(items)), key=lambda place: len(sequences[place]))
        for places in (by_length[first : first + BATCH] for first in range(0, len(items), BATCH)):
            x = torch.nn.utils.rnn.pad_sequence([sequences[place] for place in places], batch_first=True)
            lengths = torch.tensor([[len(sequences[place])] for place in places])
            signals = None
            if self.conditioning.features is not None:
                signals = [self.modality.signal(self.codec, [prefix, items[place]]) for place in places]
            context = self.conditioning.context_of(None if labels is None else labels[places], len(places), signals)
            yield places, Batch(x, torch.arange(x.shape[1]) < lengths, context)

    def _sequence(self, symbols: Tensor, place: int, before: Tensor, end: bool) -> Tensor:
        symbols = self.codec.close(symbols) if end else symbols
        if not len(symbols):
            raise SeqgenError(f"item {place} is empty and no end symbol is counted: there is nothing to score")
        return torch.cat([before, symbols])

    def _scores(self, columns: Columns, kept: slice = slice(None)) -> Scores:
        x, log_probs, ranks, entropies = columns
        added = torch.as_tensor(self.codec.log_jacobian, dtype=torch.float64)
        log_probs = log_probs + (added[kept] if added.ndim else added)
        units = self.codec.lengths(x).sum().item()
        total = Total(-float(log_probs.sum()), len(x), units, self.codec.unit, self.codec.size is not None)
        return Scores(self.codec.names(x), log_probs, ranks, entropies, x[-1].item() == self.codec.end, total)
