"""Implementations of Tab: one for each modality of seqgen but tables, and one for all other modalities."""

from seqgen_app.tab import register
from seqgen_app.tabs.generic import GenericTab as GenericTab
from seqgen_app.tabs.image import ImageTab as ImageTab
from seqgen_app.tabs.sound import SoundTab as SoundTab
from seqgen_app.tabs.text import TextTab as TextTab

__all__ = ["GenericTab", "ImageTab", "SoundTab", "TextTab"]

register("text", TextTab)
register("sound", SoundTab)
register("image", ImageTab)
