"""Implementations of Model."""

from seqgen.models.ngram import NGram as NGram
from seqgen.models.rnn import RNN as RNN

__all__ = ["RNN", "NGram"]
