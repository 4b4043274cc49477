"""Raw wiki markup of Wikipedia pages."""

import bz2
import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from xml.parsers import expat

from tqdm import tqdm

from seqgen.data.corpus import Corpus
from seqgen.data.fetch import BLOCK, cached_text, member, wheel
from seqgen.media.files import DataError

SOURCE = ("gensim==4.4.0", "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8")
DUMP = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
SEPARATOR = "\n\n\n"  # two blank lines after each page
# Error codes of expat for a truncated file: no element found, unclosed token, partial character, unclosed CDATA.
TRUNCATED = (3, 5, 6, 20)

Read = Callable[[int], bytes]


class WikiMarkup(Corpus):
    """The markup of the pages of a MediaWiki dump, one after another, with two blank lines after each.

    Only the text of a page's last revision is kept, without title and metadata. The dump is read as a stream, one page
    in memory at a time. If the file is truncated, its complete pages are used, with a message on standard error. A dump
    with a document type declaration raises DataError: MediaWiki writes none, and its entities could expand without
    bound.

    Args:
        path: The dump: XML exported by MediaWiki, plain, bzip2 or gzip (recognised by the first bytes), or enwik8,
            which is a truncated dump. None: test data of gensim, 206 pages of the English Wikipedia of May 2016, 100 of
            them redirects.
        redirects: Whether redirect pages are kept.
    """

    licence = "Wikipedia contributors, CC BY-SA 3.0 (a dump given as path: the licence of that wiki)"

    def __init__(self, path: str | None = None, redirects: bool = False) -> None:
        self.path = None if path is None else Path(path).expanduser().absolute()
        self.redirects = redirects

    def prepare(self) -> Path:
        """The path of the text file. Raises DataError for a missing or invalid dump, or one without a complete page."""
        return cached_text("wikipedia.txt", [self._source(), self.redirects], self._write)

    def _source(self) -> list[str | int]:
        if self.path is None:
            return [*SOURCE, DUMP]
        if not self.path.is_file():
            raise DataError(f"no file {str(self.path)!r}; expected a MediaWiki dump")
        # Size and modification time instead of a hash: hashing a full dump takes minutes.
        return [str(self.path), self.path.stat().st_size, self.path.stat().st_mtime_ns]

    def _write(self, sink: TextIO) -> None:
        name, kept = str(self.path or DUMP), 0
        with self._open() as read:
            for page in _pages(read, name):
                if page.text and (self.redirects or not page.redirects):
                    kept += 1
                    sink.write(page.text.strip("\n") + SEPARATOR)
        if not kept:
            raise DataError(f"{name} has no complete page to keep, expected a MediaWiki export")

    @contextmanager
    def _open(self) -> Iterator[Read]:
        if self.path is None:
            with member(wheel(*SOURCE), DUMP) as packed, bz2.open(packed) as dump:
                yield dump.read1
            return
        size = self.path.stat().st_size
        with self.path.open("rb") as file, tqdm.wrapattr(file, "read", size, desc="Reading", disable=None) as raw:
            yield _reader(raw)


def _reader(raw: Any) -> Read:
    """A function that reads decompressed bytes of `raw`: read1, because read loses the last bytes of a cut file."""
    start, _ = raw.read(3), raw.seek(0)
    if start == b"BZh":
        return bz2.BZ2File(raw).read1
    return gzip.GzipFile(fileobj=raw).read1 if start[:2] == b"\x1f\x8b" else raw.read


@dataclass
class _Page:
    text: str = ""
    marked: bool = False  # has a <redirect> element; enwik8 is older than these

    @property
    def redirects(self) -> bool:
        return self.marked or self.text[:9].upper() == "#REDIRECT"


def _pages(read: Read, name: str) -> Iterator[_Page]:
    """The complete pages of a dump, in order."""
    parser = _Parser(name)
    try:
        while block := read(BLOCK):
            yield from parser.feed(block)
        yield from parser.feed(b"", last=True)
    except (expat.ExpatError, EOFError, OSError, zlib.error) as error:
        if not (isinstance(error, EOFError) or getattr(error, "code", None) in TRUNCATED):
            raise DataError(f"{name} is not a MediaWiki export: {error}") from None
        yield from parser.complete()
        print(f"{name} is truncated; its complete pages are used", file=sys.stderr)


class _Parser:
    """An incremental parser of a dump's XML."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._page = _Page()
        self._done: list[_Page] = []
        self._text: list[str] | None = None  # pieces of the current <text> element
        self._expat = expat.ParserCreate()
        self._expat.StartDoctypeDeclHandler = self._refuse
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters

    def feed(self, block: bytes, last: bool = False) -> list[_Page]:
        """The pages completed by this block of XML."""
        self._expat.Parse(block, last)
        return self.complete()

    def complete(self) -> list[_Page]:
        """The pages completed since the last call."""
        done, self._done = self._done, []
        return done

    def _refuse(self, *_: object) -> None:
        raise DataError(f"{self._name} has a document type declaration, expected a MediaWiki export without one")

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        if element == "page":
            self._page = _Page()
        elif element == "redirect":
            self._page.marked = True
        elif element == "text":
            self._text = []

    def _characters(self, piece: str) -> None:
        if self._text is not None:
            self._text.append(piece)

    def _end(self, element: str) -> None:
        if element == "text" and self._text is not None:
            self._page.text, self._text = "".join(self._text), None
        elif element == "page":
            self._done.append(self._page)
