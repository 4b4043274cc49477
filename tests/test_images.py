"""Pictures: the codec, the files, the data module and the grid."""

import gzip
import io
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from seqgen.codec import UnknownSymbol
from seqgen.codecs import Pixels
from seqgen.data.images import Images
from seqgen.data.pictures import part_of, pictures
from seqgen.media.files import DataError
from seqgen.media.grid import dots, grid, png

RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (30, 4, 5), dtype=np.uint8)
COLOURS = RANDOM.integers(0, 256, (30, 4, 5, 3), dtype=np.uint8)


def module(path: Path, **arguments: Any) -> Images:
    data = Images(path=str(path), **arguments)
    data.setup()
    return data


def sizes(data: Images) -> list[int]:
    """Items of train, val, calibration and test, each in one part."""
    places = [data.parts[part].tolist() for part in ("train", "val", "calibration", "test")]
    assert sorted(itertools.chain(*places)) == list(range(len(data.values)))
    return [len(part) for part in places]


def all_of(data: Images) -> np.ndarray:
    return torch.cat([batch.x for batch in data.everything()]).numpy()


# -- the codec


def test_pixels_go_row_by_row_then_red_green_blue() -> None:
    symbols = Pixels(4, 5, 3).encode(COLOURS[0])
    assert symbols.tolist() == [
        int(COLOURS[0, row, column, channel])
        for row, column, channel in itertools.product(range(4), range(5), range(3))
    ]
    assert (Pixels(4, 5, 3).decode(symbols) == COLOURS[0]).all()


@pytest.mark.parametrize("levels", [2, 3, 16, 200, 255, 256])
def test_decode_undoes_encode_within_the_bound(levels: int) -> None:
    codec = Pixels(16, 16, levels=levels)
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16)
    decoded = codec.decode(codec.encode(picture))
    assert np.abs(decoded.astype(float) - picture).max() <= 127.5 / (levels - 1) + 0.5
    assert torch.equal(codec.encode(decoded), codec.encode(picture))
    assert (codec.decode(codec.encode(decoded)) == decoded).all()
    counts = torch.bincount(codec.encode(picture), minlength=levels)
    assert len(counts) == levels
    assert counts[1:-1].numel() == 0 or counts[1:-1].max() - counts[1:-1].min() <= 1


def test_every_form_of_a_picture(tmp_path: Path) -> None:
    codec, expected = Pixels(4, 5), GREY[0].flatten().tolist()
    Image.fromarray(GREY[0]).save(tmp_path / "one.png")
    forms = (GREY[0], GREY[0][:, :, None], GREY[0].astype(np.int64), GREY[0] / 255, torch.from_numpy(GREY[0]))
    for item in (*forms, tmp_path / "one.png", str(tmp_path / "one.png"), Image.fromarray(GREY[0])):
        assert codec.encode(item).tolist() == expected
    assert codec.encode(GREY[0] > 100).tolist() == [255 * (value > 100) for value in expected]


def test_it_streams_row_by_row() -> None:
    codec = Pixels(4, 5, 3)
    strips = list(codec.stream(codec.encode(COLOURS[0]).tolist()))
    assert [strip.shape for strip in strips] == [(1, 5, 3)] * 4
    assert (np.concatenate(strips) == COLOURS[0]).all()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (GREY[0][:, :4], r"got an image of shape \(4, 4, 1\), expected .* = \(4, 5, 1\)"),
        (COLOURS[0], "expected"),
        (GREY[0][:3], "got a part of an image, expected all 4 rows"),
        (GREY[0].astype(int) - 300, "row 0, column 0, channel 0 is -.*expected black at 0"),
        (GREY[0] / 100, "expected black at 0 and white at 255, or at 1 in floats"),
        (np.full((4, 5), np.nan), "is nan"),
    ],
)
def test_other_pictures_are_refused(item: Any, message: str) -> None:
    with pytest.raises(UnknownSymbol, match=message):
        Pixels(4, 5).encode(item)


def test_other_things_are_refused(tmp_path: Path) -> None:
    for item in (7, None, np.array([["a"]])):
        with pytest.raises(TypeError, match="expected an image"):
            Pixels(1, 1).encode(item)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(UnknownSymbol, match=r"text\.png cannot be read as an image"):
        Pixels(1, 1).encode(tmp_path / "text.png")
    for arguments in ((0, 1), (1, 1.5), (1, 1, 2), (1, 1, 1, 1), (1, 1, 1, 257), (True, 1)):
        with pytest.raises(ValueError, match="expected"):
            Pixels(*arguments)


# -- files


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_with_their_labels(packed: bool, tmp_path: Path) -> None:
    digits = np.arange(30) % 10
    for name, array in (("images-idx3", GREY), ("labels-idx1", digits)):
        for part, rows in (("train", slice(0, 20)), ("t10k", slice(20, 30))):
            data = idx(array[rows])
            path = tmp_path / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            path.write_bytes(gzip.compress(data) if packed else data)
    data = module(tmp_path, label="digit", val=5)
    assert sizes(data) == [15, 3, 2, 10]
    assert data.labels == {"digit": list("0123456789")}
    assert sorted(map(tuple, all_of(data))) == sorted(map(tuple, GREY.reshape(30, -1)))
    batch = next(iter(data.held_out("test")))
    assert (batch.x.numpy() == GREY[20:].reshape(10, -1)).all()
    assert (batch.context.labels.flatten().numpy() == digits[20:] + 1).all()
    one = module(next(tmp_path.glob("train-images*")), val=0)
    assert sizes(one) == [20, 0, 0, 0]


def test_npz_arrays_of_every_shape(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "colours.npz", x_train=COLOURS[:20], y_train=np.arange(20) % 3, x_test=COLOURS[20:], y_test=[1] * 10
    )
    data = module(tmp_path / "colours.npz", label="kind", val=0)
    assert (data.codec.height, data.codec.width, data.codec.channels) == (4, 5, 3)
    assert sizes(data) == [20, 0, 0, 10]
    assert data.labels == {"kind": ["0", "1", "2"]}
    np.savez(tmp_path / "flat.npz", x=GREY.reshape(30, -1), y=np.zeros(30))
    assert (all_of(module(tmp_path / "flat.npz", shape=[4, 5])) == GREY.reshape(30, -1)).all()
    with pytest.raises(DataError, match=r"rows of 20 values, expected a square number, or shape=\[height, width\]"):
        module(tmp_path / "flat.npz")


def test_packed_bits_and_parts_named_by_arrays(tmp_path: Path) -> None:
    bits = GREY > 127
    flat = bits.reshape(30, -1)
    rows = {"train": flat[:20], "valid": flat[20:25], "test": flat[25:]}
    np.savez(tmp_path / "bits.npz", **{part: np.packbits(array, 1) for part, array in rows.items()})
    data = module(tmp_path / "bits.npz", shape=[4, 5], levels=2)
    assert sizes(data) == [20, 3, 2, 5]
    for part, places in data.parts.items():
        got = torch.cat([batch.x for batch in data.held_out(part)])
        assert (got.numpy() == flat[places]).all()
        of = rows["valid" if part in ("val", "calibration") else part]
        assert set(map(tuple, got.tolist())) <= set(map(tuple, of.astype(int).tolist()))
    assert "binary as they are" in data.report


def test_text_and_matlab_files_named_by_part(tmp_path: Path) -> None:
    """Larochelle's .amat is text; what goes by that name may be MATLAB's format."""
    flat = (GREY[:, :4, :4] > 127).reshape(30, -1)
    np.savetxt(tmp_path / "binarized_mnist_train.amat", flat[:20], fmt="%d")
    np.savetxt(tmp_path / "binarized_mnist_valid.amat", flat[20:25], fmt="%d")
    scipy.io.savemat(tmp_path / "m.mat", {"X": flat[25:].astype(np.uint8)})
    (tmp_path / "m.mat").rename(tmp_path / "binarized_mnist_test.amat")
    data = module(tmp_path, levels=2)
    assert sizes(data) == [20, 3, 2, 5]
    assert sorted(map(tuple, all_of(data))) == sorted(map(tuple, flat))


def test_matlab_splits_labels_and_columns(tmp_path: Path) -> None:
    """As Caltech-101 Silhouettes has them: flattened column by column."""
    flat = (GREY[:, :4, :4] > 127).transpose(0, 2, 1).reshape(30, -1).astype(np.uint8)
    arrays = {"train_data": flat[:20], "val_data": flat[20:25], "test_data": flat[25:]}
    labels = {
        "train_labels": np.arange(20)[:, None] % 2 + 1,
        "val_labels": np.ones((5, 1)),
        "test_labels": np.ones((5, 1)),
    }
    scipy.io.savemat(tmp_path / "silhouettes.mat", {**arrays, **labels})
    data = module(tmp_path / "silhouettes.mat", levels=2, label="kind", transposed=True)
    assert sizes(data) == [20, 3, 2, 5]
    assert data.labels == {"kind": ["1", "2"]}
    expected = (GREY[25:, :4, :4] > 127).reshape(5, -1)
    assert (next(iter(data.held_out("test"))).x.numpy() == expected).all()


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for place, picture in enumerate(COLOURS[:12]):
        folder = tmp_path / ("test" if place % 3 == 0 else "train") / ("cat" if place % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place}.png")
    data = module(tmp_path, label="animal", val=2)
    assert sizes(data) == [6, 1, 1, 4]
    assert "6 pictures of 4 x 5 x 3 to train on, 1 to validate, 1 to calibrate and 4 to test on" in data.report
    assert data.labels == {"animal": ["cat", "dog"]}
    assert sorted(map(tuple, all_of(data))) == sorted(map(tuple, COLOURS[:12].reshape(12, -1)))
    small = module(tmp_path, shape=[2, 2, 1], val=0)
    assert (small.codec.height, small.codec.width, small.codec.channels) == (2, 2, 1)
    Image.fromarray(GREY[0].repeat(2, 0)).save(tmp_path / "train" / "other.png")
    with pytest.raises(DataError, match=r"has images of shapes \[\(4, 5, 3\), \(8, 5, 1\)\], expected one shape"):
        module(tmp_path)


def test_files_that_are_none_of_its_pictures_are_left_alone(tmp_path: Path) -> None:
    for place, picture in enumerate(GREY):
        Image.fromarray(picture).save(tmp_path / f"{place}.png")
    (tmp_path / "._1.png").write_bytes(b"what macOS leaves beside 1.png")
    (tmp_path / "notes.txt.gz").write_bytes(gzip.compress(b"notes"))
    assert len(all_of(module(tmp_path))) == 30


def test_arrays_beside_those_of_pictures(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=GREY, y=np.arange(30) % 2, mean=GREY.mean(0), weights=np.ones(30))
    assert (all_of(module(tmp_path / "x.npz", label="kind")).reshape(GREY.shape) == GREY).all()


def test_pictures_may_come_last(tmp_path: Path) -> None:
    """As in the .mat files of Street View House Numbers."""
    scipy.io.savemat(
        tmp_path / "test_32x32.mat", {"X": COLOURS.transpose(1, 2, 3, 0), "y": np.arange(30)[:, None] % 10}
    )
    found = pictures(tmp_path / "test_32x32.mat", None)
    assert (found.values == COLOURS).all()
    assert found.classes == [str(place % 10) for place in range(30)]


def test_parts_are_read_from_whole_words() -> None:
    names = {
        "binarized_mnist_valid.amat": "val",
        "trainer/x.png": "",
        "t10k-images": "test",
        "x_train": "train",
        "x": "",
    }
    assert {name: part_of(name) for name in names} == names


def test_bad_files_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "broken.npz").write_bytes(b"PK no archive")
    (tmp_path / "pickled.npz").write_bytes(b"\x80\x04")
    (tmp_path / "bad-idx3-ubyte").write_bytes(idx(GREY)[:100])
    (tmp_path / "text.amat").write_text("0 1 x\n")
    (tmp_path / "broken.png").write_bytes(png(GREY[0])[:40])
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.savez(tmp_path / "range.npz", x=GREY.astype(int) + 100)
    np.savez(tmp_path / "labels.npz", x=GREY, y=np.zeros(7))
    np.savez(tmp_path / "channels.npz", x=np.zeros((3, 4, 5, 2), np.uint8))
    for name in ("broken.npz", "pickled.npz", "bad-idx3-ubyte", "text.amat", "objects.npz"):
        with pytest.raises(DataError, match="cannot be read"):
            module(tmp_path / name)
    for name, message in (
        ("empty", "has no images"),
        ("absent", "no file or folder"),
        ("broken.png", "cannot be read as an image"),
        ("range.npz", "values from 0 to 3.., expected 0 to 255"),
        ("labels.npz", "got 7 labels 'y', expected 30, one per image of 'x'"),
        ("channels.npz", "pictures of 2 channels"),
    ):
        with pytest.raises(DataError, match=message):
            module(tmp_path / name)


def test_arguments_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=GREY)
    for arguments in (
        {"batch_size": 0},
        {"levels": 1},
        {"binarize": "epoch"},
        {"mutation": 1.5},
        {"shape": [4]},
        {"shape": [4, 5, 2]},
    ):
        with pytest.raises(DataError, match="expected"):
            module(tmp_path / "x.npz", **arguments)
    with pytest.raises(DataError, match="no data"):
        Images().setup()
    with pytest.raises(DataError, match=r"images of shape \(4, 5\), expected \(5, 5, 1\)"):
        pictures(tmp_path / "x.npz", [5, 5])


# -- binarization


def test_fixed_binarization_is_drawn_once(tmp_path: Path) -> None:
    """With the grey value as the probability; the same in every epoch, whatever the batches."""
    np.savez(tmp_path / "x.npz", x=np.tile(np.linspace(0, 255, 16).astype(np.uint8).reshape(4, 4), (2000, 1, 1)))
    data = module(tmp_path / "x.npz", levels=2, binarize="fixed", val=0, test=0)
    loader = data.train_dataloader()
    first, second = (torch.cat([batch.x for batch in loader]) for _ in range(2))
    assert sorted(map(tuple, first.tolist())) == sorted(map(tuple, second.tolist()))
    assert (first.double().mean(0) - torch.linspace(0, 1, 16)).abs().max() < 0.05
    assert "once and for all" in data.report
    assert (all_of(module(tmp_path / "x.npz", levels=2, binarize="fixed", batch_size=7)) == all_of(data)).all()


def test_binarization_anew_for_every_epoch(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train=np.full((50, 4, 4), 128, np.uint8), test=np.full((50, 4, 4), 128, np.uint8))

    def data() -> Images:
        return module(tmp_path / "x.npz", levels=2, binarize="epoch", val=0.2)

    loader = data().train_dataloader()
    first, second = (torch.cat([batch.x for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat([batch.x for batch in data().train_dataloader()]), first)
    again = data()
    held_out = [torch.cat([batch.x for batch in again.held_out("test")]) for _ in range(2)]
    assert torch.equal(*held_out)
    assert "anew for every epoch" in again.report


@pytest.mark.parametrize("how", [None, "fixed", "epoch"])
def test_what_is_binary_stays(how: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=GREY > 127)
    data = module(tmp_path / "x.npz", levels=2, binarize=how, val=0, test=0)
    drawn = torch.cat([batch.x for batch in data.train_dataloader()]).tolist()
    assert sorted(drawn) == sorted((GREY > 127).reshape(30, -1).astype(int).tolist())
    assert data.report.endswith("binary as they are")


def test_mutation_draws_a_share_of_the_pixels_anew(tmp_path: Path) -> None:
    """Uniformly from all levels; anew for every epoch, and once, whatever the batches, for what is held out."""
    np.savez(tmp_path / "x.npz", train=np.zeros((200, 20, 20), np.uint8), test=np.zeros((50, 20, 20), np.uint8))
    data = module(tmp_path / "x.npz", levels=5, mutation=0.3, val=0)
    loader = data.train_dataloader()
    first, second = (torch.cat([batch.x for batch in loader]) for _ in range(2))
    share = torch.bincount(first.flatten(), minlength=5) / first.numel()
    assert (share - torch.tensor([0.76, 0.06, 0.06, 0.06, 0.06])).abs().max() < 0.005
    assert not torch.equal(first, second)
    again = module(tmp_path / "x.npz", levels=5, mutation=0.3, val=0)
    assert torch.equal(torch.cat([batch.x for batch in again.train_dataloader()]), first)
    held_out = data.symbols(data.parts["test"], None)
    assert torch.equal(data.symbols(data.parts["test"][7:9], None), held_out[7:9])
    assert 0.2 < (held_out > 0).float().mean() < 0.28
    assert len(set(map(tuple, held_out.tolist()))) == 50
    assert "30% of the pixels drawn at random" in data.report
    assert data.plan["mutation"] == 0.3


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_quantization(levels: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=GREY)
    data = module(tmp_path / "x.npz", levels=levels)
    assert data.symbols_known == levels
    assert (np.sort(all_of(data), 0) == np.sort(np.rint(GREY.reshape(30, -1) / 255 * (levels - 1)), 0)).all()
    assert f"quantized to {levels} levels" in data.report


# -- the grid


def test_pictures_as_braille() -> None:
    """Dots 1 2 3 7 go down on the left, 4 5 6 8 on the right; what lacks at the edges is dark."""
    picture = np.zeros((5, 3), np.uint8)
    picture[0, 0] = picture[3, 1] = picture[4, 2] = 255
    assert dots([picture, np.full((8, 2, 3), 200, np.uint8)]) == "\u2881\u2800 \u28ff\n\u2800\u2801 \u28ff"


def test_a_grid_shows_all_pictures() -> None:
    whole = grid(list(GREY[:5]))
    assert whole.shape == (2 * 4 + 2, 3 * 5 + 4)
    assert (whole[6:, 7:12] == GREY[4]).all()
    assert grid(list(COLOURS[:5]), columns=5).shape == (4, 5 * 5 + 8, 3)
    decoded = np.asarray(Image.open(io.BytesIO(png(whole, 3))))
    assert (decoded[::3, ::3] == whole).all()
    with pytest.raises(ValueError, match="got no images"):
        grid([])


def test_pictures_of_sixteen_bits_and_of_floats_are_not_clipped(tmp_path: Path) -> None:
    """Pillow's own conversion makes white of all that is above 255, and black of floats."""
    grey = np.array([[0, 100, 255], [7, 128, 200]], np.uint8)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b.tif")
    Image.fromarray(grey.astype(np.float32) / 255).save(tmp_path / "c.tif")
    found = pictures(tmp_path, None).values
    assert found.shape == (3, 2, 3, 1)
    assert (found[..., 0] == grey).all()
    codec = Pixels(2, 3)
    assert all(codec.encode(tmp_path / name).tolist() == grey.ravel().tolist() for name in ("a.png", "b.tif", "c.tif"))
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "c.tif")
    with pytest.raises(DataError, match=r"c.tif cannot be read as an image: got values from 0.0 to 255.0"):
        pictures(tmp_path, None)


def test_transparent_is_white_grey_is_grey_and_pictures_stand_upright(tmp_path: Path) -> None:
    drawn = np.zeros((2, 3, 4), np.uint8)
    drawn[0, 1, 3] = 255  # black ink on nothing
    Image.fromarray(drawn).save(tmp_path / "a.png")
    found = pictures(tmp_path, None).values
    assert found[0, :, :, 0].tolist() == [[255, 0, 255], [255, 255, 255]]
    assert found.shape[3] == 1
    Image.fromarray(np.array([[0, 200]], np.uint8)).convert("P").save(tmp_path / "a.png")
    assert pictures(tmp_path, None).values.tolist() == [[[[0], [200]]]]
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees
    (tmp_path / "a.png").unlink()
    Image.fromarray(np.full((4, 8), 90, np.uint8)).save(tmp_path / "b.jpg", exif=turned)
    assert pictures(tmp_path, None).values.shape == (1, 8, 4, 1)
    Image.fromarray(np.full((4, 8, 3), 90, np.uint8)).save(tmp_path / "b.jpg")
    assert pictures(tmp_path, [4, 8]).values.shape == (1, 4, 8, 1)
    assert pictures(tmp_path, [2, 2, 3]).values.shape == (1, 2, 2, 3)


@pytest.mark.parametrize(
    ("array", "shape", "message"),
    [
        (np.zeros((5, 8, 8), np.uint8), [16, 4], r"images of shape \(8, 8\), expected \(16, 4, 1\)"),
        (np.zeros((5, 8, 8, 3), np.uint8), [8, 24], r"images of shape \(8, 8, 3\), expected \(8, 24, 1\)"),
        (np.array([[0.2, 1.0001]]), [1, 2], "values from 0.0 to 1.0001, expected 0 to 255, or 0 to 1"),
        (np.ones((2, 4), np.complex64), None, "an array of complex64, expected real numbers"),
    ],
)
def test_arrays_are_not_forced_into_a_shape(tmp_path: Path, array: Any, shape: Any, message: str) -> None:
    np.savez(tmp_path / "x.npz", x=array)
    with pytest.raises(DataError, match=message):
        pictures(tmp_path / "x.npz", shape)


def test_channels_may_come_first_and_floats_are_rounded(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3)).astype(np.uint8)
    np.save(tmp_path / "x.npy", values.transpose(0, 3, 1, 2))
    assert (pictures(tmp_path / "x.npy", None).values == values).all()
    np.savez(tmp_path / "x.npz", np.array([[127.9, 254.9999, 3.7, 0]]))
    assert pictures(tmp_path / "x.npz", None).values.ravel().tolist() == [128, 255, 4, 0]


@pytest.mark.parametrize("name", ["array", "grey", "binary", "x", "my_digits"])
def test_arrays_of_any_name_are_pictures(tmp_path: Path, name: str) -> None:
    values = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    np.savez(tmp_path / "a.NPZ", **{name: values})
    (tmp_path / "a.NPZ.npz").rename(tmp_path / "a.NPZ")
    assert (pictures(tmp_path / "a.NPZ", None).values[..., 0] == values).all()


def test_labels_of_another_number_are_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((5, 2, 2), np.uint8), labels=np.zeros(4))
    with pytest.raises(DataError, match="got 4 labels 'labels', expected 5, one per image of 'images'"):
        pictures(tmp_path / "a.npz", None)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"what is this", "expected an NPZ file, which is a zip archive"),
        ("a.mat", b"MATLAB 5.0 and no more", "cannot be read"),
        ("a.npy", b"what is this", "cannot be read"),
    ],
)
def test_damaged_arrays(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        pictures(tmp_path / name, None)


def test_an_archive_with_a_damaged_byte(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((50, 8, 8), np.uint8))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a.npz cannot be read: Bad CRC-32"):
        pictures(tmp_path / "a.npz", None)


def test_grey_pictures_are_scored_as_they_were_drawn_in_training() -> None:
    """Rounded, they would be likelier than what the model was trained on."""
    codec = Pixels(20, 20, levels=2, drawn=True)
    grey = np.full((20, 20), 51, np.uint8)
    drawn = codec.encode(grey)
    assert 40 < int(drawn.sum()) < 130  # a fifth of 400
    assert torch.equal(drawn, codec.encode(grey))
    assert not torch.equal(drawn, codec.encode(np.full((20, 20), 52, np.uint8)))
    assert torch.equal(codec.encode(codec.decode(drawn)), drawn)
    assert Pixels(20, 20, levels=2).encode(grey).sum() == 0
    with pytest.raises(ValueError, match="expected 2 with drawn=True"):
        Pixels(2, 2, levels=3, drawn=True)


def test_bits_are_the_two_levels() -> None:
    bits = np.array([[0, 1], [1, 0]])
    assert Pixels(2, 2, levels=2).encode(bits).tolist() == [0, 1, 1, 0]
    assert Pixels(2, 2, levels=4).encode(bits).tolist() == [0, 0, 0, 0]
