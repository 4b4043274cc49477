"""Audio on a linear scale."""

import numpy as np
import torch
from torch import Tensor

from seqgen.codecs.sound import Samples, check_levels, levels
from seqgen.media import audio


class Waveform(Samples):
    """Raw samples for continuous outputs, or samples quantised to evenly spaced levels.

    Without `bits`, a symbol is the sample itself as float32, and `decode(encode(x))` is x, even beyond full scale.

    With `bits` there are L = 2^bits levels, level k at amplitude 2 k / (L - 1) - 1, as in the mixtures of logistics of
    parallel WaveNet (van den Oord et al. 2017, arXiv:1711.10433). Samples are clipped to full scale and rounded to the
    nearest level (ties to even), so for |x| <= 1 `|decode(encode(x)) - x| <= 1 / (L - 1)`, up to float32 rounding. The
    levels are symmetric around 0, so no level is exactly 0, and 16-bit levels differ slightly from 16-bit PCM values.

    Args:
        rate: Sample rate, Hz.
        bits: Bits per level, 2 to 16; None: symbols are the samples themselves.

    >>> Waveform(bits=2).encode(np.array([-1, -0.3, 0.3, 1])).tolist()
    [0, 1, 2, 3]
    >>> Waveform().encode(np.array([-1, 0.25])).tolist()
    [-1.0, 0.25]
    """

    def __init__(self, rate: int = 16000, bits: int | None = None) -> None:
        super().__init__(rate)
        self.size = None if bits is None else levels(bits)

    def quantize(self, samples: np.ndarray) -> Tensor:
        """Symbols (N,) of samples (N,): int64 levels, or the float32 samples themselves."""
        if self.size is None:
            return torch.from_numpy(samples.astype(np.float32))
        x = samples.astype(np.float64).clip(-1, 1)
        return torch.from_numpy(np.rint((x + 1) / 2 * (self.size - 1)).astype(np.int64))

    def amplitude(self, symbols: Tensor) -> np.ndarray:
        """Samples (N,) float32 of symbols (N,). Raises AudioError for NaN and infinities."""
        if self.size is None:
            numbers = symbols.detach().cpu().float().numpy().copy()
            audio.check_finite(numbers, "symbol")
            return numbers
        check_levels(symbols, self.size)
        return (2 * symbols.cpu().double() / (self.size - 1) - 1).float().numpy()
