"""Pictures of one size."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from seqgen.codecs.pixels import WHITE, Pixels, binarized
from seqgen.data.corpus import Corpus, sha256
from seqgen.data.layout import divide
from seqgen.data.loader import PARTS, rng
from seqgen.data.pictures import files, pictures
from seqgen.data.vectors import Vectors
from seqgen.media.files import DataError

MUTANT = 2**32
"""What sets the draws of mutations apart from those of binarization."""


class Images(Vectors):
    """Pictures of one size, pixel after pixel.

    They come as a folder of pictures, at any depth, the class of each the name of the folder that it is in; as IDX
    files (MNIST, Fashion-MNIST), labels beside them; as NPZ or MATLAB arrays (N, H, W), (N, H, W, C) or (N, H W), with
    labels under a like name (x and y, train_data and train_labels); as text (.amat), a picture a line; or as a folder
    of such files. Bits may be packed, eight to a byte. Names of folders, files and arrays in which train, valid or test
    occurs say which part a picture belongs to; without any valid, `val` is a share of train. White is 255, or 1 where
    nothing is more.

    Args:
        path: The file or folder.
        corpus: A corpus that makes its own.
        batch_size: Pictures in a batch.
        levels: 2 to 256, which a pixel is quantized to.
        binarize: Draws each pixel as 0 or 1, 1 with its grey value as the probability: `fixed`, once and for all; or
            `epoch`, anew for every epoch of training, and once for what is held out. Models trained either way cannot
            be compared: new draws are as good as more data. None quantizes.
        mutation: Share of the pixels that get a level drawn uniformly from all, anew for every epoch of training, and
            once for what is held out: what a background model is trained on (Ren et al. 2019, arXiv:1906.02845), which
            then knows how smooth pictures are and little of what they show.
        shape: Height, width and, if it is not 1, channels. Pictures in files are scaled to it.
        label: What the class is called, to condition on it; None does without.
        transposed: Whether rows are columns, as where MATLAB flattened them.
        val: Share of the pictures to validate on: a fraction, or a number of pictures.
        test: Share of the pictures to test on, unless they say themselves.
        seed: Of the split, of the order of training and of the draws.
    """

    folders = True
    content = "images"
    planned = ("batch_size", "levels", "binarize", "mutation", "shape", "transposed", "seed")

    def __init__(
        self,
        path: str | None = None,
        corpus: Corpus | None = None,
        batch_size: int = 100,
        levels: int = 256,
        binarize: Literal["fixed", "epoch"] | None = None,
        mutation: float = 0.0,
        shape: list[int] | None = None,
        label: str | None = None,
        transposed: bool = False,
        val: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(path, corpus, val, test, [] if label is None else [label])
        if batch_size < 1 or not 2 <= levels <= 256:
            raise DataError(f"batch_size {batch_size}, levels {levels}: expected 1 or more, 2 to 256")
        if binarize is not None and levels != 2:
            raise DataError(f"binarize is {binarize!r} and levels {levels}, expected levels 2")
        if not 0 <= mutation <= 1:
            raise DataError(f"mutation is {mutation}, expected a share from 0 to 1")
        if shape is not None and (len(shape) not in (2, 3) or min(shape) < 1 or shape[2:] not in ([], [1], [3])):
            raise DataError(f"shape is {shape}, expected height, width and maybe channels, 1 or 3")
        self.batch_size, self.levels, self.binarize, self.mutation = batch_size, levels, binarize, mutation
        self.shape, self.transposed = shape, transposed
        self.seed = seed

    def fingerprint(self, path: Path) -> str:
        """The SHA-256 of all files, with their names."""
        if path.is_file():
            return sha256(path)
        whole = hashlib.sha256()
        for file in files(path):
            whole.update(f"{file.relative_to(path).as_posix()} {sha256(file)}\n".encode())
        return whole.hexdigest()

    def read(self, path: Path) -> None:
        """Size, classes and split; what is drawn once."""
        found = pictures(path, self.shape)
        values = found.values.swapaxes(1, 2) if self.transposed else found.values
        height, width, channels = values.shape[1:]
        if channels not in (1, 3):
            raise DataError(f"{path}: pictures of {channels} channels, expected 1 or 3")
        codec = Pixels(height, width, channels, self.levels, drawn=self.binarize is not None)
        held = self.codec if self.reading_whole else codec  # that of the model which is evaluated
        if isinstance(held, Pixels) and (held.shape, held.levels) != (codec.shape, codec.levels):
            one, other = (f"{each.shape} of {each.levels} levels" for each in (codec, held))
            raise DataError(f"{path}: pictures (height, width, channels) are {one}, the model's {other}")
        self.codec = self.pixels = codec
        self.values, self.classes = np.ascontiguousarray(values).reshape(len(values), -1), found.classes
        rows = [(name,) if self.label_columns else () for name in found.classes]
        self.label_numbers = self.number_labels(rows, path)
        keys = [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in self.values]
        self.parts = divide(found.parts, keys, self.shares, self.seed)
        self.drawn = self.values
        if self.binarize is not None:
            self.drawn = np.stack([_drawn(row, self.seed, place) for place, row in enumerate(self.values)])

    def symbols(self, places: np.ndarray, epoch: int | None) -> Tensor:
        """Levels (B, D)."""
        if self.binarize == "epoch" and epoch is not None:
            values = _drawn(self.values[places], self.seed, 1 + epoch, *places.tolist())
        else:
            values = self.drawn[places]
        x = self.pixels.quantize(values)
        if self.mutation and epoch is not None:
            x = self._mutated(x, self.seed, MUTANT, 1 + epoch, *places.tolist())
        elif self.mutation:
            x = np.stack(
                [self._mutated(row, self.seed, MUTANT, 0, place) for row, place in zip(x, places.tolist(), strict=True)]
            )
        return torch.from_numpy(x.astype(np.int64))

    def _mutated(self, x: np.ndarray, *numbers: int) -> np.ndarray:
        """Levels (...), a share of them drawn anew."""
        random = rng(*numbers)
        drawn = random.integers(0, self.levels, x.shape, np.uint8, endpoint=False)
        return np.where(random.random(x.shape, np.float32) < self.mutation, drawn, x)

    @property
    def report(self) -> str:
        """The pictures, and what was done to them."""
        pixels = self.pixels
        how = {
            None: f"quantized to {self.levels} levels",
            "fixed": "binarized at random once and for all",
            "epoch": "binarized at random anew for every epoch: not to be compared with a fixed binarization",
        }[self.binarize]
        if self.levels == 2 and bool(((self.values == 0) | (self.values == WHITE)).all()):
            how = "binary as they are"
        if self.mutation:
            how += f"; {self.mutation:.0%} of the pixels drawn at random"
        size = f"{pixels.height} x {pixels.width} x {pixels.channels}"
        train, val, calibration, test = (len(self.parts[part]) for part in PARTS)
        held_out = f"{val} to validate, {calibration} to calibrate and {test} to test on"
        return f"{train} pictures of {size} to train on, {held_out}, {how}"


def _drawn(values: np.ndarray, *numbers: int) -> np.ndarray:
    """Black or white (...), white with the value as the probability."""
    return binarized(values, rng(*numbers))
