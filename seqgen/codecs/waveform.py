"""Sound on a linear scale."""

import numpy as np
import torch
from torch import Tensor

from seqgen.codecs.sound import Sound, check_levels, levels
from seqgen.media import audio


class Waveform(Sound):
    """Samples as they are, for outputs that are continuous, or in evenly spaced levels.

    Without `bits` a symbol is the sample itself, float32, and `decode(encode(x))` is x, beyond full scale, too. With
    them there are L = 2^bits levels, level k at 2 k / (L - 1) - 1, as in parallel WaveNet (van den Oord et al. 2017,
    arXiv:1711.10433) and its mixtures of logistics: a sample becomes the nearest (ties to even), clipped to full scale,
    and `|decode(encode(x)) - x| <= 1 / (L - 1)`, up to the rounding of float32. The levels are symmetric, so none is
    silence, and the integers of a 16-bit file are not quite the levels of 16 bits.

    Args:
        rate: Samples a second, Hz.
        bits: Of a level, 2 to 16; None for numbers.

    >>> Waveform(bits=2).encode(np.array([-1, -0.3, 0.3, 1])).tolist()
    [0, 1, 2, 3]
    >>> Waveform().encode(np.array([-1, 0.25])).tolist()
    [-1.0, 0.25]
    """

    def __init__(self, rate: int = 16000, bits: int | None = None) -> None:
        super().__init__(rate)
        self.size = None if bits is None else levels(bits)

    def quantize(self, samples: np.ndarray) -> Tensor:
        """Symbols (N,), int64 levels or float32 numbers, of samples (N,)."""
        if self.size is None:
            return torch.from_numpy(samples.astype(np.float32))
        x = samples.astype(np.float64).clip(-1, 1)
        return torch.from_numpy(np.rint((x + 1) / 2 * (self.size - 1)).astype(np.int64))

    def amplitude(self, symbols: Tensor) -> np.ndarray:
        """Samples (N,) float32 of symbols (N,). Raises AudioError for numbers that are NaN or infinite."""
        if self.size is None:
            numbers = symbols.detach().cpu().float().numpy().copy()
            audio.check_finite(numbers, "symbol")
            return numbers
        check_levels(symbols, self.size)
        return (2 * symbols.cpu().double() / (self.size - 1) - 1).float().numpy()
