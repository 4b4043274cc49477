"""Sound files."""

import collections
import hashlib
import json
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqgen.codec import Codec
from seqgen.codecs import MuLaw
from seqgen.codecs.sound import Sound
from seqgen.config import describe
from seqgen.data.clips import Preparation, decoded, entries
from seqgen.data.corpus import Corpus
from seqgen.data.layout import cut, divide
from seqgen.data.loader import Loader, rng
from seqgen.data.module import DataModule
from seqgen.data.windows import Windows
from seqgen.media.audio import Clip
from seqgen.media.files import DataError
from seqgen.media.mel import LogMel
from seqgen.model import Batch

SHARE = 12
"""How many times longer than what the model looks back on a span is."""
SHORTEST = 10
"""Symbols of a span."""


class Audio(DataModule):
    """Sound files of any format, rate and number of channels that libsndfile reads, as the codec's mono at its rate.

    Files are decoded once, into a cache on disk. In an epoch every sample carries loss once: clips are cut anew into
    spans of about `length`, and each span is read behind as many samples as the model looks back (a twelfth of a span
    for a model that looks back on all), which carry none, so that its loss is the one it has in the whole clip.
    Labels are columns of a table, named groups of `pattern`, or `folder`, the name of the folder that a file is in.

    Args:
        path: A folder, whose sound files are found at any depth; one sound file; or a table (.csv, .tsv) with a column
            `file` relative to it. A folder's own table is `clips.csv`.
        corpus: A corpus that makes its own folder, such as those of the recipes.
        codec: How samples become symbols, and at which rate; None is `MuLaw()`.
        batch_size: Spans in a batch.
        length: Seconds of a span; None: 1, or twelve times what the model looks back if that is more, so that nine
            tenths of what is read carry loss, some padding allowed for.
        val: Share of the files to validate on: a fraction, or a number of files. A table's column `split` (train, val,
            test) goes before, except that without any val there, val is this share of train.
        test: Share of the files to test on.
        labels: Names of the labels.
        pattern: A regular expression that must be found in a file's path within the folder; its named groups are
            labels, and `split` is what a table's column of this name is.
        by: A label of which all clips of one class go to the same part, such as the speaker.
        trim: Decibels below a file's own loudest moment that are silence at its ends; None keeps silence.
        normalize: `peak` scales each file to a peak of 0.95, `rms` to a root mean square of 0.1, within full scale.
        corrupt: Whether a file that cannot be used is refused or skipped; either way it is named.
        features: What the model is conditioned on besides labels, computed from the clip itself.
        seed: Of the split and of the order of training.
    """

    codec: Sound
    folders = True
    content = "sound files"
    unknowns = False
    planned = ("batch_size", "length", "by", "seed")

    def __init__(
        self,
        path: str | None = None,
        corpus: Corpus | None = None,
        codec: Codec | None = None,
        batch_size: int = 8,
        length: float | None = None,
        val: float = 0.05,
        test: float = 0.05,
        labels: list[str] | None = None,
        pattern: str | None = None,
        by: str | None = None,
        trim: float | None = None,
        normalize: Literal["none", "peak", "rms"] = "none",
        corrupt: Literal["refuse", "skip"] = "refuse",
        features: LogMel | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(path, corpus, val, test, labels or [])
        codec = MuLaw() if codec is None else codec
        if not isinstance(codec, Sound):
            raise DataError(f"codec is {type(codec).__name__}, expected one of sounds, such as MuLaw")
        self.codec, self.rate = codec, codec.rate
        self.batch_size, self.length = batch_size, length
        self._check(trim, pattern)
        if features is not None and (features.rate != codec.symbol_rate or codec.end is not None):
            raise DataError(
                f"features at {features.rate} Hz, codec at {codec.symbol_rate:g} Hz with end {codec.end}: expected the "
                "same rate, and no end, for which there are no features"
            )
        if by is not None and by not in (labels or []):
            raise DataError(f"by is {by!r}, expected one of the labels {labels or []}")
        self.pattern, self.by = pattern, by
        self.preparation = Preparation(self.rate, trim, normalize, corrupt)
        self.features = features
        self.seed = seed

    def _check(self, trim: float | None, pattern: str | None) -> None:
        if self.batch_size < 1 or not (trim is None or trim > 0):
            raise DataError(f"batch_size {self.batch_size}, trim {trim}: expected 1 or more, more than 0")
        rate = self.codec.symbol_rate
        if self.length is not None and not SHORTEST <= self.length * rate < math.inf:
            raise DataError(f"length is {self.length} s, expected {SHORTEST} symbols at {rate:g} Hz or more")
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise DataError(f"pattern is {pattern!r}, expected a regular expression: {error}") from None

    # -- files

    def fingerprint(self, path: Path) -> str:
        """Decode what is not in the cache yet; the SHA-256 of all samples and labels."""
        found = entries(path, self.label_columns, self.pattern)
        clips = decoded([entry.path for entry in found], self.preparation)
        self.entries = [found[kept] for kept in clips.kept]
        self.samples, self.ends = clips.samples, clips.ends
        said = json.dumps([clips.sha256, [(entry.labels, entry.split) for entry in self.entries]])
        return hashlib.sha256(said.encode()).hexdigest()

    # -- parts

    def read(self, path: Path) -> None:
        """Classes of labels and the split."""
        self.label_numbers = self.number_labels([entry.labels for entry in self.entries], path)
        self.starts = np.append(0, self.ends[:-1])
        numbers = self.label_numbers if self.label_columns else None
        self.windows = Windows(self.codec, self.samples, self.starts, self.ends, numbers, self.features)
        self.sizes = self.windows.sizes
        self.parts = divide([entry.split for entry in self.entries], self._keys(), self.shares, self.seed)

    def _keys(self) -> list[str]:
        """What is hashed for the split: the label `by`, or the file's name, with its folder where names are alike."""
        if self.by is not None:
            return [entry.labels[self.label_columns.index(self.by)] for entry in self.entries]
        often = collections.Counter(entry.path.name for entry in self.entries)
        return [entry.path.name if often[entry.path.name] == 1 else entry.name for entry in self.entries]

    @property
    def plan(self) -> dict[str, Any]:
        """The crops, the split and the features."""
        return {**super().plan, "features": None if self.features is None else describe(self.features)}

    @property
    def training_symbols(self) -> float:
        """Of all clips, the end symbols included."""
        return float(self.sizes[self.parts["train"]].sum())

    # -- batches

    @property
    def span(self) -> int:
        """Symbols of a span, about."""
        if self.length is not None:
            return round(self.length * self.codec.symbol_rate)
        return max(SHORTEST, round(self.codec.symbol_rate), SHARE * (self._back or 0))

    @property
    def _back(self) -> int | None:
        """Left context of a crop, in symbols; None for a share of the crop."""
        if self.left_context is None or self.features is None:
            return self.left_context
        return self.left_context + self.feature_reach * self.features.hop  # the first frames lack those before them

    def train_dataloader(self) -> Loader:
        """Windows of like length, so that little is padding, in an order of its own for every epoch."""
        clips = self.parts["train"]
        if not len(clips):
            raise DataError(f"{self.source} leaves no file to train on, expected more files")
        spans = int((-(-self.sizes[clips] // self.span)).sum())
        return Loader(partial(self._shuffled, clips), -(-spans // self.batch_size))

    def _shuffled(self, clips: np.ndarray, epoch: int, position: int) -> Iterator[Batch]:
        batch = partial(self.windows.batch, reach=self.feature_reach)
        return map(batch, self._layout(clips, epoch)[position:])

    def _layout(self, clips: np.ndarray, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch: rows of a clip, the symbol to read from, the first with loss, the one behind."""
        random = rng(self.seed, epoch)
        row, first, last = cut(self.sizes[clips], self.span, random)
        past = np.maximum(0, first - (self.span // SHARE if self._back is None else self._back))
        past -= past % (self.codec.frame if self.features is None else self.features.hop)  # frames are not cut
        spans = np.stack([clips[row], past, first, last], 1)[random.permutation(len(row))]
        spans = spans[np.argsort(spans[:, 3] - spans[:, 1], kind="stable")]
        groups = np.array_split(spans, -(-len(spans) // self.batch_size))
        return [groups[place] for place in random.permutation(len(groups))]

    def held_out(self, part: str) -> Loader:
        """Every clip of a part, whole, in windows that continue one another."""
        return self._whole(self.parts[part])

    def everything(self) -> Loader:
        """Every clip, whatever part it is in."""
        return self._whole(np.arange(len(self.entries)))

    def _whole(self, clips: np.ndarray) -> Loader:
        groups = self.windows.groups(clips, self.batch_size)
        return Loader(lambda epoch, position: self.windows.whole(groups[position:]), len(groups), whole=True)

    # -- for people

    def examples(self, count: int) -> list[tuple[Clip, dict[str, str]]]:
        """The first two seconds of the first clips of the validation part, and their labels."""
        found = []
        for clip in self.parts["val"][:count]:
            heard = Clip(np.array(self.windows.clip(clip)[: 2 * self.rate]), self.rate)
            found.append((heard, self.labels_of(clip)))
        return found

    def labels_of(self, clip: int) -> dict[str, str]:
        """The labels of a clip by name, without empty ones."""
        pairs = zip(self.label_columns, self.entries[clip].labels, strict=True)
        return {name: value for name, value in pairs if value}

    @property
    def report(self) -> str:
        """How much of what is read in training carries loss."""
        clips = self.parts["train"]
        batches = self._layout(clips, 0)
        read = sum(len(batch) * int((batch[:, 3] - batch[:, 1]).max()) for batch in batches)
        rate, reach = self.codec.symbol_rate, "all there is"
        if self.left_context is not None:
            reach = f"{self.left_context} symbols ({1000 * self.left_context / rate:.0f} ms)"
        return (
            f"{len(clips)} clips to train on, {self.sizes[clips].sum() / rate / 60:.1f} minutes; the model looks "
            f"back on {reach}; of the positions in a batch {self.sizes[clips].sum() / read:.1%} carry loss"
        )
