"""Collections of sound files: which there are, what they are called, and their samples in a cache on disk."""

import csv
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from seqgen import audio
from seqgen.audio import AudioError
from seqgen.checkpoint import write_atomically
from seqgen.data.corpus import DataError
from seqgen.data.fetch import cache

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64", ".caf"}
INDEX = "clips.csv"
PARTS = ("train", "val", "test")


class Entry(NamedTuple):
    """A sound file: its path, the class of each label, and the part it was put into by the corpus, if it was."""

    path: Path
    labels: tuple[str, ...]
    split: str = ""


def entries(path: Path, labels: list[str], pattern: str | None) -> list[Entry]:
    """The sound files of a folder, of a table or of a folder's table `clips.csv`; or the one file. Raises DataError."""
    table = path / INDEX if path.is_dir() else path if path.suffix in (".csv", ".tsv") else None
    if table is not None and table.is_file():
        found = list(_table(table, labels))
    elif path.is_dir():
        files = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file())
        found = [_entry(file, str(file.relative_to(path)), labels, pattern) for file in files]
    else:
        found = [_entry(path, path.name, labels, pattern)]
    if not found:
        raise DataError(f"{path} holds no sound files; expected some of {', '.join(sorted(SUFFIXES))}")
    return found


def _entry(file: Path, name: str, labels: list[str], pattern: str | None) -> Entry:
    known = {"folder": file.parent.name}
    if pattern is not None:
        match = re.search(pattern, name)
        if match is None:
            raise DataError(f"{file} does not match the pattern {pattern!r}")
        known |= match.groupdict(default="")
    if absent := [label for label in labels if label not in known]:
        raise DataError(f"no label {absent[0]!r}: expected a column of a table, a named group of pattern, or folder")
    split = known.get("split", "")
    return Entry(file, tuple(known[label] for label in labels), split if split in PARTS else "")


def _table(table: Path, labels: list[str]) -> Iterator[Entry]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="," if table.suffix == ".csv" else "\t")
        wanted = ["file", *labels]
        if absent := [name for name in wanted if name not in (reader.fieldnames or ())]:
            raise DataError(f"{table} has no column {absent[0]!r}; its header is {reader.fieldnames}")
        for row in reader:
            split = row.get("split") or ""
            if any(row[name] is None for name in wanted) or split not in ("", *PARTS):
                raise DataError(f"{table}, line {reader.line_num}: too few columns, or a split that is none of {PARTS}")
            yield Entry(table.parent / row["file"], tuple(row[name] for name in labels), split)


class Preparation(NamedTuple):
    """What is done to each file: see the arguments of `seqgen.data.audio.Audio`."""

    rate: int
    trim: float | None
    normalize: Literal["none", "peak", "rms"]
    corrupt: Literal["refuse", "skip"]


class Decoded(NamedTuple):
    """All samples (N,) float32, mapped from disk; where each clip ends; which files they are of; their SHA-256."""

    samples: np.ndarray
    ends: np.ndarray
    kept: list[int]
    sha256: str


def decoded(files: list[Path], preparation: Preparation) -> Decoded:
    """The samples of all files, decoded once. Raises DataError, which names the file."""
    key = json.dumps([[(str(file.absolute()), *_stamp(file)) for file in files], preparation])
    place = cache() / f"audio-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    index, data = place.with_suffix(".json"), place.with_suffix(".f32")
    if not (index.is_file() and data.is_file()):
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache(), prefix=place.name, delete=False) as sink:
            try:
                found = _decode(files, preparation, sink)
                sink.flush()
                Path(sink.name).rename(data)
            except BaseException:
                Path(sink.name).unlink()
                raise
        write_atomically(index, json.dumps(found).encode())
    found = json.loads(index.read_text())
    samples = np.memmap(data, np.float32, "r")
    return Decoded(samples, np.array(found["ends"], np.int64), found["kept"], found["sha256"])


def _decode(files: list[Path], preparation: Preparation, sink: IO[bytes]) -> dict[str, object]:
    ends, kept, total, digest = [], [], 0, hashlib.sha256()
    for number, file in enumerate(tqdm(files, "decoding", disable=None, leave=False)):
        if (samples := _clip(file, preparation)) is None:
            continue
        sink.write(samples.tobytes())
        digest.update(samples.tobytes())
        total += len(samples)
        ends.append(total)
        kept.append(number)
    if not total:
        raise DataError("none of the sound files can be used")
    return {"ends": ends, "kept": kept, "sha256": digest.hexdigest()}


def _clip(path: Path, preparation: Preparation) -> np.ndarray | None:
    try:
        return _prepared(audio.resample(*audio.read(path), preparation.rate), path, preparation)
    except AudioError as error:
        if preparation.corrupt == "refuse":
            raise DataError(f"{error}; --data.corrupt skip leaves such files out") from None
        print(f"skipped: {error}", file=sys.stderr)
        return None


def _prepared(samples: np.ndarray, path: Path, preparation: Preparation) -> np.ndarray:
    if preparation.trim is not None:
        import librosa

        samples = librosa.effects.trim(samples, top_db=preparation.trim)[0]
    peak = float(np.abs(samples).max(initial=0))
    if preparation.trim is not None and not peak:
        raise AudioError(f"{path} holds nothing but silence")
    if preparation.normalize == "peak" and peak:
        samples = samples * (0.95 / peak)
    elif preparation.normalize == "rms" and peak:
        samples = samples * min(0.1 / float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))), 1 / peak)
    return samples.astype(np.float32)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change. Raises DataError when there is no such file."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return state.st_size, state.st_mtime_ns
