"""A figure of a clip: waveform, mel spectrogram and, if given, the surprise -log2 p of every symbol."""

import io
from typing import Any

import numpy as np

from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel

COLUMNS = 1200
"""Maximum number of points per curve; longer signals are drawn as minimum, maximum and mean of equal blocks."""


def figure(clip: Clip, surprise: np.ndarray | None = None, title: str = "", original: Clip | None = None) -> Any:
    """A matplotlib Figure of a clip with N >= 1 samples; needs no display.

    `surprise` (S,) is -log2 p of each symbol, in bits; S = N where a symbol is a sample. `original` is a clip to be
    compared with, such as what a vocoder says again; its spectrogram stands above.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = 2 + (surprise is not None) + (original is not None)
    drawn = Figure(figsize=(9, 2 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.subplots(rows, 1, sharex=True)
    _plot(axes[0], clip.samples, clip.rate)
    axes[0].set(ylim=(-1, 1), ylabel="amplitude", title=title)
    if original is not None:
        _spectrogram(axes[1], original, "original, mel band")
    _spectrogram(axes[1 + (original is not None)], clip)
    if surprise is not None:
        _plot(axes[-1], surprise, len(surprise) / clip.seconds)
        axes[-1].set(ylabel="surprise (bits)")
    axes[-1].set(xlabel="seconds", xlim=(0, len(clip.samples) / clip.rate))
    return drawn


def png(drawn: Any) -> bytes:
    """A figure as a PNG file."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png")
    return buffer.getvalue()


def pixels(drawn: Any) -> np.ndarray:
    """A figure as an array (height, width, 4), uint8."""
    drawn.canvas.draw()
    return np.asarray(drawn.canvas.buffer_rgba())


def _plot(axis: Any, values: np.ndarray, rate: float) -> None:
    """Plot values (N,), or minimum, maximum and mean of equal blocks if there are more than COLUMNS."""
    size = max(1, -(-len(values) // COLUMNS))
    padded = np.pad(values, (0, -len(values) % size), mode="edge").reshape(-1, size)
    seconds = np.arange(len(padded)) * size / rate
    if size == 1:
        axis.plot(seconds, padded[:, 0], linewidth=0.6)
    else:
        axis.fill_between(seconds, padded.min(1), padded.max(1), linewidth=0.3)
        axis.plot(seconds, padded.mean(1), color="black", linewidth=0.4)


def _spectrogram(axis: Any, clip: Clip, label: str = "mel band") -> None:
    hop = max(1, clip.rate // 100)
    # Fewer bands at low rates, so that every mel band contains at least one FFT bin.
    frames = LogMel(clip.rate, mels=min(64, 2 * hop), hop=hop, window=4 * hop)
    bands = frames(clip.samples).numpy().T  # (mels, F), natural logarithms
    decibels = 20 / np.log(10) * bands
    top = float(decibels.max())
    extent = (0, len(clip.samples) / clip.rate, 0, len(bands))
    axis.imshow(decibels, origin="lower", aspect="auto", extent=extent, vmin=top - 80, vmax=top, cmap="magma")
    axis.set(ylabel=label)
