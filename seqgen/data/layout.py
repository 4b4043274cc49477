"""Train, validation and test splits by hash, and the random crops of an epoch."""

import hashlib
from collections.abc import Sequence

import numpy as np

from seqgen.data.loader import PARTS, counts


def divide(given: Sequence[str], keys: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, np.ndarray]:
    """Indices of the items of each part: train, val, calibration and test.

    Items keep the part they are given. Items without one are split by hashes of key and seed, so that all items of one
    key go to the same part. Test items are split off only if no item has a given part; val items only if none is given
    as val, and then also from the items given as train. All other items are train. Finally half of the keys of val, the
    first by hash, become the calibration part.

    Args:
        given: Part of each item (N): train, val, test, or empty if not given.
        keys: Key of each item (N).
        shares: Shares of val and of test: fractions, or numbers of keys.
        seed: Seed of the hashes.

    Raises DataError if nothing is left for training.
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
