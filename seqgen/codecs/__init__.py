"""Implementations of Codec."""

from seqgen.codecs.chars import Chars as Chars
from seqgen.codecs.mulaw import MuLaw as MuLaw
from seqgen.codecs.sentencepiece import SentencePiece as SentencePiece
from seqgen.codecs.waveform import Waveform as Waveform

__all__ = ["Chars", "MuLaw", "SentencePiece", "Waveform"]
