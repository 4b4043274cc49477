"""Train, validation and test splits by hash, and the random crops of an epoch."""

import hashlib
from collections.abc import Sequence

import numpy as np

from seqgen.data.clips import PARTS
from seqgen.data.loader import counts


def divide(given: Sequence[str], keys: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, np.ndarray]:
    """Places of the clips of each part; clips of one key stay together, if no part is given. Raises DataError.

    A part that occurs in `given` (train, val, test or nothing, of every clip) is what that says. All others are divided
    in the order of hashes of key and seed: `shares` are those of val and test, a fraction or a number of keys. Where
    some parts are given, test has no share; where these are not val, val has a share of train, too.
    """
    part = np.array(given, "<U5")
    free = (part == "") | ((part == "train") & ("val" not in given))
    if free.any():
        secret = str(seed).encode()
        hashes = [hashlib.blake2b(key.encode("utf-8", "surrogateescape"), key=secret).hexdigest() for key in keys]
        groups, rank = np.unique(np.array(hashes)[free], return_inverse=True)
        val, test = counts(len(groups), (0 if "val" in given else shares[0], 0 if any(given) else shares[1]))
        part[free] = np.array(["val", "test", "train"])[np.searchsorted([val, val + test], rank, side="right")]
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
