"""Wiki markup, as the authors of Wikipedia typed it."""

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

from seqgen.data.corpus import Corpus, DataError
from seqgen.data.fetch import BLOCK, made, member, wheel

SOURCE = ("gensim==4.4.0", "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8")
DUMP = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
BETWEEN = "\n\n\n"  # two blank lines after each page
# What expat says of a file that ends too early: no element found, unclosed token, partial character, unclosed CDATA.
CUT = (3, 5, 6, 20)

Read = Callable[[int], bytes]


class WikiMarkup(Corpus):
    """The markup of the pages of a MediaWiki dump, one page after the other, two blank lines after each.

    `path` is the dump: XML as Wikipedia exports it, plain, .bz2 or .gz (told by its first bytes), or enwik8, which is
    such a file cut off in the middle. Of a page only the text of its last revision is kept: no title, no metadata.
    Without a `path` it is a piece of the English Wikipedia of May 2016 that gensim tests itself with: 206 pages, 100
    of which only lead to another page. Those are left out unless `redirects`.

    The dump is read as a stream, so memory holds a page at a time. When the file ends in the middle, the complete
    pages before are used and standard error says so. A dump with a document type declaration is refused: the entities
    that one can define may expand without end, and MediaWiki writes none.
    """

    licence = "Wikipedia contributors, CC BY-SA 3.0 (a dump given as path: the licence of that wiki)"

    def __init__(self, path: str | None = None, redirects: bool = False) -> None:
        self.path = None if path is None else Path(path).expanduser().absolute()
        self.redirects = redirects

    def prepare(self) -> Path:
        """The path of the text. Raises DataError for a dump that is not there, no XML, or without a complete page."""
        return made("wikipedia.txt", [self._source(), self.redirects], self._write)

    def _source(self) -> list[str | int]:
        if self.path is None:
            return [*SOURCE, DUMP]
        if not self.path.is_file():
            raise DataError(f"no file {str(self.path)!r}; expected a MediaWiki dump")
        # Size and time instead of a hash: to hash a full dump takes minutes, at every use.
        return [str(self.path), self.path.stat().st_size, self.path.stat().st_mtime_ns]

    def _write(self, sink: TextIO) -> None:
        name, kept = str(self.path or DUMP), 0
        with self._open() as read:
            for page in _pages(read, name):
                if page.text and (self.redirects or not page.redirects):
                    kept += 1
                    sink.write(page.text.strip("\n") + BETWEEN)
        if not kept:
            raise DataError(f"{name} holds no complete page to keep, expected a MediaWiki export")

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
    """What reads from `raw` without its compression; read1, as read would lose the bytes before a cut."""
    start, _ = raw.read(3), raw.seek(0)
    if start == b"BZh":
        return bz2.BZ2File(raw).read1
    return gzip.GzipFile(fileobj=raw).read1 if start[:2] == b"\x1f\x8b" else raw.read


@dataclass
class _Page:
    text: str = ""
    marked: bool = False  # <redirect>, which enwik8 is too old to have

    @property
    def redirects(self) -> bool:
        return self.marked or self.text[:9].upper() == "#REDIRECT"


def _pages(read: Read, name: str) -> Iterator[_Page]:
    """The complete pages of a dump, one after the other."""
    parser = _Parser(name)
    try:
        while block := read(BLOCK):
            yield from parser.feed(block)
        yield from parser.feed(b"", last=True)
    except (expat.ExpatError, EOFError, OSError, zlib.error) as error:
        if not (isinstance(error, EOFError) or getattr(error, "code", None) in CUT):
            raise DataError(f"{name} is no MediaWiki export: {error}") from None
        yield from parser.complete()
        print(f"{name} ends in the middle; its complete pages are used", file=sys.stderr)


class _Parser:
    """Pages out of blocks of XML."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._page = _Page()
        self._done: list[_Page] = []
        self._text: list[str] | None = None  # the pieces of the <text> that is open
        self._expat = expat.ParserCreate()
        self._expat.StartDoctypeDeclHandler = self._refuse
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters

    def feed(self, block: bytes, last: bool = False) -> list[_Page]:
        """The pages that are complete with this block."""
        self._expat.Parse(block, last)
        return self.complete()

    def complete(self) -> list[_Page]:
        """The pages that have become complete since they were asked for."""
        done, self._done = self._done, []
        return done

    def _refuse(self, *_: object) -> None:
        raise DataError(f"{self._name} declares a document type, expected a MediaWiki export, which has none")

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
