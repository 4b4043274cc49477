"""Crops and windows of audio clips as batches of symbols with labels and conditioning features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seqgen.codecs.sound import Sound
from seqgen.media.mel import LogMel, stack
from seqgen.model import Batch, Context

WINDOW = 8192
"""Maximum length of a window of a held-out clip, in symbols."""
POSITIONS = 8 * WINDOW
"""Maximum number of symbols in a batch of windows; the model's output parameters for all of them are in memory."""


@dataclass(frozen=True)
class Windows:
    """Batches of crops and windows of clips, which are stored in one array.

    Clip i is `samples[starts[i] : ends[i]]`, float32, possibly memory-mapped. Its labels are row i of `labels` (N, L).
    `features` computes its conditioning features.
    """

    codec: Sound
    samples: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    labels: np.ndarray | None
    features: LogMel | None

    @property
    def sizes(self) -> np.ndarray:
        """Number of symbols of each clip (N,), including the end symbol."""
        sizes: np.ndarray = self.codec.count(self.ends - self.starts) + (self.codec.end is not None)
        return sizes

    def clip(self, clip: int) -> np.ndarray:
        """The samples (N,) of a clip."""
        samples: np.ndarray = self.samples[self.starts[clip] : self.ends[clip]]
        return samples

    def symbols(self, clip: int, first: int, last: int) -> Tensor:
        """Symbols first .. last - 1 of a clip, including the end symbol; fewer if the clip ends earlier."""
        symbols = self.codec.span(self.clip(clip), first, last)
        ends = last > self.codec.count(self.ends[clip] - self.starts[clip]) >= first
        return self.codec.close(symbols) if ends else symbols

    def batch(self, spans: np.ndarray, reach: int = 1) -> Batch:
        """A batch of crops, with `reach` frames of features after the last one's, where the clip has them.

        `spans` has a row (clip, start, first, last) for each crop: symbols start .. last - 1 of a clip. Symbols
        start .. first - 1 are left context; the mask excludes them from the loss.
        """
        clips, start, first, last = spans.T
        x = _padded([self.symbols(clip, begin, end) for clip, begin, _, end in spans])
        columns = np.arange(x.shape[1])
        mask = (columns >= (first - start)[:, None]) & (columns < (last - start)[:, None])
        return Batch(x, torch.from_numpy(mask), self.context(clips, start, last, reach))

    def groups(self, clips: np.ndarray, size: int) -> list[tuple[np.ndarray, int]]:
        """Groups of at most `size` clips of similar length, and each group's window numbers: (group, number) pairs."""
        clips = clips[np.argsort(self.sizes[clips], kind="stable")]
        groups = np.array_split(clips, -(-len(clips) // size)) if len(clips) else []
        counts = [-(-int(self.sizes[group].max()) // _length(group)) for group in groups]
        return [(group, number) for group, count in zip(groups, counts, strict=True) for number in range(count)]

    def whole(self, groups: list[tuple[np.ndarray, int]]) -> Iterator[Batch]:
        """Batches of the windows of whole clips; each continues the previous window of its group."""
        previous, context = None, None
        for clips, number in groups:
            if clips is not previous:  # the context covers whole clips, so all windows of a group share it
                previous, context = clips, self.context(clips, np.zeros(len(clips), np.int64), self.sizes[clips])
            length = _length(clips)
            rows = [self.symbols(clip, number * length, (number + 1) * length) for clip in clips]
            x = _padded(rows)
            mask = torch.arange(x.shape[1]) < torch.tensor([[len(row)] for row in rows])
            yield Batch(x, mask, context, window=number)

    def context(self, clips: np.ndarray, first: np.ndarray, last: np.ndarray, reach: int = 0) -> Context | None:
        """Labels of clips (B,), and feature frames of their symbols first .. last - 1 and `reach` more, if any."""
        labels = None if self.labels is None else torch.from_numpy(self.labels[clips])
        features = None
        if (mel := self.features) is not None:
            frames = zip(clips, first // mel.hop, -(-last // mel.hop) + reach, strict=True)
            features = stack([mel(self.clip(clip), int(start), int(end)) for clip, start, end in frames])
        return None if labels is None and features is None else Context(labels, features)


def _length(clips: np.ndarray) -> int:
    return min(WINDOW, max(1, POSITIONS // len(clips)))


def _padded(rows: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
