"""N-gram models."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seqgen.config import SeqgenError
from seqgen.model import Batch, Carry, Context, Model
from seqgen.nn.labels import check_labels
from seqgen.nn.order import refuse_order
from seqgen.output import Output


class NGram(Model):
    """A Markov chain p(x_t | x_t-n+1 ... x_t-1) of order n, trained by counting.

    Witten-Bell smoothing (1991): with c(h x) the count of x after the history h, c(h) its sum over x and u(h) the
    number of distinct symbols observed after h,

        p_n(x | h) = (c(h x) + u(h) p_n-1(x | h')) / (c(h) + u(h)),

    where h' is h without its oldest symbol and p_0 is uniform, so that no probability is 0. Sequences are padded on the
    left with n - 1 start symbols. Labels are prepended to every history; every sequence is counted once with its labels
    and once for each subset of them set to unknown. There are no gradients: `count` does the training.

    Parameters are the K log-probabilities, float64. The tables are sparse: sorted n-gram codes and their counts.

    Args:
        output: The output distribution, with one parameter for each class.
        labels: The number of classes of each label of a sequence.
        order: n, the length of an n-gram, x_t included.
    """

    def __init__(self, output: Output, labels: Sequence[int] = (), order: int = 3) -> None:
        super().__init__()
        if isinstance(order, bool) or not isinstance(order, int) or order < 1:
            raise SeqgenError(f"order is {order!r}, expected a whole number of 1 or more")
        if output.classes != output.size:
            raise SeqgenError(
                f"output is {type(output).__name__}, expected an output with one parameter for each class: "
                "the parameters of an n-gram model are log-probabilities"
            )
        self.output = output
        self.label_sizes = tuple(labels)
        self.order = order
        self.base = output.size + 1  # K symbols and the start symbol
        if order >= 63 or math.prod(count + 1 for count in labels) * self.base**order >= 2**63:  # base >= 2
            raise SeqgenError(f"order is {order}, expected fewer than 2^63 possible n-grams of {output.size} symbols")
        for n in range(1, order + 1):
            self.register_buffer(f"codes_{n}", torch.zeros(0, dtype=torch.int64))
            self.register_buffer(f"counts_{n}", torch.zeros(0, dtype=torch.float64))

    @property
    def receptive_field(self) -> int:
        """n - 1."""
        return self.order - 1

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Log-probabilities (B, T, K), float64."""
        return self._rows(torch.cat([self._padding(x.shape[0]), x], 1), x.shape[1], context)

    def start(self, batch: int, context: Context | None = None) -> tuple[Tensor, tuple[Tensor]]:
        """Log-probabilities (B, K) of the first symbol; the state is the last n - 1 symbols (B, n - 1)."""
        history = self._padding(batch)
        return self._rows(history, 1, context)[:, 0], (history,)

    def step(self, x: Tensor, state: tuple[Tensor], context: Context | None = None) -> tuple[Tensor, tuple[Tensor]]:
        """Log-probabilities (B, T, K) of the symbol after each symbol of x (B, T), and the last n - 1 symbols."""
        known = torch.cat([state[0], x], 1)  # (B, n - 1 + T)
        return self._rows(known[:, 1:], x.shape[1], context), (known[:, x.shape[1] :],)

    def count(self, batch: Batch, carry: Carry | None = None) -> None:
        """Add the n-grams of a batch to the tables, each with the weight of its sequence."""
        x, mask = batch.x, batch.mask
        history = self._padding(x.shape[0]) if carry is None else torch.cat([carry.state[0], carry.last], 1)[:, 1:]
        known = torch.cat([history, x], 1)
        weight = torch.ones(x.shape[0]) if batch.weight is None else batch.weight
        weights = weight.to(x.device).double().unsqueeze(1).expand_as(x)[mask]
        labels = check_labels(self._labels(batch.context, x.shape[0]), x.shape[0], self.label_sizes)
        for choice in itertools.product((0, 1), repeat=len(self.label_sizes)):
            kept = torch.tensor(choice, dtype=torch.int64, device=x.device)  # int64 even if there are no labels
            # Setting a label to unknown that is unknown already would count the sequence twice.
            new = ((labels > 0) | (kept == 1)).all(1).unsqueeze(1).expand_as(x)[mask]
            prefix = self._code(labels * kept)
            for n in range(1, self.order + 1):
                codes = self._histories(known, x.shape[1], prefix, n) * self.base + x
                self._add(n, codes[mask][new], weights[new])

    def _add(self, n: int, codes: Tensor, weights: Tensor) -> None:
        new, index = torch.unique(codes, return_inverse=True)
        added = torch.zeros_like(new, dtype=torch.float64).index_add(0, index, weights)
        known, counts = self.get_buffer(f"codes_{n}"), self.get_buffer(f"counts_{n}")
        positions, found = _find(known, new)
        counts = counts.index_add(0, positions[found], added[found])
        # Merge the new codes into the sorted table.
        fresh = positions[~found] + torch.arange(len(new) - len(positions[found]), device=new.device)
        old = torch.ones(len(known) + len(fresh), dtype=torch.bool, device=new.device).index_fill(0, fresh, False)
        for name, before, more in (("codes", known, new[~found]), ("counts", counts, added[~found])):
            merged = before.new_empty(len(old))
            merged[old], merged[fresh] = before, more
            self.register_buffer(f"{name}_{n}", merged)

    def _rows(self, known: Tensor, rows: int, context: Context | None) -> Tensor:
        """Log-probabilities (B, rows, K); the history of row t is known[:, t : t + n - 1]."""
        prefix = self._code(check_labels(self._labels(context, len(known)), len(known), self.label_sizes))
        # Histories repeat: look up each of the H distinct ones once.
        longest, index = torch.unique(self._histories(known, rows, prefix, self.order), return_inverse=True)
        probs = torch.full((), 1 / self.output.size, dtype=torch.float64, device=known.device)
        for n in range(1, self.order + 1):
            # Drop the oldest symbols from the code: keep the labels and the last n - 1 symbols.
            tail = self.base ** (n - 1)
            history = longest // self.base ** (self.order - 1) * tail + longest % tail
            codes = (history * self.base).unsqueeze(-1) + torch.arange(self.output.size, device=known.device)
            positions, found = _find(self.get_buffer(f"codes_{n}"), codes)
            counts = torch.zeros_like(codes, dtype=torch.float64)  # c(h x), (H, K)
            counts[found] = self.get_buffer(f"counts_{n}")[positions[found]]
            total, kinds = counts.sum(-1, keepdim=True), found.sum(-1, keepdim=True)  # c(h) and u(h)
            probs = torch.where(total > 0, (counts + kinds * probs) / (total + kinds), probs)
        return probs.log().expand(len(longest), -1)[index]

    def _histories(self, known: Tensor, rows: int, prefix: Tensor, n: int) -> Tensor:
        """Codes (B, rows) of the n - 1 symbols before each row, with the code of the labels (B,) as prefix."""
        code = prefix.unsqueeze(1).expand(len(known), rows)
        for start in range(self.order - n, self.order - 1):
            code = code * self.base + known[:, start : start + rows]
        return code

    def _padding(self, batch: int) -> Tensor:
        return torch.full((batch, self.order - 1), self.output.size, dtype=torch.int64, device=self.device)

    def _labels(self, context: Context | None, batch: int) -> Tensor:
        refuse_order(context)
        if context is None or context.labels is None:
            return torch.zeros(batch, len(self.label_sizes), dtype=torch.int64, device=self.device)
        return context.labels

    def _code(self, labels: Tensor) -> Tensor:
        code = labels.new_zeros(len(labels))
        for column, count in zip(labels.unbind(1), self.label_sizes, strict=True):
            code = code * (count + 1) + column
        return code

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        metadata: Any,
        strict: bool,
        missing: Any,
        unexpected: Any,
        errors: Any,
    ) -> None:
        """Resize the tables to those of the checkpoint, and report the ones that are malformed."""
        kinds = math.prod(count + 1 for count in self.label_sizes)
        for n in range(1, self.order + 1):
            codes, counts = (state_dict.get(f"{prefix}{name}_{n}") for name in ("codes", "counts"))
            if codes is None or counts is None:
                continue  # nn.Module reports it as missing
            if (
                codes.dtype != torch.int64
                or counts.dtype != torch.float64
                or codes.ndim != 1
                or codes.shape != counts.shape
                or bool((codes.diff() <= 0).any())
                or not bool(((counts >= 0) & counts.isfinite()).all())
                or not bool(((codes >= 0) & (codes < kinds * self.base**n)).all())
            ):
                errors.append(f"codes_{n} and counts_{n} are not a table of sorted n-grams and their counts")
                continue
            self.register_buffer(f"codes_{n}", torch.empty_like(codes))
            self.register_buffer(f"counts_{n}", torch.empty_like(counts))
        super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)


def _find(codes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The insertion point of each wanted code in the sorted codes, and whether it is among them."""
    positions = torch.searchsorted(codes, wanted)
    found = positions < len(codes)
    found[found.clone()] = codes[positions[found]] == wanted[found]
    return positions, found
