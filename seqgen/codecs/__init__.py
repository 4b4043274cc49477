"""Implementations of Codec."""

from seqgen.codecs.chars import Chars as Chars
from seqgen.codecs.melframes import MelFrames as MelFrames
from seqgen.codecs.mulaw import MuLaw as MuLaw
from seqgen.codecs.pixels import Pixels as Pixels
from seqgen.codecs.sentencepiece import SentencePiece as SentencePiece
from seqgen.codecs.table import Table as Table
from seqgen.codecs.waveform import Waveform as Waveform

__all__ = ["Chars", "MelFrames", "MuLaw", "Pixels", "SentencePiece", "Table", "Waveform"]
