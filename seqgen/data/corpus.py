"""Data sources: a file of the user, or a Corpus that downloads and prepares itself."""

import csv
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from seqgen.media.files import DataError

CLIPS = "clips.csv"
"""Name of the table in a folder of audio clips. It is written last, so a folder that has it is complete."""


class Corpus(ABC):
    """A corpus that downloads and prepares itself; the `prepare.py` of the recipes define some."""

    licence: str
    """Source and licence of the data in one sentence, copied into every checkpoint trained on it."""

    @abstractmethod
    def prepare(self) -> Path:
        """The path of the corpus, a file or a folder in the cache, created if it does not exist.

        A folder of audio clips has the table that `write_clips` writes.
        """


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_file(path: str | Path, expected: str | None, description: str, hint: str) -> Path:
    """The path of a file that the user has already, verified.

    Args:
        path: Where the file should be.
        expected: Its SHA-256; None: not checked.
        description: What the file is, for the error message if it does not exist.
        hint: End of the error message if its SHA-256 differs.

    Raises DataError if it does not exist or its SHA-256 differs.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}; expected {description}")
    if expected is not None and (got := sha256(path)) != expected:
        raise DataError(f"{path} has the SHA-256 {got}, expected {expected}{hint}")
    return path


def write_clips(folder: Path, clips: Iterable[dict[str, str]]) -> None:
    """Write `clips.csv` (UTF-8) atomically into a folder of audio clips, with the rows sorted by `file`.

    The columns are `file` (a path relative to the folder), the labels, and optionally `text` (the transcript) and
    `split` (train, val or test). Raises DataError if there are no clips, and for a file that does not exist.
    """
    rows = sorted(clips, key=lambda clip: clip["file"])
    if not rows:
        raise DataError(f"{folder} has no clips, expected at least one")
    if missing := next((row["file"] for row in rows if not (folder / row["file"]).is_file()), None):
        raise DataError(f"{folder} has no file {missing!r}")
    with TemporaryDirectory(dir=folder, prefix=".") as scratch:
        part = Path(scratch) / CLIPS
        with part.open("w", encoding="utf-8", newline="") as sink:
            table = csv.DictWriter(sink, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        os.replace(part, folder / CLIPS)
