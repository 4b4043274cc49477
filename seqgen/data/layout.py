"""Train, validation and test splits by hash, and the random crops of an epoch."""

import hashlib
from collections.abc import Sequence

import numpy as np

from seqgen.data.loader import PARTS, counts


def divide(given: Sequence[str], keys: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, np.ndarray]:
    """The items of each part, as indices; items with the same key go to the same part. Raises DataError.

    A part that occurs in `given` (train, val, test or nothing, for every item) is taken from there. All other items are
    divided in the order of hashes of key and seed: `shares` are those of val and test, a fraction or a number of keys.
    Where some parts are given, test has no share; where none of these is val, val has a share of train. Half of val,
    the first in the order of the hashes, becomes the calibration part.
    """
    part = np.array(given, "<U11")
    secret = str(seed).encode()
    hashes = [hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=secret).hexdigest() for key in keys]
    free = (part == "") | ((part == "train") & ("val" not in given))
    if free.any():
        groups, rank = np.unique(np.array(hashes)[free], return_inverse=True)
        val, test = counts(len(groups), (0 if "val" in given else shares[0], 0 if any(given) else shares[1]))
        part[free] = np.array(["val", "test", "train"])[np.searchsorted([val, val + test], rank, side="right")]
    val = part == "val"
    if val.any():
        groups, rank = np.unique(np.array(hashes)[val], return_inverse=True)
        part[val] = np.where(rank < len(groups) // 2, "calibration", "val")
    return {name: np.flatnonzero(part == name) for name in PARTS}


def cut(sizes: np.ndarray, span: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut sequences into crops of about `span` symbols at random boundaries: sequence, first and last + 1 of each crop.

    Each sequence is cut into equal crops of at most `span` symbols. Then all its inner boundaries are shifted together
    by a random -0.4 to 0.4 of a crop, so that crops start at different symbols in every epoch; the first and the last
    crop become longer or shorter by as much.

    Args:
        sizes: Lengths of the sequences (N,), in symbols, each 1 or more.
        span: Target length of a crop, in symbols.
        random: Random number generator.
    """
    pieces = -(-sizes // span)
    row = np.repeat(np.arange(len(sizes)), pieces)
    number = np.concatenate([np.arange(count) for count in pieces])
    shift = np.where(number > 0, np.repeat(random.uniform(-0.4, 0.4, len(sizes)), pieces), 0)
    first = np.rint((sizes / pieces)[row] * (number + shift)).astype(np.int64)
    last = np.append(first[1:], 0)
    last[np.cumsum(pieces) - 1] = sizes
    return row, first, last
