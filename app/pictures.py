"""The picture of a clip, legible on a light page and on a dark one."""

from typing import Any

import numpy as np

from seqgen.media import figure
from seqgen.media.audio import Clip

INK, PEN = "#7c8494", "#4f7df0"


def picture(clip: Clip, bits: np.ndarray | None = None) -> np.ndarray:
    """Waveform, mel spectrogram and surprise, as pixels (height, width, 4) on a clear ground."""
    drawn = figure.figure(clip, bits)
    drawn.patch.set_alpha(0)
    for axis in drawn.axes:
        _recolour(axis)
    return figure.pixels(drawn)


def _recolour(axis: Any) -> None:
    axis.patch.set_alpha(0)
    axis.tick_params(colors=INK)
    for part in (axis.xaxis.label, axis.yaxis.label, axis.title):
        part.set_color(INK)
    for spine in axis.spines.values():
        spine.set_color(INK)
    for line in axis.lines:
        line.set_color(PEN)
    for area in axis.collections:
        area.set(facecolor=PEN, edgecolor=PEN)
