"""Phase reconstruction: samples from mel frames without a model."""

import numpy as np
import torch
from torch import Tensor

from seqgen.media.audio import torchaudio
from seqgen.media.mel import LogMel

ITERATIONS = 60


def griffin_lim(logarithms: Tensor, frames: LogMel, iterations: int = ITERATIONS) -> np.ndarray:
    """Samples (F hop,) float32 of log-mel bands (F, mels) of `LogMel.logarithms` (Griffin & Lim 1984), by torchaudio.

    Magnitudes are the minimum-norm solution for the bands; phases are initialised at random from a fixed seed.
    """
    if not len(logarithms):
        return np.zeros(0, np.float32)
    transforms = torchaudio().transforms
    # One more frame at each end: torchaudio centres its first frame on sample 0, LogMel half a hop later. There must be
    # half a window of sound.
    behind = max(1, frames.window // (2 * frames.hop) + 1 - len(logarithms))
    mel = torch.nn.functional.pad(logarithms.exp().T[None], (1, behind), mode="replicate")  # (1, mels, F + 1 + behind)
    bands = {"sample_rate": frames.rate, "f_min": frames.low, "f_max": frames.high, "norm": "slaney"}
    widened = transforms.InverseMelScale(
        frames.window // 2 + 1, frames.mels, mel_scale="slaney", driver="gelsd", **bands
    )
    phases = transforms.GriffinLim(frames.window, iterations, hop_length=frames.hop, power=1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = phases(widened(mel)[0])
    reconstructed: np.ndarray = found[frames.hop // 2 :][: len(logarithms) * frames.hop].numpy()
    return reconstructed
