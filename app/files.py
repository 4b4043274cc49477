"""Files that visitors upload, and files made for them, which are deleted by age."""

import tempfile
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_audio_to_cache, save_bytes_to_cache
from gradio.utils import get_upload_folder

from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen_app.catalog import Entry
from seqgen_app.limits import Refused


def uploaded(value: Any) -> str | None:
    """The path of an uploaded file, None for no file. The guard has checked that it lies among the uploads."""
    if value is None:
        return None
    path = value.get("path") if isinstance(value, dict) else None
    if not isinstance(path, str) or (value.get("meta") or {}).get("_type") != "gradio.FileData":
        raise Refused(f"Got a {type(value).__name__}, expected an uploaded file.")
    return path


def save(content: bytes, name: str) -> str:
    """Write a file with this content and name; its path."""
    path: str = save_bytes_to_cache(content, name, get_upload_folder())
    return path


def save_items(entry: Entry, items: list[Any]) -> list[str]:
    """Write samples as the modality writes them, as files called "samples"; their paths. None for one without files."""
    modality = entry.modality
    if not modality.suffixes:
        return []
    with tempfile.TemporaryDirectory() as folder:
        written = modality.write(entry.pipeline.codec, items, Path(folder) / f"samples{modality.suffixes[0]}")
        return [save(path.read_bytes(), path.name) for path in written]


def save_wav(clip: Clip) -> str:
    """Write a 16-bit WAV file; its path."""
    path: str = save_audio_to_cache(audio.pcm(clip.samples), clip.rate, format="wav", cache_dir=get_upload_folder())
    return path


def as_json(path: str, name: str) -> dict[str, Any]:
    """A file as endpoints return it."""
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
