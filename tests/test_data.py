"""Data modules: parts that do not leak, every symbol once, an order that can be taken up again, flat memory."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgen.codecs import SentencePiece
from seqgen.data.lines import Lines
from seqgen.data.loader import Loader
from seqgen.data.text import Text
from seqgen.media.files import DataError
from seqgen.model import Batch

random.seed(0)
WORDS = ["".join(random.choices("abcdefgh", k=random.randint(2, 7))) for _ in range(300)]
PROSE = "".join(f"{' '.join(random.choices(WORDS, k=8))}.\n" for _ in range(400))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "data.txt") -> str:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return write


def usable(data: Any) -> None:
    """Ready, with something to train and to validate on."""
    ready(data).val_dataloader()
    data.train_dataloader()


def ready(data: Any) -> Any:
    data.setup()
    return data


def read_lanes(data: Text, loader: Loader) -> list[str]:
    """What the lanes of one epoch hold, padding left out; the windows of a group must be numbered from 0."""
    lanes: list[str] = []
    texts: list[str] = []
    batches, expected = list(loader), 0
    assert len(batches) == len(loader)
    for batch in batches:
        assert batch.window in (0, expected)
        assert batch.x.shape[1] > 0
        if batch.window == 0:
            lanes, texts = lanes + texts, [""] * len(batch.x)
        rows = zip(texts, batch.x, batch.mask, strict=True)
        texts = [text + data.codec.decode(x[mask]) for text, x, mask in rows]
        expected = batch.window + 1
    return lanes + texts


def joined(data: Text, loader: Loader) -> str:
    """All lanes joined."""
    return "".join(read_lanes(data, loader))


@pytest.mark.parametrize(
    ("batch_size", "length", "lane"), [(1, 50, 400), (7, 13, 100), (50, 50, 2000), (64, 5000, 5000)]
)
def test_lanes_joined_give_the_text_back(file: Any, batch_size: int, length: int, lane: int) -> None:
    data = ready(Text(file(PROSE), batch_size=batch_size, length=length, lane=lane, val=0.1, test=0.2))
    val, test = round(0.1 * len(PROSE)), round(0.2 * len(PROSE))
    train = len(PROSE) - val - test
    chosen = train + val - val // 2  # the second half of val is the calibration part
    loader, orders = data.train_dataloader(), []
    for _ in range(2):
        texts = read_lanes(data, loader)
        left = PROSE[:train]
        while left:  # each lane once: the text is put together from its beginning
            (following,) = (text for text in texts if left.startswith(text))
            left = left[len(following) :]
        assert sorted("".join(texts)) == sorted(PROSE[:train])
        orders.append(texts)
    assert len(orders[0]) < 4 or orders[0] != orders[1]  # every epoch has an order of its own
    assert joined(data, data.val_dataloader()) == PROSE[train:chosen]
    assert joined(data, data.held_out("calibration")) == PROSE[chosen : train + val]
    assert joined(data, data.held_out("test")) == PROSE[train + val :]


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("length", [1, 20])
def test_no_window_is_empty(file: Any, batch_size: int, length: int) -> None:
    for count in (1080, 1081, 1099, 1259):
        data = ready(Text(file(PROSE[:count]), batch_size=batch_size, length=length, lane=180, val=1, test=0))
        assert len(joined(data, data.train_dataloader())) == count - 1


def test_lanes_begin_where_lines_do(file: Any) -> None:
    lines = [f"{number}: {'word ' * (number % 7)}\n" for number in range(400)]
    data = ready(Text(file("".join(lines)), batch_size=5, length=20, lane=300, val=0.1, test=0))
    texts = read_lanes(data, data.train_dataloader())
    assert len(texts) > 20
    assert all(text in "".join(lines) and text.split("\n")[0] + "\n" in lines for text in texts)
    assert max(map(len, texts)) <= 300 * 9 / 8
    unbroken = ready(Text(file("word " * 2000), batch_size=5, length=20, lane=300, val=0.1, test=0))
    assert {len(text) for text in read_lanes(unbroken, unbroken.train_dataloader())} == {300}


def test_a_mask_covers_the_tail_and_nothing_else(file: Any) -> None:
    data = ready(Text(file(PROSE[:1000]), batch_size=7, length=10, val=13, test=0))
    batches = list(data.train_dataloader())
    assert sum(int(batch.mask.sum()) for batch in batches) == 987
    assert {len(batch.x) for batch in batches} == {7}
    assert {batch.x.shape[1] for batch in batches} <= {9, 10, 11}  # 15 windows of 7 lanes of 141 symbols, about
    assert torch.cat([batch.mask for batch in batches], 1).float().mean() > 0.85
    assert len(data.held_out("test")) == 0
    assert [len(data.parts[part]) for part in ("train", "val", "calibration", "test")] == [987, 7, 6, 0]


def test_held_out_lanes_are_long(file: Any) -> None:
    data = ready(Text(file(PROSE * 10), batch_size=8, val=0.5))
    symbols = len(data.parts["val"])
    assert symbols > 40_000
    assert next(iter(data.val_dataloader())).x.shape[0] == min(8, symbols // 5000)


@pytest.mark.parametrize(
    ("options", "content", "expected"),
    [
        ({}, b"", "is empty, expected text"),
        ({}, b"tiny text", "leaves nothing to validate on; expected more data or a larger share val"),
        ({"val": 1}, b"tiny text", "leaves 8 symbols to train on, fewer than 2 for each of batch_size 50"),
        ({"val": 0}, PROSE, "leaves nothing to validate on"),
        ({"val": 0.5, "test": 0.6}, PROSE, r"held-out shares \[0.5, 0.6\] leave nothing of \d+ to train on"),
        ({"val": 10**9}, PROSE, "leave nothing of"),
        ({"val": -1}, PROSE, "share is -1, expected a fraction below 1 or a whole number"),
        ({"val": 1.5}, PROSE, "share is 1.5, expected"),
        ({"test": float("nan")}, PROSE, "share is nan, expected"),
        ({"test": float("inf")}, PROSE, "share is inf, expected"),
        ({}, "né".encode("latin-1") * 999, "data.txt is not utf-8: .*0xe9.*; say which encoding it has"),
        ({"encoding": "utf-16"}, PROSE, "data.txt is not utf-16"),
        ({"encoding": "utf-99"}, PROSE, "encoding is 'utf-99', expected a text encoding"),
        ({"encoding": "base64"}, PROSE, "encoding is 'base64', expected a text encoding"),
        ({"batch_size": 0}, PROSE, "batch_size is 0, .* expected 1 or more"),
        ({"length": 0}, PROSE, "length 0 and lane 2000, expected 1 or more"),
    ],
)
def test_text_refuses(file: Any, options: dict[str, Any], content: str | bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        usable(Text(file(content), **options))


@pytest.mark.parametrize("cls", [Text, Lines])
def test_what_is_no_file_is_said(tmp_path: Path, cls: Any) -> None:
    for path, expected in (
        (tmp_path, "expected a text file"),
        (tmp_path / "gone", "no file .*gone"),
        (None, "no data"),
    ):
        with pytest.raises(DataError, match=expected):
            ready(cls(path and str(path)))


@pytest.mark.parametrize(
    ("encoding", "content", "text"),
    [
        ("utf-8", b"one\r\ntwo\rthree\n", "one\ntwo\nthree\n"),
        ("utf-8", b"\xef\xbb\xbfone", "one"),
        ("utf-8-sig", b"\xef\xbb\xbfone", "one"),
        ("utf-16", "one\r\nžluť \U0001f40e".encode("utf-16"), "one\nžluť \U0001f40e"),
        ("utf-16-le", "\ufeffone".encode("utf-16-le"), "one"),
        ("latin-1", b"na\xefve\x85", "naïve\x85"),
        ("cp1252", b"\x93na\xefve\x94 \x80", "“naïve” €"),
        ("utf-8", b"a\0b\x1a\x0c\xe2\x80\xa8c", "a\0b\x1a\x0c\u2028c"),
        ("utf-8", b"\n\n\nx\n\n", "\n\n\nx\n\n"),
    ],
)
def test_encodings(file: Any, encoding: str, content: bytes, text: str) -> None:
    data = ready(Text(file(content), batch_size=1, val=1, test=0, encoding=encoding))
    assert joined(data, data.train_dataloader()) + joined(data, data.val_dataloader()) == text


def test_only_an_alphabet_is_learnt_from_held_out_text(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    fit = SentencePiece.fit
    monkeypatch.setattr(SentencePiece, "fit", lambda self, texts: fit(self, [seen.append(t) or t for t in texts]))
    path = file(PROSE + "Ž\n")
    ready(Text(path, codec=SentencePiece(290), batch_size=2, val=20, test=20))
    assert "".join(seen) == PROSE[: len(PROSE) + 2 - 40]
    assert ready(Text(path)).codec.alphabet == sorted({*PROSE, "Ž"})


MEASURE = """
import resource, sys
from itertools import islice
from seqgen.data.lines import Lines
from seqgen.data.text import Text
from seqgen.model import Batch
for path in sys.argv[2:]:
    data = globals()[sys.argv[1]](path)
    data.setup()
    for loader in (data.train_dataloader(), data.val_dataloader()):
        list(islice(loader, 3))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10)
"""


def memory(cls: str, folder: Path, line: str, *counts: int) -> list[int]:
    """The largest resident set, in bytes, of a process after it read files of so many different lines, each in turn."""
    paths = [folder / f"{count}.txt" for count in counts]
    for path, count in zip(paths, counts, strict=True):
        with path.open("w") as sink:
            sink.writelines(f"{number:07}{line}\n" for number in range(count))
    command = [sys.executable, "-c", MEASURE, cls, *map(str, paths)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    for path in paths:
        path.unlink()
    return [int(size) for size in answer.stdout.split()]


def test_memory_does_not_grow_with_a_text(tmp_path: Path) -> None:
    line = "the quick brown fox jumps over the lazy dog " * 24  # about 1 KiB
    small, large = memory("Text", tmp_path, line, 2000, 100_000)
    assert large < small + (32 << 20)


def test_an_item_takes_little_memory(tmp_path: Path) -> None:
    small, large = memory("Lines", tmp_path, "letters", 20_000, 220_000)
    assert large < small + 200_000 * 150


def test_what_is_held_out_is_read_from_its_first_batch_on() -> None:
    """Else two validations of a part that is not read to its end would judge by different items."""
    batches = [Batch(torch.tensor([[number]]), torch.ones(1, 1, dtype=torch.bool)) for number in range(5)]
    for whole, second in ((True, 0), (False, 2)):
        loader = Loader(lambda epoch, position: iter(batches[position:]), 5, whole=whole)
        assert [int(batch.x) for batch, _ in zip(loader, range(2), strict=False)] == [0, 1]
        assert int(next(iter(loader)).x) >= second
        assert (int(next(iter(loader)).x) == 0) == whole


@pytest.mark.parametrize("kind", [Text, Lines])
def test_the_modules_read_what_is_held_out_from_the_first_batch_on(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("\n".join(f"{number:04}" for number in range(4000)))
    data = kind(path=str(tmp_path / "x.txt"), val=0.4, test=0.1)
    data.setup()
    loader = data.val_dataloader()
    first = next(iter(loader)).x
    assert len(loader) > 1
    assert torch.equal(next(iter(loader)).x, first)
