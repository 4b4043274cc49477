"""Implementations of Model."""

from seqgen.models.ngram import NGram as NGram
from seqgen.models.rnn import RNN as RNN
from seqgen.models.wavenet import WaveNet as WaveNet

__all__ = ["RNN", "NGram", "WaveNet"]
