"""Log-mel spectra: what a vocoder is conditioned on."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seqgen.config import Configurable, SeqgenError
from seqgen.media.audio import torchaudio


class LogMel(Configurable):
    """Natural logarithms of mel band magnitudes, a frame of `mels` numbers for every `hop` samples.

    Frame i is the spectrum around the middle of samples i hop .. (i + 1) hop - 1, of a Hann window of `window` samples;
    the bands are Slaney's, of unit area (librosa's default), from `low` to `high` Hz (None: half the rate); magnitudes
    below `floor` count as `floor`. The last frame is padded with zeros.
    """

    def __init__(
        self,
        rate: int = 16000,
        mels: int = 80,
        hop: int = 256,
        window: int = 1024,
        low: float = 0.0,
        high: float | None = None,
        floor: float = 1e-5,
    ) -> None:
        top = rate / 2 if high is None else high
        if min(rate, mels, hop) < 1 or window < hop or not 0 <= low < top <= rate / 2 or not floor > 0:
            raise SeqgenError(
                f"rate {rate}, mels {mels}, hop {hop}, window {window}, low {low}, high {high}, floor {floor}: "
                "expected 1 or more, a window of hop or more, 0 <= low < high <= rate / 2 and a positive floor"
            )
        self.rate, self.mels, self.hop, self.window = rate, mels, hop, window
        self.low, self.high, self.floor = low, top, floor

    def __call__(self, samples: np.ndarray, first: int = 0, last: int | None = None) -> Tensor:
        """Frames first .. last - 1 of the ceil(N / hop) frames (F, mels), float32, of samples (N,) at `rate`; N >= 1.

        There are fewer where the samples end; of others than these frames the samples are not looked at.
        """
        frames = math.ceil(len(samples) / self.hop)
        last = frames if last is None else min(last, frames)
        begin = first * self.hop - (self.window - self.hop) // 2
        end = begin + (last - first - 1) * self.hop + self.window
        found = samples[max(0, begin) : end]
        padded = np.pad(found, (max(0, -begin), end - max(0, begin) - len(found)))
        cut = torch.from_numpy(padded.astype(np.float32)).unfold(0, self.window, self.hop)  # (F, window)
        magnitudes = torch.fft.rfft(cut * torch.hann_window(self.window)).abs()
        bands = _bands(self.window // 2 + 1, self.low, self.high, self.mels, self.rate)
        logarithms: Tensor = (magnitudes @ bands).clamp(min=self.floor).log()
        return logarithms


def stack(sounds: Sequence[Tensor]) -> Tensor:
    """Frames (F_i, D) of B >= 1 sounds as (B, F, D); the shorter ones go on with their last frame.

    As models take frames to go on beyond their end, padding changes nothing.
    """
    longest = torch.arange(max(map(len, sounds)))
    return torch.stack([frames[longest.clamp(max=len(frames) - 1)] for frames in sounds])


@functools.cache
def _bands(bins: int, low: float, high: float, mels: int, rate: int) -> Tensor:
    bands: Tensor = torchaudio().functional.melscale_fbanks(
        bins, low, high, mels, rate, norm="slaney", mel_scale="slaney"
    )
    return bands
