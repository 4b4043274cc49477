"""Read datasets of images: folders of image files, and arrays in IDX, NPZ, NPY, MATLAB and text files."""

import gzip
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seqgen.codec import UnknownSymbol
from seqgen.codecs.pixels import WHITE, read
from seqgen.config import SeqgenError
from seqgen.media.files import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
ARRAYS = {".npz", ".npy", ".mat", ".amat", ".idx", ".idx3-ubyte"}
PARTS = {"train": "train", "training": "train", "valid": "val", "val": "val", "validation": "val", "test": "test"}
PARTS |= {"t10k": "test"}  # the name of MNIST's test files
LABELS = [("images", "labels"), ("idx3", "idx1"), ("data", "labels"), ("x", "y"), ("X", "Y"), ("X", "y")]
"""Part of the name of an array of images, and what replaces it in the name of the array of their labels."""


class Pictures(NamedTuple):
    """Images, values 0 to 255, uint8 (N, H, W, C), with class and part of each; an empty string if not known."""

    values: np.ndarray
    classes: list[str]
    parts: list[str]


def pictures(path: Path, shape: Sequence[int] | None) -> Pictures:
    """All images of a file or folder.

    Args:
        path: An image, an array file, or a folder of such files.
        shape: Height, width and optionally channels (default 1): images are cropped to these proportions and scaled,
            flat arrays are reshaped; None: the images' own shape, and square images from flat arrays.

    Raises DataError for files that cannot be read, and for images of several sizes.
    """
    found = list(_sources(path, shape))
    if not found or not sum(len(one.values) for one in found):
        raise DataError(f"{path} has no images, expected some of {', '.join(sorted(SUFFIXES | ARRAYS))}")
    if len(sizes := {one.values.shape[1:] for one in found}) > 1:
        raise DataError(f"{path} has images of shapes {sorted(sizes)}, expected one shape, or shape=[height, width]")
    return Pictures(
        np.concatenate([one.values for one in found]),
        [name for one in found for name in one.classes],
        [part for one in found for part in one.parts],
    )


def files(path: Path) -> list[Path]:
    """The image and array files of a folder, without hidden ones; for a file, the file itself."""
    if path.is_file():
        return [path]
    known = SUFFIXES | ARRAYS
    found = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in known or _is_idx(file.name))
    return [file for file in found if file.is_file() and not file.name.startswith(".")]


def _sources(path: Path, shape: Sequence[int] | None) -> Iterator[Pictures]:
    for file in files(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        if file.suffix.lower() in SUFFIXES:
            yield _picture(file, name, shape)
            continue
        arrays = _arrays(file)
        # A matrix next to arrays of 3 or 4 dimensions is not images; on its own, its rows are flattened images.
        minimum = 3 if any(array.ndim > 2 for array in arrays.values()) else 2
        for key, array in arrays.items():
            if array.ndim >= minimum and array.size and not _are_labels(key, arrays):
                values = _values(array, shape, file)
                classes = _classes(key, len(values), arrays, file)
                yield Pictures(values, classes, [part_of(key) or part_of(name)] * len(values))


def part_of(name: str) -> str:
    """The part named in a file name such as binarized_mnist_valid.amat; empty if none."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((PARTS[word] for word in reversed(words) if word in PARTS), "")


# -- image files


def _picture(file: Path, name: str, shape: Sequence[int] | None) -> Pictures:
    try:
        values = read(file, None if shape is None else 3 if list(shape[2:]) == [3] else 1)
    except UnknownSymbol as error:
        raise DataError(str(error)) from None
    if shape is not None and values.shape[:2] != (shape[0], shape[1]):
        values = _resized(values, shape[1], shape[0])
    folder = file.parent.name if "/" in name else ""
    values = values.reshape(1, *values.shape[:2], -1)
    return Pictures(values, ["" if folder in PARTS else folder], [part_of(name.rpartition("/")[0])])


def _resized(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image cropped around its centre to the proportions of the new size, then scaled."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(values), (width, height)))


# -- arrays


def _arrays(file: Path) -> Mapping[str, np.ndarray]:
    try:
        if _is_idx(file.name):
            labels = file.with_name(file.name.replace("images", "labels").replace("idx3", "idx1"))
            found = {"images": _idx(file)} if "labels" not in file.name else {}
            return {**found, "labels": _idx(labels)} if found and labels != file and labels.is_file() else found
        if file.suffix.lower() == ".npz":
            if not zipfile.is_zipfile(file):
                raise SeqgenError("expected an NPZ file, which is a zip archive")
            with np.load(file, allow_pickle=False) as archive:
                return dict(archive)
        if file.suffix.lower() == ".npy":
            return {file.stem: np.load(file, allow_pickle=False)}
        with file.open("rb") as opened:
            matlab = opened.read(6) == b"MATLAB"  # .amat files may be MATLAB or text
        return _matlab(file) if matlab else {file.stem: np.loadtxt(file, ndmin=2)}
    except (OSError, EOFError, ValueError, KeyError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{file} cannot be read: {error}") from None


def _matlab(file: Path) -> dict[str, np.ndarray]:
    import scipy.io

    try:
        found = scipy.io.loadmat(file)
    except Exception as error:  # damaged files raise many types: MatReadError, TypeError, IndexError
        raise DataError(f"{file} cannot be read: {error}") from None
    arrays = {
        name: array for name, array in found.items() if isinstance(array, np.ndarray) and array.dtype.kind in "buif"
    }
    return {name: array.ravel() if 1 in array.shape else array for name, array in arrays.items()}


def _is_idx(name: str) -> bool:
    return re.search(r"(idx\d-ubyte|\.idx)(\.gz)?$", name) is not None


def _idx(file: Path) -> np.ndarray:
    """The array (N, ...) uint8 of an IDX file; its header has the number of dimensions and their sizes."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
        zeros, kind, rank = struct.unpack(">HBB", opened.read(4))
        if zeros or kind != 8:
            raise SeqgenError("expected an IDX file of unsigned bytes")
        shape = struct.unpack(f">{rank}I", opened.read(4 * rank))
        data = opened.read(math.prod(shape) + 1)
    return np.frombuffer(data, np.uint8).reshape(shape)


def _are_labels(key: str, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether an array has a name for labels, in general or for the labels of another array."""
    return any(key == label or key in _label_names(other) for _, label in LABELS for other in arrays if other != key)


def _label_names(key: str) -> set[str]:
    """Possible names of the array of labels for the array of images `key`."""
    return {key.replace(image, label) for image, label in LABELS if image in key} | {f"{key}_labels"}


def _classes(key: str, count: int, arrays: Mapping[str, np.ndarray], file: Path) -> list[str]:
    """The class of each image of the array `key`, from an array of labels; empty strings without one."""
    names = _label_names(key)
    for name in sorted((names | {"labels"}) & set(arrays) - {key}):
        labels = arrays[name].ravel()
        if len(labels) == count:
            return [str(label.item()).removesuffix(".0") for label in labels]
        if name in names or len(arrays) == 2:
            raise DataError(f"{file}: got {len(labels)} labels {name!r}, expected {count}, one per image of {key!r}")
    return [""] * count


def _values(array: np.ndarray, shape: Sequence[int] | None, file: Path) -> np.ndarray:
    """Images, values 0 to 255, uint8 (N, H, W, C)."""
    if array.dtype.kind not in "buif":
        raise DataError(f"{file}: got an array of {array.dtype}, expected real numbers")
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        array = np.moveaxis(array, 1, 3)  # (N, C, H, W), as in PyTorch
    if array.ndim == 4 and array.shape[2] in (1, 3) and array.shape[3] not in (1, 3):
        array = np.moveaxis(array, 3, 0)  # (H, W, C, N), as in MATLAB
    size = _size(array, shape, file)
    if (
        array.ndim == 2
        and array.shape[1] == -(-math.prod(size) // 8)
        and array.dtype == np.uint8
        and math.prod(size) > 1
    ):
        array = np.unpackbits(array, axis=1)[:, : math.prod(size)]  # rows of packed bits
    own = [*array.shape[1:], 1] if array.ndim == 3 else list(array.shape[1:])
    if own not in (size, [math.prod(size)]):
        raise DataError(f"{file}: got images of shape {array.shape[1:]}, expected {tuple(size)}")
    # White is 1 if no value is larger than 1, else 255.
    low, high = array.min(initial=0), array.max(initial=0)
    if not (low >= 0 and high <= WHITE) or (array.dtype.kind == "f" and 1 < high < 2):
        raise DataError(f"{file}: got values from {low} to {high}, expected 0 to {WHITE}, or 0 to 1")
    if high <= 1 or array.dtype.kind == "f":
        array = np.rint(array * np.float32(WHITE if high <= 1 else 1))
    return array.astype(np.uint8).reshape(len(array), *size)


def _size(array: np.ndarray, shape: Sequence[int] | None, file: Path) -> list[int]:
    """Height, width and channels."""
    if shape is not None:
        return [*shape, *([1] if len(shape) == 2 else [])]
    if array.ndim == 4:
        return list(array.shape[1:])
    if array.ndim == 3:
        return [*array.shape[1:], 1]
    side = math.isqrt(array.shape[1])
    if side * side != array.shape[1]:
        raise DataError(
            f"{file}: got rows of {array.shape[1]} values, expected a square number, or shape=[height, width]"
        )
    return [side, side, 1]
