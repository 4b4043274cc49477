"""Stacks of layers over images: for whole images, or cached for a raster scan pixel by pixel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Axes, Context
from seqgen.nn.labels import LabelEmbedding, refuse_labels
from seqgen.nn.order import refuse_order

PixelCache = tuple[Tensor, ...]
"""What the layers cache of one pixel for the pixels to its right and the next row; tensors (L, B, ...)."""


class RowCache(NamedTuple):
    """The state of the layers at the beginning of a row.

    `above` is what the rows above contribute to the pixels of this row, tensors (W, L, B, ...); `history` is what later
    rows need of the rows above; `weights` are the masked matrices; `bias` (L, B, G) is added to the gates.
    """

    above: tuple[Tensor, ...]
    history: tuple[Tensor, ...]
    weights: tuple[Tensor, ...]
    bias: Tensor


class Stack(nn.Module, ABC):
    """L layers over the features (B, n, W, S) of the pixels of an image, with residual connections.

    A pixel depends on the pixels above and to the left, and channel c of its features on the channels c' <= c of its
    own. In a raster scan the contribution of the rows above is computed once a row. The law: `first_row`, `next_row`
    and `pixel` give the features of `forward`.

    Args:
        layers: L.
        gates: G, the width of the biases of a layer, to which label embeddings are added.
        labels: The number of classes of each label.
    """

    input_axes: Axes = MappingProxyType({})
    """As those of a model."""

    def __init__(self, layers: int, gates: int, labels: Sequence[int]) -> None:
        super().__init__()
        if layers < 1:
            raise SeqgenError(f"layers is {layers}, expected 1 or more")
        self.label_sizes = tuple(labels)
        self.bias = nn.Parameter(torch.zeros(layers, gates))
        self.labels = LabelEmbedding(labels, self.bias.numel()) if labels else None

    @property
    def layers(self) -> range:
        """The indices of the layers."""
        return range(len(self.bias))

    def biases(self, context: Context | None, batch: int) -> Tensor:
        """Biases (L, B, G) with the label embeddings added. Raises SeqgenError for labels that do not fit."""
        refuse_order(context)
        bias = self.bias.unsqueeze(1)
        if self.labels is None:
            refuse_labels(context)
            return bias.expand(-1, batch, -1)
        added: Tensor = self.labels(context, batch)
        return bias + added.view(batch, *self.bias.shape).transpose(0, 1)

    @abstractmethod
    def forward(self, h: Tensor, inputs: Tensor, context: Context | None) -> Tensor:
        """Features (B, n, W, S) of the last layer, from features h of the same shape and model inputs (B, n, W, I)."""

    @abstractmethod
    def first_row(self, batch: int, width: int, context: Context | None) -> RowCache:
        """The state at the beginning of the first row, of `width` pixels."""

    @abstractmethod
    def next_row(self, rows: RowCache, cached: Sequence[PixelCache], inputs: Tensor) -> RowCache:
        """The state at the beginning of the next row, from the caches of this row and the last rows of inputs."""

    @abstractmethod
    def pixel(self, h: Tensor, rows: RowCache, cached: Sequence[PixelCache]) -> tuple[Tensor, PixelCache]:
        """Features (B, S) of a pixel in the last layer, and its cache, given h (B, S) and the caches to its left."""


def add_left_context(cached: Sequence[PixelCache], gates: Tensor, weight: Tensor, count: int) -> Tensor:
    """Gates (L, B, G) plus the contribution of the `count` pixels to the left, by weight (L, count I, G).

    The first cached tensor (L, B, I) of a pixel holds its features.
    """
    if not cached:
        return gates
    values = torch.cat([one[0] for one in cached[-count:]], 2)
    return torch.baddbmm(gates, values, weight[:, -values.shape[2] :])


def stack_row(cached: Sequence[PixelCache], number: int) -> Tensor:
    """Cached tensor number `number` of all pixels of a row: (W, L, B, ...)."""
    return torch.stack([one[number] for one in cached])


def features_first(x: Tensor) -> Tensor:
    """Features (B, n, W, S) as (S, n W, B)."""
    return x.permute(3, 1, 2, 0).flatten(1, 2)


def features_last(x: Tensor, width: int) -> Tensor:
    """The inverse of `features_first`, for rows of `width` pixels."""
    return x.view(len(x), -1, width, x.shape[2]).permute(3, 1, 2, 0)


def matmul(weight: Tensor, x: Tensor) -> Tensor:
    """`weight.T @ x` (O, n W, B) for weight (I, O) and features first x (I, n W, B)."""
    return torch.mm(weight.t(), x.flatten(1)).view(-1, *x.shape[1:])


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """h and c' (..., U) from gates (..., 4 U) and the cell c: `c' = s(f) c + s(i) tanh(g)`, `h = s(o) tanh(c')`."""
    i, f, g, o = gates.chunk(4, -1)
    cell = torch.addcmul(f.sigmoid() * cell, i.sigmoid(), g.tanh())
    return o.sigmoid() * cell.tanh(), cell
