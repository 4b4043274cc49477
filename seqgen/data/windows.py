"""Stretches of clips as batches of symbols with what they are conditioned on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqgen.codec import Codec
from seqgen.media.mel import LogMel, stack
from seqgen.model import Batch, Context

WINDOW = 8192
"""Symbols of a held-out clip that are read at once, at most."""
POSITIONS = 8 * WINDOW
"""Symbols of all the clips that are read at once, at most: a model's parameters for them are held in memory."""


@dataclass(frozen=True)
class Windows:
    """Windows of clips that lie one behind the other in memory.

    Clip i is `samples[starts[i] : ends[i]]`, float32, maybe on disk; its labels are row i of `labels` (N, L), and its
    features those that `features` computes.
    """

    codec: Codec
    samples: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    labels: np.ndarray | None
    features: LogMel | None

    @property
    def sizes(self) -> np.ndarray:
        """Symbols of each clip, the end symbol with them."""
        sizes: np.ndarray = self.ends - self.starts + (self.codec.end is not None)
        return sizes

    def clip(self, clip: int) -> np.ndarray:
        """The samples (N,) of a clip."""
        samples: np.ndarray = self.samples[self.starts[clip] : self.ends[clip]]
        return samples

    def symbols(self, clip: int, first: int, last: int) -> Tensor:
        """Symbols first .. last - 1 of a clip, as far as there are."""
        samples = self.clip(clip)
        symbols = self.codec.encode(np.array(samples[first:last]))
        return self.codec.close(symbols) if last > len(samples) >= first else symbols

    def batch(self, spans: np.ndarray) -> Batch:
        """Rows (clip, past, first, last) as symbols past .. last - 1, of which those from `first` on count."""
        clips, past, first, last = spans.T
        x = _padded([self.symbols(clip, before, behind) for clip, before, _, behind in spans])
        columns = np.arange(x.shape[1])
        mask = (columns >= (first - past)[:, None]) & (columns < (last - past)[:, None])
        return Batch(x, torch.from_numpy(mask), self.context(clips, past, last))

    def groups(self, clips: np.ndarray, size: int) -> list[tuple[np.ndarray, int]]:
        """Clips of like length together, at most `size` of them, and the number of each of their windows."""
        clips = clips[np.argsort(self.sizes[clips], kind="stable")]
        groups = np.array_split(clips, -(-len(clips) // size)) if len(clips) else []
        counts = [-(-int(self.sizes[group].max()) // _length(group)) for group in groups]
        return [(group, number) for group, count in zip(groups, counts, strict=True) for number in range(count)]

    def whole(self, groups: list[tuple[np.ndarray, int]]) -> Iterator[Batch]:
        """Windows of whole clips, the next of a group continuing the one before."""
        before, context = None, None
        for clips, number in groups:
            if clips is not before:  # computed once: it is that of the whole clips, whatever the window
                before, context = clips, self.context(clips, np.zeros(len(clips), np.int64), self.sizes[clips])
            length = _length(clips)
            rows = [self.symbols(clip, number * length, (number + 1) * length) for clip in clips]
            x = _padded(rows)
            mask = torch.arange(x.shape[1]) < torch.tensor([[len(row)] for row in rows])
            yield Batch(x, mask, context, window=number)

    def context(self, clips: np.ndarray, first: np.ndarray, last: np.ndarray) -> Context | None:
        """Labels of clips, and the frames of their symbols first .. last - 1 with one more behind, where there is."""
        labels = None if self.labels is None else torch.from_numpy(self.labels[clips])
        features = None
        if (mel := self.features) is not None:
            frames = zip(clips, first // mel.hop, -(-last // mel.hop) + 1, strict=True)
            features = stack([mel(self.clip(clip), int(start), int(end)) for clip, start, end in frames])
        return None if labels is None and features is None else Context(labels, features)


def _length(clips: np.ndarray) -> int:
    return min(WINDOW, max(1, POSITIONS // len(clips)))


def _padded(rows: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
