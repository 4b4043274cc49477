"""Lines: a split that does not leak, an order that can be taken up again, and tables that are refused with a place."""

import random
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgen.codecs import Chars, SentencePiece
from seqgen.data.lines import Lines
from seqgen.data.loader import Loader
from seqgen.media.files import DataError
from seqgen.model import Batch

random.seed(0)
WORDS = ["".join(random.choices("abcdefgh", k=random.randint(2, 7))) for _ in range(300)]
NAMES = sorted({word.capitalize() for word in WORDS})


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


def flat(groups: Iterable[list[str]]) -> list[str]:
    return list(chain.from_iterable(groups))


def items(data: Lines, batch: Batch) -> list[str]:
    ended = batch.x.gather(1, batch.mask.sum(1, keepdim=True) - 1)
    assert (ended == data.codec.end).all()  # every item ends, and the end is scored
    return [data.codec.decode(x[m]) for x, m in zip(batch.x, batch.mask, strict=True)]


def epoch(data: Lines, loader: Loader) -> list[list[str]]:
    return [items(data, batch) for batch in loader]


def parts(data: Lines) -> dict[str, list[str]]:
    """The items of every part, in the file's order."""
    texts = [item.text for item in data._items()]
    return {name: [texts[place] for place in places] for name, places in data.parts.items()}


def test_the_split_depends_on_the_seed_alone(file: Any) -> None:
    path = file("\n".join(NAMES))
    split = parts(ready(Lines(path, val=0.1, test=30)))
    val = round(0.1 * len(NAMES))
    assert [len(split[name]) for name in ("val", "calibration", "test")] == [val - val // 2, val // 2, 30]
    assert sorted(flat(split.values())) == NAMES  # each name in one part
    assert parts(ready(Lines(path, val=0.1, test=30, batch_size=7))) == split
    assert parts(ready(Lines(path, val=0.1, test=30, seed=1))) != split


@pytest.mark.parametrize("distinct", [True, False])
def test_the_first_half_of_val_calibrates(file: Any, distinct: bool) -> None:
    """In hash order: with twice the share, the calibration part is all that val was before it was halved."""
    path = file("\n".join(NAMES))
    one, two = (ready(Lines(path, val=val, test=9, distinct=distinct)).parts for val in (21, 42))
    assert len(one["calibration"]) == 10
    assert set(two["calibration"]) == set(one["calibration"]) | set(one["val"])
    assert not set(one["calibration"]) & set(one["val"])


def test_equal_texts_stay_together_if_distinct(file: Any) -> None:
    path = file("\n".join(NAMES * 3))
    found = parts(ready(Lines(path, val=0.2, test=0.2)))
    split = {name: set(texts) for name, texts in found.items()}
    assert sum(map(len, split.values())) == len(NAMES)
    assert all(len(texts) == 3 * len(split[name]) for name, texts in found.items())
    held_out = round(0.2 * len(NAMES))
    assert len(split["val"]) + len(split["calibration"]) == len(split["test"]) == held_out
    assert len(split["calibration"]) == held_out // 2
    split = parts(ready(Lines(path, val=100, test=100, distinct=False)))
    assert set(split["train"]) & set(split["val"])
    assert [len(split[name]) for name in ("val", "calibration", "test")] == [50, 50, 100]


def test_held_out_items_come_once(file: Any) -> None:
    data = ready(Lines(file("\n".join(NAMES * 4)), val=0.3, test=0.3, distinct=False, batch_size=8))
    for part in ("val", "calibration", "test"):
        loader = data.val_dataloader() if part == "val" else data.held_out(part)
        for _ in range(2):
            assert sorted(flat(epoch(data, loader))) == sorted(parts(data)[part])


def test_the_order_is_a_function_of_seed_and_epoch(file: Any) -> None:
    def order(seed: int) -> list[list[list[str]]]:
        data = ready(Lines(path, batch_size=16, seed=seed, val=20, test=20))
        loader = data.train_dataloader()
        torch.manual_seed(seed + 100)  # which has no say
        return [epoch(data, loader) for _ in range(3)]

    path = file("\n".join(NAMES))
    assert order(0) == order(0)
    assert order(0) != order(1)
    first, second, third = order(0)
    assert first != second != third != first
    assert {len(batch) for batch in first} == {15, 16}  # as even as can be, and none left over
    for one in (first, second, third):  # every item once in an epoch
        names = flat(one)
        assert len(set(names)) == len(names) == len(NAMES) - 40
        assert set(names) <= set(NAMES)


def test_masks_are_prefixes_and_padding_is_little(file: Any) -> None:
    data = ready(Lines(file("\n".join(NAMES)), batch_size=16))
    masks = [batch.mask for batch in data.train_dataloader()]
    assert all((mask[:, :-1] >= mask[:, 1:]).all() and mask[:, -1].any() for mask in masks)
    assert sum(mask.sum() for mask in masks) > 0.8 * sum(mask.numel() for mask in masks)


@pytest.mark.parametrize("taken", [0, 1, 5, "all"])
def test_a_loader_goes_on_where_it_was(file: Any, taken: int | str) -> None:
    data = ready(Lines(file("\n".join(NAMES)), batch_size=16))
    loader, again = data.train_dataloader(), data.train_dataloader()
    list(loader)  # an epoch gone
    count = len(loader) if taken == "all" else taken
    batches = iter(loader)
    for _ in range(count):
        next(batches)
    again.load_state_dict(loader.state_dict())
    rest = [items(data, batch) for batch in batches]
    expected = rest + epoch(data, loader) if count < len(loader) else epoch(data, loader)
    assert (epoch(data, again) + epoch(data, again))[: len(expected)] == expected


def test_a_codec_that_learns_sees_the_training_part_alone(file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    fit = SentencePiece.fit
    monkeypatch.setattr(SentencePiece, "fit", lambda self, texts: fit(self, [seen.append(t) or t for t in texts]))
    data = ready(Lines(file("\n".join(NAMES)), codec=SentencePiece(290, end=True), batch_size=2, val=20, test=20))
    assert sorted("".join(seen).splitlines()) == sorted(parts(data)["train"])


# -- files and tables


def test_lines_end_at_line_ends_alone(file: Any) -> None:
    content = "a\u2028b\x0cc\x85d\r\n\r\n\ne\0\rf"
    data = ready(Lines(file(content), val=1, test=0, batch_size=1))
    found = [name for loader in (data.train_dataloader(), data.val_dataloader()) for name in flat(epoch(data, loader))]
    assert sorted(found) == ["a\u2028b\x0cc\x85d", "e\0", "f"]


@pytest.mark.parametrize("end", ["tsv", "csv"])
def test_labels_and_weights_come_from_columns(file: Any, end: str) -> None:
    rows = [(f"Name{number}", "MFX"[number % 3], number / 4) for number in range(1, 60)]
    table = "".join(f"{sex};{name};{weight};\n" for name, sex, weight in [("name", "sex", "count"), *rows])
    path = file(table.replace(";", "," if end == "csv" else "\t"), f"table.{end}")
    data = ready(Lines(path, column="name", labels=["sex"], weight="count", batch_size=10))
    assert data.labels == {"sex": ["F", "M", "X"]}
    known = {name: (" FMX".index(sex), weight) for name, sex, weight in rows}
    found = 0
    for batch in chain(data.train_dataloader(), *map(data.held_out, ("val", "calibration", "test"))):
        said = zip(batch.context.labels[:, 0].tolist(), batch.weight.tolist(), strict=True)
        assert [known[name] for name in items(data, batch)] == list(said)
        found += len(batch.x)
    assert found == len(rows)


def test_a_csv_may_quote_and_a_tsv_may_not(file: Any) -> None:
    data = ready(Lines(file('text,n\n"a, ""b""\nc",1\nd,2\n', "a.csv"), column="text", val=1, test=0, batch_size=1))
    assert sorted(flat(parts(data).values())) == ['a, "b"\nc', "d"]
    data = ready(Lines(file('text\tn\n"a\t1\nd"\t2\n', "a.tsv"), column="text", val=1, test=0, batch_size=1))
    assert sorted(flat(parts(data).values())) == ['"a', 'd"']


def test_empty_lines_and_items_of_weight_0_are_skipped(file: Any) -> None:
    path = file("n\tw\n\nAnn\t1\n\t7\nEve\t0\n\nBob\t2\n\n", "a.tsv")
    data = ready(Lines(path, column="n", weight="w", val=1, test=0, batch_size=1))
    assert sorted(flat(parts(data).values())) == ["Ann", "Bob"]


BAD_ROWS = [("Ann", "fewer columns"), *((f"Ann\t{w}", f"weight is '{w}', expected") for w in ("x", "nan", "inf", "-1"))]


@pytest.mark.parametrize(("row", "expected"), [*BAD_ROWS, ("Ann\t", "weight is ''"), ("Ann\t1e39", "weight is '1e39'")])
def test_a_bad_row_is_named_with_file_and_line(file: Any, row: str, expected: str) -> None:
    with pytest.raises(DataError, match=rf"table.tsv, line 4: {expected}"):
        ready(Lines(file(f"name\tcount\n\nEve\t1\n{row}\n", "table.tsv"), column="name", weight="count"))


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (
            "name,sex\nAnn,F\n",
            {"column": "nom"},
            r"has no column 'nom'; its header, cut at commas, is \['name', 'sex'\]",
        ),
        ("name,sex\nAnn,F\n", {"column": "name", "labels": ["sexe"]}, "has no column 'sexe'"),
        ("", {"column": "name"}, "has no column 'name'"),
        ("name\n", {"column": "name"}, "holds no items, expected one a line"),
        ("\n\n", {}, "holds no items"),
        ("Ann\nAnn\n", {}, "leaves nothing to validate on; expected more data or a larger share val"),
        ("Ann\nEve\nBob\n", {"val": 1}, "leaves 2 items to train on, fewer than batch_size 128"),
        (f"name\n{'x' * 200_000}\n", {"column": "name"}, "a.csv, line 1: field larger than field limit"),
        ("Ann\n", {"labels": ["sex"]}, "name the texts' column, too"),
        ("Ann\n", {"batch_size": 0}, "batch_size is 0, expected 1 or more"),
        ("Ann\n", {"val": float("nan")}, "share is nan"),
    ],
)
def test_lines_refuse(file: Any, content: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        usable(Lines(file(content, "a.csv"), **options))


def test_an_alphabet_that_is_given_must_do(file: Any) -> None:
    with pytest.raises(ValueError, match=r"'z'.* is not in the alphabet of 3"):
        ready(Lines(file("abc\nabz\n"), codec=Chars("abc", end=True), val=1, test=0, batch_size=1))
