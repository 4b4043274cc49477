"""Implementations of Modality, one file for each kind of data."""

from seqgen.modalities.image import ImageModality as ImageModality
from seqgen.modalities.sound import SoundModality as SoundModality
from seqgen.modalities.table import TableModality as TableModality
from seqgen.modalities.text import TextModality as TextModality

__all__ = ["ImageModality", "SoundModality", "TableModality", "TextModality"]
