"""Linear prediction from a spectral envelope."""

import math

import torch
from torch import Tensor

NOISE = 1e-9
"""Added to the power of every signal, as a fraction of it, so that the equations have a solution."""
LAG_WINDOW = 10.0
"""Hz; smooths the spectrum, so that no pole lies on the unit circle."""


def linear_prediction(power: Tensor, order: int, rate: int) -> tuple[Tensor, Tensor]:
    """The linear predictor of a signal with the power spectrum (F, N / 2 + 1), by the autocorrelation method.

    Returns coefficients a (F, order), newest sample first, of the prediction `sum_k a_k y_(t-k)` and the mean square
    of its error (F,), both float64, by the Levinson-Durbin recursion (Makhoul 1975). `1 - sum_k a_k z^-k` has all
    zeros inside the unit circle.
    """
    autocorrelation = torch.fft.irfft(power.double())[:, : order + 1]
    lags = 2 * math.pi * LAG_WINDOW / rate * torch.arange(order + 1, dtype=torch.float64)
    r = autocorrelation * (-lags.square() / 2).exp()
    error = r[:, 0] * (1 + NOISE) + torch.finfo(torch.float64).tiny
    a = r.new_zeros(len(r), order)
    for i in range(order):
        reflection = (r[:, i + 1] - (a[:, :i] * r[:, 1 : i + 1].flip(1)).sum(1)) / error
        a[:, :i] -= reflection[:, None] * a[:, :i].flip(1)
        a[:, i] = reflection
        error = error * (1 - reflection.square())
    return a, error
