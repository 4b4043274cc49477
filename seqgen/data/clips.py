"""Collections of audio files: finding them, reading their labels, and decoding them into a cache on disk."""

import csv
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from seqgen.data.corpus import CLIPS
from seqgen.data.fetch import cache
from seqgen.media import audio
from seqgen.media.audio import AudioError
from seqgen.media.files import DataError, write_atomically

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"}
PARTS = ("train", "val", "test")
FORMAT = 2
"""Version of the cache; increased whenever decoding changes."""


class Entry(NamedTuple):
    """An audio file: path, name relative to the folder or table, label values, and part (empty if not given)."""

    path: Path
    name: str
    labels: tuple[str, ...]
    split: str = ""


def entries(path: Path, labels: list[str], pattern: str | None) -> list[Entry]:
    """The audio files of a folder, of its table `clips.csv`, or of another table; or a single file.

    Args:
        path: A folder, a table (.csv, .tsv) or an audio file.
        labels: Names of the labels: columns of the table, named groups of `pattern`, or "folder" for the parent folder.
        pattern: Regular expression that every file's name relative to the folder must match somewhere. Its named groups
            are labels; a group `split` gives the part (train, val or test). Not used with a table.

    Raises DataError for a folder without audio files, a bad table, and a label or part that is not found.
    """
    table = path / CLIPS if path.is_dir() else path if path.suffix in (".csv", ".tsv") else None
    if table is not None and table.is_file():
        found = list(_table(table, labels))
    elif path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
        found = [_entry(file, file.relative_to(path).as_posix(), labels, pattern) for file in files]
    else:
        found = [_entry(path, path.name, labels, pattern)]
    if not found:
        raise DataError(f"{path} has no audio files, expected some of {', '.join(sorted(SUFFIXES))}")
    return found


def _entry(file: Path, name: str, labels: list[str], pattern: str | None) -> Entry:
    known = {"folder": file.parent.name}
    if pattern is not None:
        match = re.search(pattern, name)
        if match is None:
            raise DataError(f"{file} does not match pattern={pattern!r}")
        known |= match.groupdict(default="")
    if absent := [label for label in labels if label not in known]:
        raise DataError(f"no label {absent[0]!r}, expected a column of a table, a named group of pattern, or folder")
    return Entry(file, name, tuple(known[label] for label in labels), _part(known.get("split", ""), str(file)))


def _table(table: Path, labels: list[str]) -> Iterator[Entry]:
    comma = table.suffix == ".csv"
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(
            file, delimiter="," if comma else "\t", quoting=csv.QUOTE_MINIMAL if comma else csv.QUOTE_NONE
        )
        try:
            yield from _rows(table, reader, labels)
        except (csv.Error, UnicodeError) as error:
            raise DataError(f"{table}, after line {reader.line_num}: {error}; expected a table in UTF-8") from None


def _rows(table: Path, reader: "csv.DictReader[str]", labels: list[str]) -> Iterator[Entry]:
    wanted = ["file", *labels]
    if absent := [name for name in wanted if name not in (reader.fieldnames or ())]:
        raise DataError(f"{table} has no column {absent[0]!r}; its header is {reader.fieldnames}")
    for row in reader:
        where = f"{table}, line {reader.line_num}"
        if not row["file"] or any(row[name] is None for name in wanted):
            raise DataError(f"{where}: got fewer columns than in the header, or an empty file name")
        split = _part(row.get("split") or "", where)
        yield Entry(table.parent / row["file"], row["file"], tuple(row[name] for name in labels), split)


def _part(split: str, where: str) -> str:
    if split not in ("", *PARTS):
        raise DataError(f"{where}: split is {split!r}, expected {', '.join(PARTS)} or nothing")
    return split


class Preparation(NamedTuple):
    """How each file is decoded; see the arguments of `seqgen.data.audio.Audio`."""

    rate: int
    trim: float | None
    normalize: Literal["none", "peak", "rms"]
    corrupt: Literal["refuse", "skip"]


class Decoded(NamedTuple):
    """Decoded clips, concatenated: memory-mapped samples (N,) float32, the end of each clip, file numbers, SHA-256."""

    samples: np.ndarray
    ends: np.ndarray
    kept: list[int]
    sha256: str


def decoded(files: list[Path], preparation: Preparation) -> Decoded:
    """The samples of all files, decoded once and cached. Raises DataError with the name of a file that is unusable."""
    key = json.dumps([FORMAT, [(str(file.absolute()), *_stamp(file)) for file in files], preparation])
    place = cache() / f"audio-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    index, data = place.with_suffix(".json"), place.with_suffix(".f32")
    if index.is_file() and data.is_file():
        _report_skipped(json.loads(index.read_text())["skipped"])
    else:
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache(), prefix=place.name, delete=False) as sink:
            try:
                found = _decode(files, preparation, sink)
                sink.flush()
                os.fsync(sink.fileno())
                Path(sink.name).rename(data)
            except BaseException:
                Path(sink.name).unlink()
                raise
        write_atomically(index, json.dumps(found).encode())
    found = json.loads(index.read_text())
    samples = np.memmap(data, np.float32, "r")
    return Decoded(samples, np.array(found["ends"], np.int64), found["kept"], found["sha256"])


def _decode(files: list[Path], preparation: Preparation, sink: IO[bytes]) -> dict[str, object]:
    ends, kept, skipped, total, digest = [], [], [], 0, hashlib.sha256()
    for number, file in enumerate(tqdm(files, "decoding", disable=None, leave=False)):
        try:
            samples = _clip(file, preparation)
        except AudioError as error:
            if preparation.corrupt == "refuse":
                raise DataError(f'{error}; corrupt="skip" leaves such files out') from None
            skipped.append(str(error))
            continue
        sink.write(samples.tobytes())
        digest.update(samples.tobytes())
        total += len(samples)
        ends.append(total)
        kept.append(number)
    _report_skipped(skipped)
    if not total:
        raise DataError("none of the audio files can be used")
    return {"ends": ends, "kept": kept, "skipped": skipped, "sha256": digest.hexdigest()}


def _report_skipped(skipped: list[str]) -> None:
    for error in skipped:
        print(f"skipped: {error}", file=sys.stderr)


def _clip(path: Path, preparation: Preparation) -> np.ndarray:
    """The samples (N,) float32 of a file, N >= 1. Raises AudioError for a file that cannot be used."""
    samples = audio.resample(*audio.read(path), preparation.rate)
    if not len(samples):
        raise AudioError(f"{str(path)!r} is too short for a sample at {preparation.rate} Hz")
    if not (peak := float(np.abs(samples).max())):
        if preparation.trim is not None:
            raise AudioError(f"{str(path)!r} is all silence, expected sound to keep after trimming")
        return samples
    whole = samples / peak  # librosa.effects.trim would treat a very quiet file as silence
    if preparation.trim is not None:
        import librosa

        start, end = librosa.effects.trim(whole, top_db=preparation.trim)[1]
        samples, whole = samples[start:end], whole[start:end]
    if preparation.normalize == "none":
        return samples
    whole = whole / np.abs(whole).max()
    rms = float(np.sqrt(np.mean(whole.astype(np.float64) ** 2)))
    level = 0.95 if preparation.normalize == "peak" else min(1, 0.1 / rms)
    normal: np.ndarray = np.multiply(whole, level, dtype=np.float32)
    return normal


def _stamp(path: Path) -> tuple[int, int]:
    """Size and modification time of a file, part of the cache key; -1 and -1 for a missing file."""
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns
