"""Pictures in the app: what is drawn, completed, handed in and scored; and the p-values of all kinds of data."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import served
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from seqgen.codecs import Pixels
from seqgen.inference.detect import Calibration
from seqgen.media.audio import Clip
from seqgen.models import PixelCNN
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen_app import scores
from seqgen_app.catalog import Catalog, Entry
from seqgen_app.limits import Limits, Refused
from seqgen_app.tabs import image, image_html, image_request, sound_request, text_request

LIMITS = Limits()
PIXELS = Pixels(6, 5, levels=2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.painter(tmp_path_factory.mktemp("runs") / "painter")


@pytest.fixture(scope="module")
def entry(run: Path) -> Entry:
    return Catalog.load([run]).get("painter")


@pytest.fixture(scope="module")
def client(app: served.App) -> Client:
    return Client(app.url, verbose=False)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright above, dark below, a cross at twice the model's size."""
    path = tmp_path_factory.mktemp("pictures") / "cross.png"
    values = np.zeros((12, 10), np.uint8)
    values[:, 4:6] = values[4:6] = 255
    Image.fromarray(values).save(path)
    return path


# -- what is handed in


def test_a_picture_is_scaled_quantized_and_exchanged(picture: Path) -> None:
    seen = image_request.read(str(picture), PIXELS, LIMITS)
    expected = np.zeros((6, 5), np.uint8)
    expected[:, 2] = expected[2] = 255
    assert np.array_equal(seen, expected)
    assert np.array_equal(image_request.read(str(picture), PIXELS, LIMITS, True), 255 - expected)
    coloured = image_request.read(str(picture), Pixels(3, 5, 3), LIMITS)
    assert (coloured.shape, coloured.dtype) == ((3, 5, 3), np.uint8)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_pictures_of_every_mode_are_read(mode: str, tmp_path: Path) -> None:
    white = Image.new("I;16", (5, 6), 65535) if mode == "I;16" else Image.new("RGB", (5, 6), "white").convert(mode)
    path = tmp_path / ("white.jpg" if mode == "CMYK" else "white.png")
    white.save(path)
    assert (image_request.read(str(path), PIXELS, LIMITS) == 255).all()


def test_what_is_clear_is_black(tmp_path: Path) -> None:
    Image.new("RGBA", (5, 6), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert not image_request.read(str(tmp_path / "clear.png"), PIXELS, LIMITS).any()


def bomb(width: int, height: int) -> bytes:
    """A PNG file of a few hundred bytes that says that it has so many pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def cut(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()[:60]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "cannot be read"),
        (b"GIF89a", "cannot be read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "cannot be read"),
        (cut(Image.new("L", (50, 50), 9)), "cannot be read"),
        (bomb(100, 100), "cannot be read"),  # its rows are missing
        (bomb(5000, 5000), "25,000,000 pixels, expected 16,000,000 at most"),
        (bomb(60_000, 60_000), "too many pixels"),
        (bytes(LIMITS.upload + 1), "bytes, expected 10,000,000 at most"),
    ],
    ids=["empty", "head", "SVG", "PostScript", "cut", "empty bomb", "bomb", "large bomb", "bytes"],
)
def test_other_files_are_refused_without_their_path(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(Refused, match=told) as refused:
        image_request.read(str(path), PIXELS, LIMITS)
    assert str(tmp_path) not in str(refused.value)


def test_a_bomb_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*values: Any) -> None:
        raise AssertionError("decoded")

    (tmp_path / "bomb.png").write_bytes(bomb(5000, 5000))
    monkeypatch.setattr(Image.Image, "load", never)
    monkeypatch.setattr(Image.Image, "convert", never)
    with pytest.raises(Refused):
        image_request.read(str(tmp_path / "bomb.png"), PIXELS, LIMITS)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"n": 26}, "How many is 26, expected a whole number from 1 to 25"),
        ({"n": 2.5}, "How many is 2.5"),
        ({"temperature": float("nan")}, "The temperature is nan"),
        ({"seed": -1}, "The seed is -1"),
        ({"kept": 1.01}, "The kept share of rows is 1.01, expected a number from 0 to 1"),
        ({"label": "c"}, "The model has no label kind=c. Its labels: kind: a, b"),
        ({"picture": 3}, "cannot be read"),
        ({"invert": "yes"}, "Invert is 'yes', expected true or false"),
    ],
    ids=str,
)
def test_requests_are_checked(entry: Entry, picture: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        image_request.check(entry, LIMITS, **{"picture": str(picture), **values})


# -- what is drawn


def test_rows_come_one_by_one(entry: Entry, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_request, "INTERVAL", -1.0)
    wished = image_request.check(entry, LIMITS, 3, "a", 0.7, 1, str(picture), 0.5)
    found = list(image_request.sample(entry, LIMITS, wished))
    assert [len(drawn.images[0]) for drawn in found] == [3, 4, 5, 6, 6]
    assert [drawn.done for drawn in found] == [False] * 4 + [True]
    prompt = image_request.read(str(picture), PIXELS, LIMITS)[:3]
    expected = entry.pipeline.sample(3, prompt=prompt, label="a", temperature=0.7, seed=1)
    assert np.array_equal(found[-1].images, expected)
    assert (found[-1].given, found[-1].seed) == (3, 1)


@pytest.mark.parametrize(("kept", "rows"), [(0, 0), (0.1, 1), (0.5, 3), (1, 5), (1.0, 5)])
def test_at_least_a_row_is_drawn(entry: Entry, picture: Path, kept: float, rows: int) -> None:
    wished = image_request.check(entry, LIMITS, picture=str(picture), kept=kept)
    assert (0 if wished.prompt is None else len(wished.prompt)) == rows
    assert list(image_request.sample(entry, LIMITS, wished))[-1].given == rows


def test_a_deadline_ends_it(entry: Entry) -> None:
    late = Limits(deadline=-1)
    (drawn,) = image_request.sample(entry, late, image_request.check(entry, late))
    assert (len(drawn.images[0]), drawn.done) == (1, True)
    assert drawn.note.startswith("Stopped after")


def test_a_grid_shows_what_there_is(picture: Path) -> None:
    half = image_request.Images([np.full((3, 5), 255, np.uint8)] * 2, 1, 7)
    shown = image_html.image_grid(half, 6)
    assert 'alt="2 images, 3 of 6 rows sampled"' in shown
    whole = image_html._padded(half.images[0], 1, 6)
    assert whole[0].tolist() == [[140, 191, 255]] * 5
    assert (whole[1:3] == 255).all()
    assert (whole[3:] == image_html.UNSAMPLED).all()
    assert image._status(half, 6) == "Row 3 of 6 …"
    assert image._status(half._replace(done=True), 6) == "2 sampled. Given rows are blue."


def test_a_map_is_brightest_where_most_surprises() -> None:
    colours = image_html.coloured(np.array([[0.0, 0.25, 1.0]]))
    assert colours.tolist() == image_html.COLOURS[[[0, 1, 4]]].tolist()
    assert "2.5 bits" in image_html.surprise_map(np.zeros((2, 2), np.uint8), np.array([[0, 1], [2.5, -0.5]]))
    assert "0.0 bits" in image_html.surprise_map(np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1)))


def test_the_examples_are_digits_to_complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    seen = [image_request.read(path, Pixels(28, 28, levels=2), LIMITS) for path in image.digits()]
    assert len({picture.tobytes() for picture in seen}) == len(image.DIGITS)
    assert all(0.05 < (picture > 0).mean() < 0.4 for picture in seen)


# -- what is scored


def test_surprise_is_that_of_the_library(entry: Entry, picture: Path) -> None:
    scored = image_request.score(entry, LIMITS, str(picture), "b")
    expected = entry.pipeline.score(scored.image, label="b", p_value="low")
    assert scored.total == expected.total
    assert scored.bits.shape == (6, 5)
    assert scored.bits.sum() == pytest.approx(expected.total.bits)
    assert scored.p_value == expected.p_value
    with pytest.raises(Refused, match="nothing to score"):
        image_request.score(entry, LIMITS, None)


def test_surprise_of_colours_is_that_of_the_pixel(tmp_path: Path, picture: Path) -> None:
    model = PixelCNN(Categorical(4), height=3, width=5, channels=3, filters=4, depth=2, end=8)
    Pipeline(model, Pixels(3, 5, 3, 4)).save_pretrained(tmp_path / "coloured" / "model")
    coloured = Catalog.load([tmp_path / "coloured"]).get("coloured")
    scored = image_request.score(coloured, LIMITS, str(picture))
    assert scored.bits.shape == (3, 5)
    assert scored.bits.sum() == pytest.approx(scored.total.bits)
    assert scored.p_value is None
    assert "p-value" not in image._totals(coloured, scored)


def calibrated(entry: Entry, scores: list[float], symbols: float) -> Entry:
    """The entry with held-out scores in nats per symbol."""
    held_out = torch.tensor([scores], dtype=torch.float64)
    pipeline = entry.pipeline
    calibration = Calibration(held_out, torch.full(held_out.shape[1:], symbols, dtype=torch.float64))
    return entry._replace(pipeline=Pipeline(pipeline.model, pipeline.codec, pipeline.labels, calibration=calibration))


def test_texts_and_clips_are_ranked_as_held_out_ones_were_scored(catalog: Catalog, tmp_path: Path) -> None:
    """With the end, where there is one, be it shown or not."""
    names = catalog.get("names")
    whole = names.pipeline.score("Maria")
    around = [-whole.total.nats_per_symbol + shift for shift in (-1e-4, 1e-4, 1, 2)]
    scored = text_request.score(calibrated(names, around, 6), LIMITS, "Maria")
    assert scored.p_value == pytest.approx(2 / 5)
    speech = catalog.get("digits-speech")
    heard = Clip(0.3 * np.sin(np.arange(400, dtype=np.float32) / 9), sound_request.sample_rate(speech))
    whole = speech.pipeline.score(heard)
    around = [-whole.total.nats_per_symbol + shift for shift in (-1e-4, 1e-4, 1, 2)]
    clip = sound_request.score_clip(calibrated(speech, around, 400), LIMITS, heard, {}, None)
    assert clip.p_value == pytest.approx(2 / 5)
    assert (len(clip.bits), clip.total.symbols) == (400, 400)
    assert clip.total.nats == pytest.approx(speech.pipeline.score(heard, end=False).total.nats)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


@pytest.mark.parametrize(
    ("p_value", "told"), [(0.004, "fewer than 1 would"), (0.05, ", 5 would"), (1.0, ", 100 would")]
)
def test_a_p_value_is_said_in_words(p_value: float, told: str) -> None:
    shown = scores.numbers({"bits": "1"}, p_value, "texts of similar length")
    assert told in shown
    assert "Of 100 texts of similar length that the model was not trained on" in shown
    assert "p-value" not in scores.numbers({"bits": "1"}, None, "texts")


# -- endpoints


def test_sample_image_is_what_the_library_samples(client: Client, entry: Entry, picture: Path) -> None:
    told = client.predict("painter", n=3, label="b", seed=4, temperature=0.8, api_name="/sample_image")
    pictures = [np.asarray(Image.open(path)) for path in told["pictures"]]
    assert np.array_equal(pictures, entry.pipeline.sample(3, label="b", seed=4, temperature=0.8))
    assert (told["rows"], told["done"], told["seed"]) == (6, True, 4)
    told = client.predict("painter", picture=handle_file(picture), kept=0.5, invert=True, api_name="/sample_image")
    completed = np.asarray(Image.open(told["pictures"][0]))
    assert np.array_equal(completed[:3], image_request.read(str(picture), PIXELS, LIMITS, True)[:3])


def test_score_image_is_what_the_library_scores(client: Client, entry: Entry, picture: Path) -> None:
    told = client.predict("painter", handle_file(picture), "a", api_name="/score_image")
    expected = entry.pipeline.score(image_request.read(str(picture), PIXELS, LIMITS), label="a", p_value="low")
    assert told["nats"] == pytest.approx(expected.total.nats)
    assert told["p_value"] == pytest.approx(expected.p_value)
    assert np.shape(told["bits"]) == (6, 5)


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("sample_image", lambda files: {"model": "names"}, "There is no model of images 'names'"),
        ("sample_text", lambda files: {"model": "painter"}, "There is no model of text 'painter'"),
        ("sample_image", lambda files: {"model": "painter", "n": 100}, "How many is 100, expected"),
        ("sample_image", lambda files: {"model": "painter", "kept": -1}, "The kept share of rows is -1, expected"),
        ("score_image", lambda files: {"model": "painter", "picture": handle_file(files["text"])}, "cannot be read"),
        ("score_image", lambda files: {"model": "painter", "picture": handle_file(files["bomb"])}, "16,000,000 at"),
        ("score_image", lambda files: {"model": "painter", "picture": None}, "nothing to score"),
    ],
)
def test_mistakes_are_told(
    client: Client, tmp_path: Path, name: str, values: Callable[[dict[str, Path]], dict[str, Any]], told: str
) -> None:
    files = {"text": tmp_path / "text.png", "bomb": tmp_path / "bomb.png"}
    files["text"].write_text("no picture")
    files["bomb"].write_bytes(bomb(30_000, 30_000))
    with pytest.raises(AppError, match=told):
        client.predict(**values(files), api_name=f"/{name}")


def test_a_picture_must_have_been_uploaded(client: Client) -> None:
    file = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    answer = httpx.post(f"{client.src}gradio_api/call/score_image", json={"data": ["painter", file, "", False]})
    assert answer.status_code == 400
