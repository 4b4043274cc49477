"""Sound files."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from seqgen.audio import Clip
from seqgen.codec import Codec
from seqgen.codecs import MuLaw
from seqgen.codecs.sound import Sound
from seqgen.data.clips import PARTS, Preparation, decoded, entries
from seqgen.data.corpus import Corpus, DataError
from seqgen.data.loader import Loader, counts, rng
from seqgen.data.module import DataModule
from seqgen.mel import LogMel
from seqgen.model import Batch, Context

WINDOW = 8192
"""Symbols of a held-out clip that are read at once."""


class Audio(DataModule):
    """Sound files of any format, rate and number of channels that libsndfile reads, as the codec's mono at its rate.

    Files are decoded once, into a cache on disk. In an epoch every sample carries loss once: clips are cut anew into
    spans of about `length`, and each span is read behind as many samples as the model looks back, which carry none.
    Labels are columns of a table, named groups of `pattern`, or `folder`, the name of the folder that a file is in.

    Args:
        path: A folder, whose sound files are found at any depth; one sound file; or a table (.csv, .tsv) with a column
            `file` relative to it. A folder's own table is `clips.csv`.
        corpus: A corpus that makes its own folder, such as those of the recipes.
        codec: How samples become symbols, and at which rate; None is `MuLaw()`.
        batch_size: Spans in a batch.
        length: Seconds of a span; None: 1, or nine times what the model looks back if that is more, so that nine
            tenths of a window carry loss.
        val: Share of the files to validate on: a fraction, or a number of files. A table's column `split` (train, val,
            test) goes before, except that without any val there, val is this share of train.
        test: Share of the files to test on.
        labels: Names of the labels.
        pattern: A regular expression that a file's path must match; its named groups are labels.
        by: A label of which all clips of one class go to the same part, such as the speaker.
        trim: Decibels below a file's own peak that are silence at its ends; None keeps silence.
        normalize: `peak` scales each file to a peak of 0.95, `rms` to a root mean square of 0.1, within full scale.
        corrupt: Whether a file that cannot be read is refused or skipped; either way it is named.
        features: What the model is conditioned on besides labels, computed from the clip itself.
        seed: Of the split and of the order of training.
    """

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
        super().__init__()
        self.codec = codec = MuLaw() if codec is None else codec
        if not isinstance(codec, Sound):
            raise DataError(f"codec is {type(codec).__name__}, expected one of sounds, such as MuLaw")
        self.rate = codec.rate
        if batch_size < 1 or not (length is None or length > 0) or not (trim is None or trim > 0):
            raise DataError(f"batch_size {batch_size}, length {length}, trim {trim}: expected 1 or more, more than 0")
        if features is not None and (features.rate != codec.rate or codec.end is not None):
            raise DataError(
                f"features at {features.rate} Hz, codec at {codec.rate} Hz with end {codec.end}: expected the same "
                "rate, and no end, for which there are no features"
            )
        if by is not None and by not in (labels or []):
            raise DataError(f"by is {by!r}, expected one of the labels {labels or []}")
        self.source = path or corpus
        self.batch_size, self.length = batch_size, length
        self.shares = (val, test)
        self.label_columns, self.pattern, self.by = labels or [], pattern, by
        self.preparation = Preparation(self.rate, trim, normalize, corrupt)
        self.features = features
        self.seed = seed
        self.labels = {}

    # -- files

    def located(self) -> tuple[Path, str]:
        """The folder, the file or the table, and the licence. Raises DataError when it is not there."""
        if self.source is None:
            raise DataError("no data: expected --data.path FOLDER")
        corpus = self.source if isinstance(self.source, Corpus) else None
        path, licence = (corpus.prepare(), corpus.licence) if corpus else (Path(str(self.source)), "not stated")
        if not path.exists():
            raise DataError(f"no file or folder {str(path)!r}; expected sound files")
        return path, licence

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
        values = [{entry.labels[place] for entry in self.entries} - {""} for place in range(len(self.label_columns))]
        self.name_labels(values, path)
        classes = [{value: number for number, value in enumerate(["", *names])} for names in self.labels.values()]
        rows = [[known[value] for known, value in zip(classes, entry.labels, strict=True)] for entry in self.entries]
        self.said = np.array(rows, np.int64).reshape(len(rows), len(classes))
        self.starts = np.concatenate([[0], self.ends[:-1]])
        self.sizes = self.ends - self.starts + (self.codec.end is not None)  # symbols
        self.parts = self._split()

    def _split(self) -> dict[str, np.ndarray]:
        given = np.array([entry.split for entry in self.entries])
        free = given == ("train" if "train" in given and "val" not in given else "")
        names = [
            entry.labels[self.label_columns.index(self.by)] if self.by else entry.path.name for entry in self.entries
        ]
        keys = [
            hashlib.blake2b(name.encode("utf-8", "surrogateescape"), key=str(self.seed).encode()).hexdigest()
            for name in names
        ]
        groups, rank = np.unique(np.array(keys)[free], return_inverse=True)
        shares = (self.shares[0], 0 if "test" in given else self.shares[1])
        val, test = counts(len(groups), shares) if len(groups) else (0, 0)
        part = given.copy().astype("<U5")
        part[free] = np.array(["val", "test", "train"])[np.searchsorted([val, val + test], rank, side="right")]
        return {name: np.flatnonzero(part == name) for name in PARTS}

    @property
    def plan(self) -> dict[str, Any]:
        """The spans and the split."""
        names = ("batch_size", "length", "by", "seed")
        return {**{name: getattr(self, name) for name in names}, "val and test": list(self.shares)}

    # -- batches

    @property
    def span(self) -> int:
        """Symbols of a span, about."""
        if self.length is not None:
            return max(1, round(self.length * self.rate))
        return max(self.rate, 9 * (self.past or 0))

    def train_dataloader(self) -> Loader:
        """Windows of like length, so that little is padding, in an order of its own for every epoch."""
        clips = self.parts["train"]
        if not len(clips):
            raise DataError(f"{self.source} leaves no file to train on, expected more files")
        return Loader(partial(self._shuffled, clips), -(-int(self._pieces(clips).sum()) // self.batch_size))

    def _shuffled(self, clips: np.ndarray, epoch: int, position: int) -> Iterator[Batch]:
        return map(self._windows, self._layout(clips, epoch)[position:])

    def _pieces(self, clips: np.ndarray) -> np.ndarray:
        pieces: np.ndarray = -(-self.sizes[clips] // self.span)
        return pieces

    def _layout(self, clips: np.ndarray, epoch: int) -> list[np.ndarray]:
        """The batches of an epoch: rows of a clip, the symbol to read from, the first with loss, the one behind."""
        random, pieces = rng(self.seed, epoch), self._pieces(clips)
        clip = np.repeat(clips, pieces)
        number = np.concatenate([np.arange(count) for count in pieces])
        # Within a clip the cuts are shifted, so that not always the same symbols stand at the borders.
        shift = np.where(number > 0, random.uniform(-0.4, 0.4, len(clip)), 0)
        first = np.rint(np.repeat(self.sizes[clips] / pieces, pieces) * (number + shift)).astype(np.int64)
        last = np.append(first[1:], 0)
        last[np.cumsum(pieces) - 1] = self.sizes[clips]
        past = np.maximum(0, first - (self.span // 9 if self.past is None else self.past))
        if self.features is not None:
            past -= past % self.features.hop  # frames are not cut
        spans = np.stack([clip, past, first, last], 1)[random.permutation(len(clip))]
        spans = spans[np.argsort(spans[:, 3] - spans[:, 1], kind="stable")]
        groups = np.array_split(spans, -(-len(spans) // self.batch_size))
        return [groups[place] for place in random.permutation(len(groups))]

    def _windows(self, spans: np.ndarray) -> Batch:
        """Symbols past .. last - 1 of clips, of which those from `first` on carry loss."""
        rows = [self._symbols(clip, past, last) for clip, past, _, last in spans]
        columns = np.arange(max(map(len, rows)))
        mask = (columns >= (spans[:, 2] - spans[:, 1])[:, None]) & (columns < (spans[:, 3] - spans[:, 1])[:, None])
        context = self._context(spans[:, 0], [(past, last) for _, past, _, last in spans])
        return Batch(_padded(rows), torch.from_numpy(mask), context)

    def held_out(self, part: str) -> Loader:
        """Every clip of a part, whole, in windows that continue one another."""
        clips = self.parts[part][np.argsort(self.sizes[self.parts[part]], kind="stable")]
        groups = np.array_split(clips, -(-len(clips) // self.batch_size)) if len(clips) else []
        windows = [(group, number) for group in groups for number in range(-(-int(self.sizes[group].max()) // WINDOW))]
        return Loader(lambda epoch, position: (self._held_out(*one) for one in windows[position:]), len(windows))

    def _held_out(self, clips: np.ndarray, number: int) -> Batch:
        rows = [self._symbols(clip, number * WINDOW, (number + 1) * WINDOW) for clip in clips]
        x = _padded(rows)
        mask = torch.arange(x.shape[1]) < torch.tensor([[len(row)] for row in rows])
        return Batch(x, mask, self._context(clips, [(0, int(self.sizes[clip])) for clip in clips]), window=number)

    def _symbols(self, clip: int, first: int, last: int) -> torch.Tensor:
        """Symbols first .. last - 1 of a clip."""
        start, end = int(self.starts[clip]), int(self.ends[clip])
        symbols = self.codec.encode(np.array(self.samples[start + first : min(end, start + last)]))
        return self.codec.close(symbols) if last > end - start >= first else symbols

    def _context(self, clips: np.ndarray, spans: list[tuple[int, int]]) -> Context | None:
        labels = torch.from_numpy(self.said[clips]) if self.label_columns else None
        features = None
        if self.features is not None:
            frames = [
                self.frames(clip)[first // self.features.hop :][: -(-(last - first) // self.features.hop)]
                for clip, (first, last) in zip(clips, spans, strict=True)
            ]
            features = _padded(frames)
        return None if labels is None and features is None else Context(labels, features)

    def examples(self, count: int) -> list[Clip]:
        """The first two seconds of the first clips of the validation part."""
        clips = self.parts["val"][:count]
        ends = np.minimum(self.ends, self.starts + 2 * self.rate)
        return [Clip(np.array(self.samples[self.starts[clip] : ends[clip]]), self.rate) for clip in clips]

    @property
    def report(self) -> str:
        """How much of what is read in training carries loss."""
        symbols = carry = 0
        for batch in self._layout(self.parts["train"], 0):
            read = batch[:, 3] - batch[:, 1]
            symbols, carry = symbols + int(read.max()) * len(batch), carry + int((batch[:, 3] - batch[:, 2]).sum())
        reach = "all there is"
        if self.past is not None:
            reach = f"{self.past} samples ({1000 * self.past / self.rate:.0f} ms)"
        minutes = self.sizes[self.parts["train"]].sum() / self.rate / 60
        return f"{len(self.parts['train'])} clips to train on, {minutes:.1f} minutes; the model looks back on {reach}; of the positions in a batch {carry / symbols:.1%} carry loss"

    def frames(self, clip: int) -> torch.Tensor:
        """Features (F, D) of a clip."""
        assert self.features is not None
        return self.features(np.array(self.samples[self.starts[clip] : self.ends[clip]]))


def _padded(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
