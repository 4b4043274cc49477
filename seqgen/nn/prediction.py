"""Linear prediction of symbols from the ones before them, with coefficients out of the features."""

from typing import NamedTuple

import torch
from torch import Tensor

AMPLITUDE = 4.0
"""By which amplitudes are multiplied as inputs: speech has a standard deviation of about 0.1."""
CLIP = 8.0
"""Errors in units of a third of the gain are clipped to it as inputs, and halved."""


class Predicted(NamedTuple):
    """Predictions and gains (B, N) of symbols, float64."""

    mean: Tensor
    gain: Tensor


def predict(past: Tensor, values: Tensor, frames: Tensor, hop: int, first: int) -> Predicted:
    """Predictions `sum_k a_k y_(t-k)` of N + 1 symbols from number `first` on, the last behind the N given ones.

    `past` (B, P) are the values before, the newest last, and `values` (B, N) the symbols' own, both float64. A frame
    (B, F, P + 1) has P coefficients, newest symbol first, and the logarithm of the gain, for `hop` symbols.
    """
    order, count = past.shape[1], values.shape[1] + 1
    places = (torch.arange(first, first + count, device=frames.device) // hop).clamp(max=frames.shape[1] - 1)
    windows = torch.cat([past, values], 1).unfold(1, order, 1)  # (B, N + 1, P)
    found = frames[:, places].double()  # (B, N + 1, P + 1)
    return Predicted((windows * found[..., :-1].flip(-1)).sum(-1), found[..., -1].exp())


def inputs(values: Tensor, predicted: Predicted) -> Tensor:
    """Inputs (B, N, 3) of a network that has N values (B, N), from N + 1 predictions: value, next prediction, error."""
    error = (values - predicted.mean[:, :-1]) / predicted.gain[:, :-1]
    parts = AMPLITUDE * values, AMPLITUDE * predicted.mean[:, 1:], (3 * error).clamp(-CLIP, CLIP) / 2
    return torch.stack(parts, -1)
