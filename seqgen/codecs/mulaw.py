"""Mu-law quantisation of audio."""

import math

import numpy as np
import torch
from torch import Tensor

from seqgen.codecs.sound import Samples, check_levels, levels


class MuLaw(Samples):
    """Mu-law companding and quantisation (WaveNet, van den Oord et al. 2016, arXiv:1609.03499, section 2.2).

    The continuous formula of ITU-T G.711 with mu = 2^bits - 1, after clipping samples to [-1, 1] (resampling
    overshoots):

        f(x) = sign(x) log(1 + mu |x|) / log(1 + mu),    class = floor((f(x) + 1) / 2 mu + 1/2)

    It is computed in float32 and equals torchaudio's. The classes are not the bytes of G.711, which code sign and
    magnitude separately and have 255 values.

    A class decodes to its centre, f^-1(2 class / mu - 1), so `encode(decode(k)) == k`, and full scale decodes to
    exactly 1. Up to float32 rounding, `|decode(encode(x)) - x| <= (1 / mu + |x|) ((1 + mu)^(1 / mu) - 1)`: with 8 bits,
    1/45 at full scale and 1/11,600 at silence. Silence (0) lies on a class boundary, so its error equals the bound.

    Args:
        rate: Sample rate, Hz.
        bits: Bits per class, 2 to 16.
        end: Whether clips end with an end-of-sequence symbol, numbered after the classes.

    >>> codec = MuLaw()
    >>> codec.encode(np.array([-1, -0.1, 0, 0.1, 1])).tolist()
    [0, 52, 128, 203, 255]
    >>> codec.decode(torch.tensor([0, 255])).samples.tolist()
    [-1.0, 1.0]
    """

    def __init__(self, rate: int = 16000, bits: int = 8, end: bool = False) -> None:
        super().__init__(rate)
        self.classes = levels(bits)
        self.mu = self.classes - 1
        self.end = self.classes if end else None
        self.size = self.classes + end

    def quantize(self, samples: np.ndarray) -> Tensor:
        """Classes (N,) int64 of samples (N,)."""
        x, mu = torch.from_numpy(samples.astype(np.float32).clip(-1, 1)), torch.tensor(self.mu, dtype=torch.float32)
        companded = x.sign() * torch.log1p(mu * x.abs()) / torch.log1p(mu)
        return ((companded + 1) / 2 * mu + 0.5).long()

    def amplitude(self, symbols: Tensor) -> np.ndarray:
        """The class centres (N,) float32 of classes (N,)."""
        check_levels(symbols, self.classes)
        companded = 2 * symbols.cpu().double() / self.mu - 1
        samples = companded.sign() * torch.expm1(companded.abs() * math.log1p(self.mu)) / self.mu
        return samples.float().numpy()
