"""What the layers of image models have in common: whole images at once, or row by row and pixel by pixel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order

Kept = tuple[Tensor, ...]
"""What layers keep of one pixel for those right of it and for the next row, each tensor (L, B, ...)."""


class Rows(NamedTuple):
    """What layers know where a row begins.

    `above` is what the pixels of the row get from the rows above, each tensor (W, L, B, ...); `memory` what the next
    rows will need of those; `weights` the masked matrices; `bias` (L, B, G) is added to the gates.
    """

    above: tuple[Tensor, ...]
    memory: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    bias: Tensor


class Stack(nn.Module, ABC):
    """L layers over the features (B, n, W, S) of the pixels of an image, with residual connections.

    A pixel sees those above it and left of it, and of its own features those of earlier channels and of its own. What
    it gets from above is computed for a whole row at once. The law, which the models' tests hold all stacks to: row by
    row and pixel by pixel the features are those of `forward`.

    Args:
        layers: L.
        gates: G, numbers of a pixel in each layer that a bias is added to, and what labels say.
        labels: The number of classes of every label.
    """

    def __init__(self, layers: int, gates: int, labels: Sequence[int]) -> None:
        super().__init__()
        if layers < 1:
            raise SeqgenError(f"layers is {layers}, expected 1 or more")
        self.label_sizes = tuple(labels)
        self.bias = nn.Parameter(torch.zeros(layers, gates))
        self.labels = LabelEmbedding(labels, self.bias.numel()) if labels else None

    @property
    def layers(self) -> range:
        """The number of each layer."""
        return range(len(self.bias))

    def biases(self, context: Context | None, batch: int) -> Tensor:
        """(L, B, G), with what the labels add. Raises SeqgenError for labels that the model lacks."""
        refuse_order(context)
        bias = self.bias.unsqueeze(1)
        if self.labels is None:
            refuse_labels(context)
            return bias.expand(-1, batch, -1)
        added: Tensor = self.labels(context, batch)
        return bias + added.view(batch, *self.bias.shape).transpose(0, 1)

    @abstractmethod
    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) behind the last layer; `inputs` (B, n, W, I) are those of the model."""

    @abstractmethod
    def first(self, batch: int, width: int, context: Context | None) -> Rows:
        """What is known where the first row, of `width` pixels, begins."""

    @abstractmethod
    def next(self, rows: Rows, kept: Sequence[Kept], inputs: Tensor) -> Rows:
        """What is known where the next row begins, from what was kept of a row's pixels and the last rows' inputs."""

    @abstractmethod
    def pixel(self, h: Tensor, rows: Rows, kept: Sequence[Kept]) -> tuple[Tensor, Kept]:
        """Features (B, S) of a pixel behind the last layer, and what to keep; `kept` is that of the pixels left."""


def past(kept: Sequence[Kept], gates: Tensor, weight: Tensor, count: int) -> Tensor:
    """Gates (L, B, G) with what the last `count` pixels' first tensors (L, B, I) add, through (L, count I, G)."""
    if not kept:
        return gates
    values = torch.cat([one[0] for one in kept[-count:]], 2)
    return torch.baddbmm(gates, values, weight[:, -values.shape[2] :])


def columns(kept: Sequence[Kept], number: int) -> Tensor:
    """One of the kept tensors, of a whole row: (W, L, B, ...)."""
    return torch.stack([one[number] for one in kept])


def features_first(x: Tensor) -> Tensor:
    """Features (S, n W, B) of pixels, from (B, n, W, S)."""
    return x.permute(3, 1, 2, 0).flatten(1, 2)


def features_last(x: Tensor, width: int) -> Tensor:
    """The inverse of `features_first` for rows of that width."""
    return x.view(len(x), -1, width, x.shape[2]).permute(3, 1, 2, 0)


def product(weight: Tensor, x: Tensor) -> Tensor:
    """(O, n W, B) from a matrix (I, O) and features (I, n W, B)."""
    return torch.mm(weight.t(), x.flatten(1)).view(-1, *x.shape[1:])


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """h and c (..., U) from gates (..., 4 U) and c before: `c' = s(f) c + s(i) tanh(g)`, `h = s(o) tanh(c')`."""
    i, f, g, o = gates.chunk(4, -1)
    cell = torch.addcmul(f.sigmoid() * cell, i.sigmoid(), g.tanh())
    return o.sigmoid() * cell.tanh(), cell
