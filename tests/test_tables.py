"""Rows of numbers: the codec and the data module."""

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from seqgen.codec import UnknownSymbol
from seqgen.codecs import Pixels, Table
from seqgen.config import build, describe
from seqgen.data import table
from seqgen.media.files import DataError
from seqgen_recipes.table import folds

FOLDS = Path(__file__).parents[2] / "shared" / "data" / "uci" / "red_wine_nade_folds.hdf5"
CODEC = Table(["a", "b c", "d"], [1.0, -2.0, 0.0], [2.0, 0.5, 1.0])


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def module(path: Path, **arguments: Any) -> table.Table:
    data = table.Table(path=str(path), **arguments)
    data.setup()
    return data


def sizes(data: table.Table) -> list[int]:
    """Rows of train, val, calibration and test, each in one part."""
    places = [data.parts[part].tolist() for part in ("train", "val", "calibration", "test")]
    assert sorted(itertools.chain(*places)) == list(range(len(data.numbers)))
    return [len(part) for part in places]


# -- the codec


def test_a_row_in_every_form() -> None:
    row = {"a": 3.0, "b c": -2.5, "d": 7.0}
    for item in (
        row,
        {"d": "7", "b c": " -2.5", "a": 3},
        [3, -2.5, 7],
        (3, -2.5, 7),
        "3, -2.5,7",
        np.array([3, -2.5, 7]),
    ):
        assert CODEC.encode(item).tolist() == [1, -1, 7]
    assert CODEC.encode(torch.tensor([3, -2.5, 7])).dtype == torch.float32
    assert CODEC.decode(CODEC.encode(row)) == row
    assert CODEC.line(row) == "3,-2.5,7"
    assert CODEC.header == "a,b c,d"
    assert CODEC.names(CODEC.encode(row)) == ["a=3", "b c=-2.5", "d=7"]
    assert list(CODEC.stream([1.0, -1.0, 7.0])) == [row]
    assert CODEC.lengths(torch.zeros(2, 3)).sum(1).tolist() == [1, 1]


def test_decode_undoes_encode() -> None:
    numbers = np.random.default_rng(0).normal(size=(200, 3)) * [100, 0.01, 1e6]
    codec = Table().fit([numbers])
    for row in numbers:
        decoded = np.array(list(codec.decode(codec.encode(row)).values()))
        assert (np.abs(decoded - row) <= 1e-6 * codec.scales * (1 + np.abs((row - codec.means) / codec.scales))).all()


def test_it_learns_mean_and_standard_deviation() -> None:
    numbers = np.random.default_rng(0).normal(3, 2, size=(1000, 2))
    codec = Table(["p", "q"]).fit([numbers[:300], numbers[300:]])
    np.testing.assert_allclose(codec.means, numbers.mean(0))
    np.testing.assert_allclose(codec.scales, numbers.std(0))
    torch.testing.assert_close(codec.log_jacobian, -torch.from_numpy(numbers.std(0)).log())
    assert codec.fit([numbers * 2]) is codec
    assert describe(build(describe(codec), Table)) == describe(codec)
    assert not Table(["p"]).fitted
    assert Table().fit([numbers]).columns == ["x1", "x2"]
    with pytest.raises(ValueError, match="column 'q' is always 4"):
        Table(["p", "q"]).fit([np.array([[1, 4], [2, 4.0]])])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("3,,7", "column 'b c' is missing"),
        ({"a": 1, "d": 2}, "column 'b c' is missing"),
        ([1, math.nan, 2], "column 'b c' is missing"),
        ({"a": 1, "e": 2}, "got column 'e', expected a, b c, d"),
        ("3,x,7", "column 'b c': 'x' is not a number"),
        ([1, 2, math.inf], "column 'd': inf is not a finite number"),
        ("3,4", "got a row of 2 cells, expected 3: a, b c, d"),
    ],
)
def test_what_is_no_row_is_refused_by_column(item: Any, message: str) -> None:
    with pytest.raises(UnknownSymbol, match=message):
        CODEC.encode(item)


def test_other_things_are_refused() -> None:
    with pytest.raises(TypeError, match="got 7 of type int, expected a row"):
        CODEC.encode(7)
    with pytest.raises(ValueError, match="got 2 symbols, expected 3"):
        CODEC.decode(torch.zeros(2))
    for arguments in ((["a", "a"],), (["a"], [1.0]), (["a"], [1.0], [0.0]), (["a"], [1.0, 2.0], [1.0, 1.0])):
        with pytest.raises(ValueError, match="expected"):
            Table(*arguments)


def test_a_part_of_a_row() -> None:
    for item in ({"d": 7, "a": 3}, "3,,7", [3, None, 7], np.array([3, math.nan, 7])):
        places, symbols = CODEC.partial(item)
        assert places.tolist() == [0, 2]
        assert symbols.tolist() == [1, 7]
    assert CODEC.partial({})[0].tolist() == []


# -- files


NUMBERS = np.random.default_rng(1).normal(size=(50, 3)).round(3)


def text(separator: str = ",", header: str | None = "a,b,c") -> str:
    rows = [] if header is None else [header.replace(",", separator)]
    return "\n".join([*rows, *(separator.join(map(str, row)) for row in NUMBERS.tolist())]) + "\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_and_headers(separator: str, tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", text(separator))
    data = module(path)
    assert data.codec.columns == ["a", "b", "c"]
    assert sizes(data) == [40, 3, 2, 5]
    training = NUMBERS[data.parts["train"]]
    np.testing.assert_allclose(data.codec.means, training.mean(0))
    batch = next(iter(data.held_out("test")))
    expected = (NUMBERS[data.parts["test"]] - training.mean(0)) / training.std(0)
    np.testing.assert_allclose(batch.x.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert batch.mask.all()
    plain = module(written(tmp_path / "u.csv", text(separator, None)))
    assert plain.codec.columns == ["x1", "x2", "x3"]
    assert sum(map(len, plain.parts.values())) == 50


def test_chosen_columns_labels_and_split(tmp_path: Path) -> None:
    rows = ["a,b,kind,split", "1,2,x,train", "2,3,y,train", "3,5,,train", "4,9,x,val", "5,1,y,test"]
    data = module(written(tmp_path / "t.csv", "\n".join(rows)), columns=["b", "a"], labels=["kind"])
    assert data.codec.columns == ["b", "a"]
    assert data.labels == {"kind": ["x", "y"]}
    assert {part: places.tolist() for part, places in data.parts.items()} == {
        "train": [0, 1, 2],
        "val": [3],
        "calibration": [],  # half of one row is none
        "test": [4],
    }
    assert data.codec.decode(next(iter(data.val_dataloader())).x[0]) == {"b": pytest.approx(9), "a": pytest.approx(4)}
    assert data.label_numbers.tolist() == [[1], [2], [0], [1], [2]]
    assert next(iter(data.held_out("test"))).context.labels.tolist() == [[2]]
    assert module(tmp_path / "t.csv", labels=["kind"]).codec.columns == ["a", "b"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,b", "1,2", "3,"], "line 3, column 'b': missing, expected a number"),
        (["a,b", "1,2", "?,4"], r"line 3, column 'a': '\?' is not a number"),
        (["a,b", "1,2", "nan,4"], "line 3, column 'a': missing"),
        (["a,b", "1,2", "1_000,4"], "line 3, column 'a': '1_000' is not a number"),
        (["NA,2", "1,2"], "line 1, column 'x1': 'NA' is not a number"),
        (["1.0x,2", "1,2"], r"line 1, column 'x1': '1\.0x' is not a number"),
        ([",2", "1,2"], "line 1, column 'x1': missing"),
        (["a,b", "1,2", "1e999,4"], "line 3, column 'a': '1e999' is not a finite number"),
        (["a,b", "1,2", "3"], "line 3: 1 cells, expected 2"),
        (["a,a", "1,2"], "two columns have the same name"),
        (["a,split", "1,2"], "line 2, column 'split': '2', expected train, val, test"),
        (["a,b", "", ""], "holds no rows"),
        ([], "holds no rows"),
    ],
)
def test_bad_cells_are_named_by_line_and_column(rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        module(written(tmp_path / "t.csv", "\n".join(rows)))


def test_other_bad_arguments(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", text())
    for arguments, message in (
        ({"columns": ["a", "z"]}, "no column 'z'; it has a, b, c"),
        ({"labels": ["z"]}, "no column 'z'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"codec": Pixels(1, 1)}, "codec is Pixels, expected one of rows"),
        ({"val": 0.5, "test": 0.5}, "leave nothing of 50"),
    ):
        with pytest.raises(DataError, match=message):
            module(path, **arguments)
    with pytest.raises(DataError, match="no file"):
        module(tmp_path / "absent.csv")


def test_equal_rows_stay_together(tmp_path: Path) -> None:
    rows = text().splitlines()
    data = module(written(tmp_path / "t.csv", "\n".join([*rows, *rows[1:]])), val=0.3, test=0.3)
    for one, other in itertools.combinations(data.parts.values(), 2):
        assert not {tuple(row) for row in data.numbers[one]} & {tuple(row) for row in data.numbers[other]}


def test_batches_are_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", text())

    def epochs(seed: int) -> list[list[float]]:
        loader = module(path, batch_size=7, seed=seed).train_dataloader()
        assert len(loader) == 6
        return [torch.cat([batch.x for batch in loader]).flatten().tolist() for _ in range(2)]

    first, second = epochs(0)
    assert epochs(0) == [first, second]
    assert sorted(first) == sorted(second)
    assert first != second
    loader = module(path, batch_size=7).train_dataloader()
    whole = [batch.x for batch in loader]
    loader.load_state_dict({"epoch": 0, "position": 4})
    assert all(map(torch.equal, [batch.x for batch in loader], whole[4:]))


def test_hdf5_without_h5py_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match="h5py is needed: pip install h5py"):
        module(written(tmp_path / "t.hdf5", ""))


def test_folds_of_an_hdf5_file(tmp_path: Path) -> None:
    """As the authors of RNADE laid them out."""
    parts = np.split(NUMBERS, [10, 20, 30, 40])

    def folds() -> Path:
        with h5py.File(tmp_path / "t.hdf5", "w") as file:
            for fold, shift in (("1", 0), ("2", 5)):
                for place, part in enumerate(parts):
                    name = f"training/{place + 1}" if place < 4 else "tests/1"
                    file[f"folds/{fold}/{name}/data"] = part + shift
        return tmp_path / "t.hdf5"

    data = module(folds(), fold=2)
    assert sizes(data) == [30, 5, 5, 10]
    np.testing.assert_allclose(data.codec.means, NUMBERS[:30].mean(0) + 5)
    with pytest.raises(DataError, match="no fold 3; it has 1, 2"):
        module(tmp_path / "t.hdf5", fold=3)
    with pytest.raises(DataError, match="no names"):
        module(tmp_path / "t.hdf5", labels=["a"])
    parts[1][3, 2] = math.nan
    with pytest.raises(DataError, match="folds/1/training/2/data, row 4, column 3: no finite number"):
        module(folds())
    parts[1] = parts[1][:, :2]
    with pytest.raises(DataError, match="fold 1: expected arrays of rows, all with as many columns"):
        module(folds())


def test_a_file_that_holds_no_folds(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as folds"):
        module(written(tmp_path / "text.hdf5", "1,2"))
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["numbers"] = NUMBERS
    with pytest.raises(DataError, match="cannot be read as folds"):
        module(tmp_path / "other.hdf5")


@pytest.mark.skipif(not FOLDS.is_file(), reason="no real folds here")
def test_the_folds_that_rnade_was_published_with() -> None:
    data = module(FOLDS, fold=2)
    assert sizes(data) == [1272, 84, 84, 159]
    assert data.codec.length == 11


# -- the recipe that runs over folds


def test_one_gaussian_is_fitted_to_training_and_scored_on_the_test_part(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = random.normal(size=(60, 3)) @ random.normal(size=(3, 3)) + [5, 0, -3]
    parts = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    lines = [f"{part},{','.join(map(repr, row.tolist()))}" for part, row in zip(parts, rows, strict=True)]
    data = module(written(tmp_path / "t.csv", "\n".join(["split,a,b,c", *lines])))
    mean, scale = rows[:40].mean(0), rows[:40].std(0)
    z = (rows - mean) / scale
    expected = multivariate_normal(z[:50].mean(0), np.cov(z[:50].T, bias=True)).logpdf(z[50:]).mean()
    assert folds.gaussian(data) == pytest.approx(expected, abs=1e-4)


def test_a_run_over_folds_trains_each_once_and_prints_their_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(1)
    lines = [f"{part},{','.join(map(str, random.normal(size=11)))}" for part in ["train"] * 40 + ["val", "test"] * 10]
    path = written(tmp_path / "t.csv", "\n".join(["split," + ",".join("abcdefghijk"), *lines]))
    few = ["--trainer.max_steps=2", "--trainer.val_check_interval=1"]
    words = ["folds", str(path), "--folds=2", "--orders=3", f"--runs={tmp_path / 'runs'}", *few]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", words)
        folds.main()
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    once, again = printed[:-4], printed[-4:]
    assert [line[0] for line in again] == ["fold", "1", "2", "mean"]
    assert all(line in once for line in again)  # and the first time, when it trained
    figures = np.array([line[2:] for line in again[1:3]], float)
    assert np.allclose(figures.mean(0), np.array(again[3][1:], float), atol=1e-3)
    assert (figures[:, 1:] < -5).all()


def test_numbers_beyond_those_of_float32_are_refused() -> None:
    codec = Table(["a", "b"], [0.0, 0.0], [1.0, 2.0])
    for row in ("1e39,2", "1,-1e300"):
        with pytest.raises(UnknownSymbol, match="standard deviations from its column's mean"):
            codec.encode(row)


def test_no_rows_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b,split\n1,2,test\n2,1,test\n")
    with pytest.raises(DataError, match="leaves no rows to train on, of 2"):
        module(tmp_path / "x.csv")


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("grün,b\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"expected a table in UTF-8$"):
        module(tmp_path / "x.csv")
