"""Weights as the compiled sampler reads them: in the narrowest type that holds them, in panels or by rows."""

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqgen.engines.vectors import LANES
from seqgen.nn.rounding import LEVELS

FEW = 8
"""Columns that are looked at first."""
INT8_ERROR = 1e-4
"""The greatest deviation from a whole multiple of the scale, which is that of float32 for multiples up to 127."""


class Weights(NamedTuple):
    """Numbers in the narrowest type that holds them, and a scale (columns,) for int8, None for others."""

    values: np.ndarray
    scale: np.ndarray | None


def padded(length: int, unit: int = LANES) -> int:
    """The next multiple of a unit."""
    return -(-length // unit) * unit


def int8_scale(values: np.ndarray) -> np.ndarray | None:
    """Scales (m,) of which the columns (n, m) are multiples from -127 to 127, up to rounding; None if there are none.

    A column may be a part of one whose greatest weight is 127 times the scale, so every greatest multiple is tried.
    """
    greatest = np.abs(values).max(0)
    scale = np.ones_like(greatest)
    left = np.flatnonzero(greatest > 0)
    if len(left) > FEW and int8_scale(values[:, :FEW]) is None:
        return None  # at once, for weights that were not rounded
    for multiple in range(LEVELS, 0, -1):
        if not len(left):
            break
        tried = greatest[left] / np.float32(multiple)
        ratios = values[:, left] / tried
        fits = (np.abs(ratios - np.rint(ratios)) < INT8_ERROR).all(0)
        scale[left[fits]], left = tried[fits], left[~fits]
    return None if len(left) else scale


def narrowed(matrices: list[np.ndarray]) -> list[Weights]:
    """All matrices (n, m) in the narrowest type that holds them all; of int8 up to the rounding of float32."""
    scales = list(itertools.takewhile(lambda scale: scale is not None, map(int8_scale, matrices)))
    if len(scales) == len(matrices):
        pairs = zip(matrices, scales, strict=True)
        return [Weights(np.rint(matrix / scale).astype(np.int8), scale) for matrix, scale in pairs]
    if any((matrix.view(np.uint32) & 0xFFFF).any() for matrix in matrices):
        return [Weights(matrix, None) for matrix in matrices]
    return [Weights((matrix.view(np.uint32) >> 16).astype(np.uint16), None) for matrix in matrices]


def array(value: Tensor) -> np.ndarray:
    """A tensor as float32."""
    found: np.ndarray = value.detach().to(torch.float32).contiguous().numpy()
    return found


def flat(value: Tensor) -> np.ndarray:
    """All numbers of a tensor, one after the other."""
    return array(value).reshape(-1)


def in_panels(values: np.ndarray, n: int, m: int) -> np.ndarray:
    """A matrix (n, m), padded, as panels of 16 columns."""
    whole = np.zeros((n, m), values.dtype)
    whole[: values.shape[0], : values.shape[1]] = values
    return whole.reshape(n, -1, LANES).swapaxes(0, 1).reshape(-1)


def in_rows(values: np.ndarray, n: int) -> np.ndarray:
    """The rows of a matrix, each padded to n."""
    whole = np.zeros((values.shape[0], n), values.dtype)
    whole[:, : values.shape[1]] = values
    return whole.reshape(-1)
