"""Log-mel spectrograms, the conditioning features of a vocoder."""

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seqgen.config import Configurable, SeqgenError
from seqgen.media.audio import torchaudio
from seqgen.media.prediction import linear_prediction

SPREAD = 3.0
"""Standard deviations of the prediction error in the gain of a frame."""


class LogMel(Configurable):
    """Log-mel spectrogram: natural logarithms of mel band magnitudes, one frame for every `hop` samples.

    Frame i is centred on samples i hop .. (i + 1) hop - 1; the signal is zero-padded at both ends. The mel scale is
    Slaney's, with filters of unit area (librosa's default).

    Args:
        rate: Sample rate, Hz.
        mels: Number of mel bands.
        hop: Samples per frame.
        window: Length of the Hann window and of the FFT, in samples.
        low: Lowest frequency of the filter bank, Hz.
        high: Highest frequency, Hz; None: half the sample rate.
        floor: Smallest magnitude; lower ones are raised to it before the logarithm.
        mean: Subtracted from the logarithms.
        deviation: By which they are then divided.
        prediction: Order of a linear predictor that is appended to every frame; 0 for none. It follows from the bands
            alone, whose magnitudes, interpolated, are a power spectrum. The frame then ends with as many coefficients,
            newest sample first, and the natural logarithm of the gain, three standard deviations of the prediction
            error (LP-WaveNet, Hwang et al. 2018, arXiv:1811.11913).
    """

    added = frozenset({"mean", "deviation", "prediction"})

    def __init__(
        self,
        rate: int = 16000,
        mels: int = 80,
        hop: int = 256,
        window: int = 1024,
        low: float = 0.0,
        high: float | None = None,
        floor: float = 1e-5,
        mean: float = 0.0,
        deviation: float = 1.0,
        prediction: int = 0,
    ) -> None:
        top = rate / 2 if high is None else high
        if min(rate, mels, hop) < 1 or window < hop or not 0 <= low < top <= rate / 2 or not floor > 0:
            raise SeqgenError(
                f"got rate {rate}, mels {mels}, hop {hop}, window {window}, low {low}, high {high} and floor {floor}, "
                "expected rate, mels and hop of 1 or more, window >= hop, 0 <= low < high <= rate / 2 and floor > 0"
            )
        if not (math.isfinite(mean) and 0 < deviation < math.inf) or not 0 <= prediction <= window // 2:
            raise SeqgenError(
                f"got mean {mean}, deviation {deviation} and prediction {prediction}, expected finite numbers, a "
                f"deviation above 0, and prediction from 0 to window / 2, {window // 2}"
            )
        self.rate, self.mels, self.hop, self.window = rate, mels, hop, window
        self.low, self.high, self.floor = low, top, floor
        self.mean, self.deviation, self.prediction = mean, deviation, prediction

    @property
    def size(self) -> int:
        """D, the numbers of a frame."""
        return self.mels + (self.prediction + 1 if self.prediction else 0)

    def __call__(self, samples: np.ndarray, first: int = 0, last: int | None = None) -> Tensor:
        """Frames first .. last - 1 (F, D), float32: bands, standardized, and the predictor if there is one.

        Arguments are those of `logarithms`.
        """
        bands = self.logarithms(samples, first, last)
        standardized = (bands - self.mean) / self.deviation
        return torch.cat([standardized, self.predictors(bands)], 1) if self.prediction else standardized

    def predictors(self, logarithms: Tensor) -> Tensor:
        """Coefficients and log-gain (F, prediction + 1), float32, of log-mel bands (F, mels)."""
        bins = self.window // 2 + 1
        bands = _bands(bins, self.low, self.high, self.mels, self.rate).double()
        area = bands.sum(0)
        found = area > 0  # at a low frequency, a narrow band may lie between two bins
        centres = (torch.arange(bins, dtype=torch.float64) @ bands)[found] / area[found]
        levels = logarithms.double()[:, found] - area[found].log()
        envelope = torch.from_numpy(_interpolation(centres.numpy(), bins)) @ levels.T  # log-magnitudes (bins, F)
        coefficients, error = linear_prediction((2 * envelope.T).exp(), self.prediction, self.rate)
        gain = (error / torch.hann_window(self.window, dtype=torch.float64).square().sum()).log() / 2 + math.log(SPREAD)
        return torch.cat([coefficients, gain[:, None]], 1).float()

    def logarithms(self, samples: np.ndarray, first: int = 0, last: int | None = None) -> Tensor:
        """Log-mel bands of frames first .. last - 1 (F, mels), float32, of samples (N,) at `rate`, N >= 1.

        There are ceil(N / hop) frames in all; a larger `last` means all remaining frames. Only the samples in the
        windows of these frames are read.
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
    """Frames (F_i, D) of B >= 1 clips as one tensor (B, F, D); shorter ones are padded with their last frame.

    Models also repeat the last frame beyond the end of the features, so the padding does not change their outputs.
    """
    longest = torch.arange(max(map(len, sounds)))
    return torch.stack([frames[longest.clamp(max=len(frames) - 1)] for frames in sounds])


def _interpolation(centres: np.ndarray, bins: int) -> np.ndarray:
    """Weights (bins, N) of linear interpolation between N places, constant beyond the first and the last."""
    return np.stack([np.interp(np.arange(bins), centres, row) for row in np.eye(len(centres))], 1)


@functools.cache
def _bands(bins: int, low: float, high: float, mels: int, rate: int) -> Tensor:
    bands: Tensor = torchaudio().functional.melscale_fbanks(
        bins, low, high, mels, rate, norm="slaney", mel_scale="slaney"
    )
    return bands
