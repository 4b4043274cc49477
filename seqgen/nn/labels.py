"""Global conditioning on labels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context


class LabelEmbedding(nn.Module):
    """A learnt embedding of each label of a sequence; the embeddings of several labels are summed.

    Value 0 of a label is "unknown" (unconditional), with an embedding of its own; value 1 + c is class c.
    """

    def __init__(self, classes: Sequence[int], width: int) -> None:
        super().__init__()
        if min(classes, default=1) < 1:
            raise SeqgenError(f"classes are {list(classes)}, expected 1 or more for each label")
        self.classes = tuple(classes)
        self.width = width
        self.tables = nn.ParameterList(0.1 * torch.randn(count + 1, width) for count in classes)

    def forward(self, context: Context | None, batch: int) -> Tensor:
        """Embeddings (B, width) of the labels (B, L) of a context; without labels all are unknown.

        Raises SeqgenError for labels of another number, dtype or range.
        """
        labels = self._labels(context, batch)
        vectors = [table[column] for table, column in zip(self.tables, labels.unbind(1), strict=True)]
        return torch.stack(vectors).sum(0)

    def _labels(self, context: Context | None, batch: int) -> Tensor:
        if context is None or context.labels is None:
            return torch.zeros(batch, len(self.classes), dtype=torch.int64, device=self.tables[0].device)
        return check_labels(context.labels, batch, self.classes)


def refuse_labels(context: Context | None) -> None:
    """Raises SeqgenError for a context with labels; for models without labels."""
    if context is not None and context.labels is not None:
        raise SeqgenError("got labels, expected none: this model takes no labels")


def check_labels(labels: Tensor, batch: int, classes: Sequence[int]) -> Tensor:
    """The labels (B, L), unchanged. Raises SeqgenError unless they are int64 from 0 to the number of classes."""
    if labels.shape != (batch, len(classes)) or labels.dtype != torch.int64:
        expected = (batch, len(classes))
        raise SeqgenError(
            f"labels are {labels.dtype} {tuple(labels.shape)}, expected int64 (batch, labels) = {expected}"
        )
    for column, count in zip(labels.unbind(1), classes, strict=True):
        if len(column) and not 0 <= int(column.min()) <= int(column.max()) <= count:
            raise SeqgenError(f"labels are from {int(column.min())} to {int(column.max())}, expected from 0 to {count}")
    return labels
