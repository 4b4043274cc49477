"""A hash of weights that reads them at the speed of memory."""

# mypy: ignore-errors

from functools import partial

import numpy as np
from numba import njit

from seqgen.engines.cache import cached

GOLDEN, LOWER, HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xFFFFFFFF), np.uint64(32)
"""2^64 over the golden ratio, whose multiples are far from one another; the lower half of a word; its width."""


@partial(cached, told=False)
@njit(nogil=True)
def checksum(words):
    """A hash of 64-bit words and their places, the NH of UMAC (Black et al. 1999) with a counter for its key.

    It sums products of the two halves of each word. Plain sums would not see numbers that trade places, and small
    changes may cancel in them.
    """
    total, key = np.uint64(0), np.uint64(0)
    for place in range(len(words)):  # by index, which LLVM makes vectors of: 53 GB/s instead of 11
        key += GOLDEN
        mixed = words[place] ^ key
        total += words[place] + (mixed & LOWER) * (mixed >> HALF)
    return total
