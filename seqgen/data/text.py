"""One long text."""

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from seqgen.codec import Codec, UnknownSymbol
from seqgen.codecs import Chars
from seqgen.data.corpus import Corpus
from seqgen.data.loader import PARTS, Loader, counts, rng, store, tensor
from seqgen.data.module import DataModule
from seqgen.inference.detect import Calibration, calibrate
from seqgen.inference.score import NUMBERS
from seqgen.media.files import CountedLines, DataError, read_text
from seqgen.model import Batch, Model

STRETCHES = 8000
"""Stretches of a text in its calibration set, if it has as many symbols."""
LONGEST = 256
"""Symbols of the longest of these."""
GOLDEN = (math.sqrt(5) - 1) / 2
WINDOW = 128
"""Symbols of a held-out window at least."""
LANES = 1_000_000
"""Lanes of a training part at most; their order is held in memory."""


class Text(DataModule):
    """One long text, read in parallel lanes whose state is carried from window to window.

    The text is split into contiguous parts for training, validation and test, in that order, so that nothing leaks.
    The training part is cut into lanes of about `lane` symbols, where lines begin if the text has lines, so that a
    model learns how a text begins. Every epoch takes the lanes in another order, `batch_size` at a time; a batch is the
    next window of about `length` symbols of each of them. Held-out parts are read in few long lanes, each symbol scored
    once. Memory does not grow with the file.

    Args:
        path: A text file of your own; it goes before the corpus.
        corpus: A corpus that makes its own file, such as those of the recipes.
        codec: How characters become symbols; None is `Chars()`. What it has to learn, it learns from the training
            part, an alphabet excepted, which is that of the whole text.
        batch_size: Lanes of a training batch.
        length: Symbols of one window, the reach of truncated back-propagation through time. Windows are up to an
            eighth longer or shorter, since lanes are cut where lines begin and into equal windows.
        lane: Symbols that are read before the state is reset; fewer for texts of less than a batch of lanes.
        val: Share of the text to validate on: a fraction, or a number of characters.
        test: Share of the text to test on.
        encoding: Of the file. Line ends are read as "\\n", a byte order mark is dropped.
        seed: Of the order of training.
    """

    planned = ("batch_size", "length", "lane", "seed")

    def __init__(
        self,
        path: str | None = None,
        corpus: Corpus | None = None,
        codec: Codec | None = None,
        batch_size: int = 50,
        length: int = 50,
        lane: int = 2000,
        val: float = 0.05,
        test: float = 0.05,
        encoding: str = "utf-8",
        seed: int = 0,
    ) -> None:
        super().__init__(path, corpus, val, test)
        if min(batch_size, length, lane) < 1:
            raise DataError(f"batch_size is {batch_size}, length {length} and lane {lane}, expected 1 or more")
        self.codec = codec or Chars()
        self.batch_size = batch_size
        self.length = length
        self.lane = lane
        self.seed = seed
        self.encoding = encoding

    def read(self, path: Path) -> None:
        """Length, alphabet and symbols of the file."""
        total = sum(map(len, self._pieces(path)))
        if not total:
            raise DataError(f"{path} is empty, expected text")
        val, test = counts(total, self.shares)
        train, chosen = total - val - test, val - val // 2
        fitted = train if self.codec.learns else total
        self.codec = self.codec.fit(_portion(self._pieces(path), 0, fitted))
        ends = itertools.accumulate((train, chosen, val - chosen, test))
        start = 0
        for name, stop in zip(PARTS, ends, strict=True):
            self.parts[name] = self._store(path, start, stop)
            start = stop

    def _pieces(self, path: Path) -> Iterator[str]:
        """The text, without what has no symbol if that is to be skipped."""
        pieces = read_text(path, self.encoding)
        if self.unknown != "skip":
            yield from pieces
            return
        count = 0
        for piece in pieces:
            kept, dropped = self.codec.drop_unknown(piece)
            count += dropped
            yield kept
        self.skipped = [f"{count} characters"] if count else []

    def _store(self, path: Path, start: int, stop: int) -> np.ndarray:
        """The symbols of characters start .. stop - 1. Raises UnknownSymbol with the line."""
        text = CountedLines(_portion(self._pieces(path), start, stop))
        try:
            return store(self.codec.pieces(text), self.symbols_known)
        except UnknownSymbol as error:
            part = " of the part" if start else ""
            where = "" if error.position is None else f", line {text.line(error.position)}{part}"
            hint = "; unknown='skip' leaves such characters out" if self.reading_whole else ""
            raise UnknownSymbol(f"{path}{where}: {error}{hint}") from None

    @property
    def training_symbols(self) -> float:
        """Of the training part."""
        return len(self.parts["train"])

    def train_dataloader(self) -> Loader:
        """Windows of lanes, (batch_size, length) each. Raises DataError for a text too short for them."""
        if len(self.parts["train"]) < 2 * self.batch_size:
            raise DataError(
                f"{self.source} leaves {len(self.parts['train'])} symbols to train on, fewer than 2 for each of "
                f"batch_size {self.batch_size} lanes; expected a longer text or a smaller batch_size"
            )
        total = len(self.parts["train"])
        longest = max(min(self.lane, -(-total // self.batch_size)), -(-total // LANES))
        count = -(-total // longest)  # lanes, of `size` or one more
        size = total // count
        reach = size // 8
        windows = min(-(-longest // self.length), size - reach)  # none is empty, however short a lane becomes
        groups = -(-count // self.batch_size)

        def epoch(number: int, position: int) -> Iterator[Batch]:
            order = np.array_split(rng(self.seed, number).permutation(count), groups)
            for group, places in itertools.groupby(range(position, groups * windows), lambda place: place // windows):
                starts = self._line_begins_before(order[group] * total // count, reach)
                ends = self._line_begins_before((order[group] + 1) * total // count, reach)
                for place in places:
                    yield self._window("train", starts, ends, windows, place % windows)

        return Loader(epoch, groups * windows)

    def _line_begins_before(self, places: np.ndarray, reach: int) -> np.ndarray:
        """The last begin of a line in the `reach` symbols up to each place (N,) of the training part, or the place.

        Places behind the part become its end.
        """
        symbols = self.parts["train"]
        found: np.ndarray = np.minimum(places, len(symbols))
        for number, place in enumerate(found.tolist()):
            begins = self._line_begins(symbols[max(0, place - reach) : place + 1])
            if len(begins) and place < len(symbols):
                found[number] = max(0, place - reach) + begins[-1]
        return found

    def held_out(self, part: str) -> Loader:
        """Windows of a held-out part."""
        # A lane begins without a past; with 5,000 symbols or more in each that costs nothing that shows.
        total = len(self.parts[part])
        lanes = max(1, min(self.batch_size, total // 5000))
        lane = -(-total // lanes)  # the last lane may be shorter
        starts = np.arange(lanes) * lane
        count = -(-lane // max(self.length, WINDOW))
        window = partial(self._window, part, starts, np.minimum(starts + lane, total), count)
        return Loader(lambda epoch, position: map(window, range(position, count)), count, whole=True)

    def calibration(self, model: Model) -> Calibration | None:
        """Scores of stretches of 1 to 256 symbols that begin where a line does, as the texts that people write do.

        Lengths are log-uniform, so that a text of any length has its like. There are as many stretches as symbols,
        8,000 at most; they overlap.
        """
        if not len(self.parts["calibration"]):
            return None
        return calibrate(model, self._stretches(), self.codec.log_jacobian)

    def _stretches(self) -> Iterator[Batch]:
        """The stretches from the longest to the shortest.

        Multiples of the golden ratio, modulo 1, choose where they begin: stretches of similar length are spread evenly
        over the part, and a share of them varies less than if places were drawn at random.
        """
        symbols = self.parts["calibration"]
        count = min(STRETCHES, len(symbols))
        begins = self._begins(symbols)
        longest = min(LONGEST, len(symbols) - begins[0])
        lengths = np.rint(np.geomspace(longest, 1, count)).astype(np.int64)
        inside = np.searchsorted(begins, len(symbols) - lengths, side="right")  # begins with room for the stretch
        places = begins[(np.arange(count) * GOLDEN % 1 * inside).astype(np.int64)]
        first = 0
        while first < count:
            rows = max(1, NUMBERS // (int(lengths[first]) * self.symbols_known))
            group, columns = slice(first, first + rows), np.arange(lengths[first])
            x = symbols[np.minimum(places[group, None] + columns, len(symbols) - 1)]
            yield Batch(tensor(x), torch.from_numpy(columns < lengths[group, None]))
            first += rows

    def _begins(self, symbols: np.ndarray) -> np.ndarray:
        """Where lines begin that are not empty, the first included; every place of a text without lines."""
        begins = self._line_begins(symbols)
        return np.append(0, begins) if len(begins) else np.arange(len(symbols))

    def _line_begins(self, symbols: np.ndarray) -> np.ndarray:
        """Where lines begin that are not empty, but for the first."""
        ending = self._ending_lines[symbols]
        begins: np.ndarray = 1 + np.flatnonzero(ending[:-1] & ~ending[1:])
        return begins

    @cached_property
    def _ending_lines(self) -> np.ndarray:
        """Whether a symbol (K,) ends a line."""
        texts = [self.codec.decode(torch.tensor([symbol])) for symbol in range(self.symbols_known)]
        return np.array([text.endswith("\n") for text in texts])

    def _window(self, part: str, starts: np.ndarray, ends: np.ndarray, count: int, number: int) -> Batch:
        """Window `number` of `count` equal ones of the lanes from `starts` (B,) to `ends` (B,)."""
        symbols, longest = self.parts[part], int((ends - starts).max())
        columns = np.arange(longest * number // count, longest * (number + 1) // count)
        places = starts[:, None] + columns  # (B, T)
        x = tensor(symbols[np.minimum(places, len(symbols) - 1)])
        return Batch(x, torch.from_numpy(places < ends[:, None]), window=number)


def _portion(pieces: Iterable[str], start: int, stop: int) -> Iterator[str]:
    """Characters start .. stop - 1 of a text that comes in pieces."""
    place = 0
    for piece in pieces:
        if part := piece[max(0, start - place) : max(0, stop - place)]:
            yield part
        place += len(piece)
