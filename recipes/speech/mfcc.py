"""A second classifier of clips, which shares nothing with the first: cepstra of fixed length and a kernel machine."""

from collections.abc import Sequence

import numpy as np
import torch

from seqgen.media.mel import LogMel

CEPSTRA, STEPS = 13, 20  # cepstral coefficients, and moments of a clip
DEPTH = 4.5  # nats (39 dB) below the loudest frame, where a clip is trimmed at both ends
WIDTH, RIDGE = 0.7, 0.01  # of the Gaussian kernel, relative to the median distance; and the regularisation


class KernelMachine:
    """Least-squares support vector machine (Suykens & Vandewalle 1999) with a Gaussian kernel.

    A clip is trimmed; mel-frequency cepstra (Davis & Mermelstein 1980) of 25 ms windows, less their mean over time, are
    interpolated to a fixed number of moments, with the trimmed duration as one more number. Standardised, they are one
    point, and a class has the score sum_i alpha_i exp(-|x - x_i|^2 / (2 s^2)).

    Args:
        clips: Samples (N,) of each clip to train on.
        classes: Their classes (C,).
        rate: Sample rate, Hz.
        count: K, the number of classes.
    """

    def __init__(self, clips: Sequence[np.ndarray], classes: np.ndarray, rate: int, count: int) -> None:
        self.frames = LogMel(rate, mels=26, hop=max(1, rate // 100), window=max(1, rate // 40), low=min(100, rate / 8))
        points = np.stack([self._point(clip) for clip in clips])
        self.mean, self.deviation = points.mean(0), points.std(0) + 1e-6
        self.points = (points - self.mean) / self.deviation
        distances = _distances(self.points, self.points)
        self.scale = 1 / (2 * WIDTH**2 * max(1e-9, float(np.median(distances))))
        kernel = np.exp(-self.scale * distances)
        wanted = 2 * np.eye(count)[classes] - 1
        self.alpha = np.linalg.solve(kernel + RIDGE * np.eye(len(kernel)), wanted)

    def classify(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """The class (C,) of highest score of each clip, independent of the other clips."""
        points = (np.stack([self._point(clip) for clip in clips]) - self.mean) / self.deviation
        scores: np.ndarray = np.exp(-self.scale * _distances(points, self.points)) @ self.alpha
        return scores.argmax(1)

    def _point(self, clip: np.ndarray) -> np.ndarray:
        bands = self.frames.logarithms(clip if len(clip) else np.zeros(1, np.float32)).double().numpy()
        loud = bands.max(1)
        kept = np.flatnonzero(loud >= loud.max() - DEPTH)
        bands = np.maximum(bands, bands.max() - 2 * DEPTH)[kept[0] : kept[-1] + 1]  # (F, mels)
        places = np.arange(bands.shape[1]) + 0.5
        cosines = np.cos(np.pi / bands.shape[1] * np.outer(np.arange(CEPSTRA), places))
        cepstra = torch.from_numpy((bands - bands.mean(0)) @ cosines.T + 0.5 * (bands.mean(0) @ cosines.T)).T[None]
        moments = torch.nn.functional.interpolate(cepstra, STEPS, mode="linear", align_corners=True)
        return np.append(moments.flatten().numpy(), len(bands))


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared distances (A, B) of points (A, D) and (B, D)."""
    squares: np.ndarray = (one**2).sum(1)[:, None] + (other**2).sum(1) - 2 * one @ other.T
    return np.maximum(squares, 0)
