"""Implementations of Codec."""

from seqgen.codecs.chars import Chars as Chars
from seqgen.codecs.sentencepiece import SentencePiece as SentencePiece

__all__ = ["Chars", "SentencePiece"]
