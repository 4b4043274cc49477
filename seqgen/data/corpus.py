"""Where a data module's data comes from: a file of the user's, or a corpus that knows how to make itself."""

import csv
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from seqgen.media.files import DataError

CLIPS = "clips.csv"
"""The table in a folder of sounds; that it is there says that the folder is whole."""


class Corpus(ABC):
    """A corpus that can make itself, such as the recipes' `prepare.py` define."""

    licence: str
    """Source and licence of the data, in a sentence; it travels into every checkpoint trained on it."""

    @abstractmethod
    def prepare(self) -> Path:
        """The path of the corpus, made in the cache when it is not there: one text file, or a folder of sounds.

        A folder of sounds holds the table that `write_clips` writes.
        """


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_file(path: str | Path, known: str | None, wanted: str, otherwise: str) -> Path:
    """A file that the user has already, with the SHA-256 `known`; DataError says what is wanted and what else to do."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"no file {str(path)!r}; expected {wanted}")
    if known is not None and (got := sha256(path)) != known:
        raise DataError(f"{path} has the SHA-256 {got}, expected {known}{otherwise}")
    return path


def write_clips(folder: Path, clips: Iterable[dict[str, str]]) -> None:
    """Write `clips.csv` (UTF-8) into a folder of sounds, whole or not at all, its rows sorted by `file`.

    A clip has the column `file`, a path relative to the folder, then its labels, then, where they are known, `text`
    (what is said) and `split` (train, val or test). Raises DataError for no clips, and for a file that is not there.
    """
    rows = sorted(clips, key=lambda clip: clip["file"])
    if not rows:
        raise DataError(f"{folder} holds no clips")
    if missing := next((row["file"] for row in rows if not (folder / row["file"]).is_file()), None):
        raise DataError(f"{folder} holds no file {missing!r}")
    with TemporaryDirectory(dir=folder, prefix=".") as scratch:
        part = Path(scratch) / CLIPS
        with part.open("w", encoding="utf-8", newline="") as sink:
            table = csv.DictWriter(sink, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        os.replace(part, folder / CLIPS)
