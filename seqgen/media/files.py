"""Files: written whole or not at all, and text read in pieces."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from seqgen.config import SeqgenError

PIECE = 1 << 20
"""Characters that are read at once."""


class DataError(SeqgenError):
    """Data that cannot be used; the message says which file, what was found and what was expected."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, even when the power fails."""
    with atomic(path) as file:
        file.write(content)


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file beside `path` that takes its name, synced, when the block ends without an error."""
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
    """The text of a file, or of an open binary stream, in pieces.

    Line ends become "\\n", a byte order mark at the start is dropped. Raises DataError where the bytes are not text in
    that encoding.
    """
    name = "standard input" if not isinstance(path, Path) else path
    try:
        with _opened(path, encoding) as file:
            piece = file.read(PIECE).removeprefix("\ufeff")
            while piece:
                yield piece
                piece = file.read(PIECE)
    except LookupError:
        raise DataError(f"encoding is {encoding!r}, no text encoding of Python; try utf-8, latin-1 or cp1252") from None
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
    """A text in pieces that remembers its lines: after a piece was taken, `line(position)` is that of a character."""

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
        """The number, from 1, of the line of a character of the last piece, counted from the text's beginning."""
        return self.lines + self.piece[: max(0, position - self.begin)].count("\n")


def lines(pieces: Iterator[str]) -> Iterator[str]:
    """The lines of a text that comes in pieces, without their ends."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        yield from whole
    if rest:
        yield rest
