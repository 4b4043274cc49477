"""Atomic writing of files, and reading of text in pieces."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

import platformdirs

from seqgen.config import SeqgenError

PIECE = 1 << 20
"""Characters per read."""


class DataError(SeqgenError):
    """Data that cannot be used; the message says which file, what was found and what was expected."""


def cache() -> Path:
    """The cache folder: the environment variable SEQGEN_CACHE, else the platform's cache folder for seqgen."""
    if named := os.environ.get("SEQGEN_CACHE"):
        return Path(named).expanduser().absolute()
    return platformdirs.user_cache_path("seqgen")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file atomically: after an interruption, even a power failure, it is complete or unchanged."""
    with atomic(path) as file:
        file.write(content)


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file in the folder of `path`, synced and renamed to `path` if the block ends without an error."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def read_text(path: Path | BinaryIO, encoding: str = "utf-8") -> Iterator[str]:
    """The text of a file or of an open binary stream, in pieces.

    Line ends become "\\n", and a byte order mark at the start is dropped. Raises DataError for an unknown encoding,
    bytes that are not valid in it, and a file that cannot be read.
    """
    name = "standard input" if not isinstance(path, Path) else path
    try:
        with _opened(path, encoding) as file:
            piece = file.read(PIECE).removeprefix("\ufeff")
            while piece:
                yield piece
                piece = file.read(PIECE)
    except LookupError:
        raise DataError(
            f"encoding is {encoding!r}, expected a text encoding of Python, such as utf-8, latin-1 or cp1252"
        ) from None
    except UnicodeError as error:
        raise DataError(f"{name} is not {encoding}: {error}; say which encoding it has") from None
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from None


@contextmanager
def _opened(path: Path | BinaryIO, encoding: str) -> Iterator[IO[str]]:
    import io

    if isinstance(path, Path):
        with path.open(encoding=encoding) as file:
            yield file
    else:
        text = io.TextIOWrapper(path, encoding=encoding)
        try:
            yield text
        finally:
            text.detach()


class CountedLines:
    """Iterates over a text in pieces and counts lines, so that errors can name the line of a character."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self.pieces = pieces
        self.begin, self.lines, self.piece = 0, 1, ""

    def __iter__(self) -> Iterator[Any]:
        for piece in self.pieces:
            if isinstance(piece, str):  # other pieces have no lines
                self.begin, self.lines = self.begin + len(self.piece), self.lines + self.piece.count("\n")
                self.piece = piece
            yield piece

    def line(self, position: int) -> int:
        """Line number, from 1, of a character in the last piece; `position` counts from the start of the text."""
        return self.lines + self.piece[: max(0, position - self.begin)].count("\n")


def lines(pieces: Iterator[str]) -> Iterator[str]:
    """The lines of a text in pieces, without their line ends."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
    if rest:
        yield rest
