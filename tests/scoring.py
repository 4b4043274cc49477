"""The scoring loop on plain tensors."""

from collections.abc import Iterable

import torch
from torch import Tensor

from seqgen.inference.score import RowScores, score, score_batch
from seqgen.model import Batch, Context, Model


def ensemble(model: Model, x: Tensor, context: Context | None = None, orders: int = 1) -> Tensor:
    """log p(x) (B,) of vectors (B, D) under the mixture of a model's first factorisations."""
    return score_batch(model, Batch(x, torch.ones(x.shape, dtype=torch.bool), context), orders=orders).totals


def follow(model: Model, pieces: Iterable[Tensor]) -> list[RowScores]:
    """Scores of sequences that come in pieces (B, T)."""
    ones = (Batch(x, torch.ones(x.shape, dtype=torch.bool), window=number) for number, x in enumerate(pieces))
    return list(score(model, ones))
