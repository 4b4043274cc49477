"""Audio: what is found and refused, parts that do not leak, windows that lose nothing, a cache that is never half."""

import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from examples import wavenet
from scipy import linalg, signal

from seqgen.codecs import Chars, MuLaw, Waveform
from seqgen.data import clips as clips_module
from seqgen.data import windows
from seqgen.data.audio import Audio
from seqgen.data.corpus import write_clips
from seqgen.data.layout import cut, divide
from seqgen.data.loader import PARTS, Loader
from seqgen.media import audio
from seqgen.media.files import DataError
from seqgen.media.mel import LogMel
from seqgen.media.prediction import linear_prediction
from seqgen.model import Batch, Context
from seqgen.nn.prediction import predict
from seqgen.outputs import Categorical, Gaussians

RATE = 1000
MEL = {"rate": RATE, "mels": 3, "hop": 16, "window": 40}

Written = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    return tmp_path / "clips"


def saved(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str = "FLOAT", kind: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype, format=kind)
    return path


def tone(seconds: float, rate: int = RATE, amplitude: float = 0.5, pitch: float = 100) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def unique(folder: Path, sizes: Sequence[int], name: str = "{:03}.wav", first: int = 0) -> Written:
    """Files of these sizes in which no sample occurs twice, so that each tells where it comes from."""
    total = sum(sizes)
    values = (first + np.random.default_rng(0).permutation(total)) / 2**21 - 0.25
    pieces = np.split(values.astype(np.float32), np.cumsum(sizes)[:-1])
    return {saved(folder / name.format(number), piece).name: piece for number, piece in enumerate(pieces)}


def ready(data: Audio, past: int | None = None) -> Audio:
    data.setup()
    data.connect(past)  # what a model looks back
    return data


def names(data: Audio, part: str) -> set[str]:
    return {data.entries[place].path.name for place in data.parts[part]}


def carrying(batches: Iterable[Batch]) -> list[float]:
    """Every symbol that carries loss."""
    return [value for batch in batches for value in batch.x[batch.mask].tolist()]


def plain(folder: Path | str, **options: Any) -> Audio:
    return Audio(**{"path": str(folder), "codec": Waveform(RATE), "val": 0, "test": 0, **options})


# -- which files


def test_every_format_rate_and_number_of_channels(folder: Path) -> None:
    """All become the codec's mono at its rate, at any depth; what is no sound file by its name is left alone."""
    kinds = [
        (".wav", "WAV", "PCM_16", 8000),
        (".flac", "FLAC", "PCM_16", 16000),
        (".ogg", "OGG", "VORBIS", 22050),
        (".MP3", "MP3", "MPEG_LAYER_III", 44100),
        (".opus", "OGG", "OPUS", 48000),
    ]
    for depth, (suffix, kind, subtype, rate) in enumerate(kinds):
        sound = np.stack([tone(0.5, rate, 0.6, 300), 0 * tone(0.5, rate)], 1)  # one of the channels is silent
        saved(folder.joinpath(*"abcdefgh"[:depth]) / f"clip{suffix}", sound, rate, subtype, kind)
    (folder / "notes.txt").write_text("no sound")
    (folder / "folder.wav").mkdir()
    data = ready(plain(folder, codec=Waveform(8000)))
    assert [entry.path.suffix for entry in data.entries] == [".MP3", ".opus", ".ogg", ".flac", ".wav"]
    assert (np.abs(data.sizes - 4000) <= 1).all()
    for clip in range(5):
        middle = data.windows.clip(clip)[1000:3000]
        assert np.abs(middle).max() == pytest.approx(0.3, abs=0.03)
        assert np.abs(np.fft.rfft(middle)).argmax() == 75  # 300 Hz


def test_one_file_a_folder_and_tables(folder: Path) -> None:
    written = unique(folder, [40, 50, 60])
    assert [len(ready(plain(path)).entries) for path in (folder / "000.wav", folder)] == [1, 3]
    for end, separator in (("csv", ","), ("tsv", "\t")):
        table = folder.parent / f"table.{end}"
        table.write_text(f"text{separator}file\nx{separator}clips/002.wav\ny{separator}{folder / '000.wav'}\n")
        data = ready(plain(table))
        assert sorted(carrying(data.train_dataloader())) == sorted([*written["000.wav"], *written["002.wav"]])
    write_clips(folder, [{"file": "001.wav"}])  # which says what is in the folder, and what is not
    assert names(ready(plain(folder)), "train") == {"001.wav"}


def test_a_tsv_has_no_quotes_and_a_csv_may(folder: Path) -> None:
    unique(folder, [40, 50])
    (folder / "a.tsv").write_text('file\tsaid\n000.wav\t"yes\n001.wav\tno"\n')
    (folder / "a.csv").write_text('\ufefffile,said\n000.wav,"yes, ""no"""\n')
    assert ready(plain(folder / "a.tsv", labels=["said"])).labels == {"said": ['"yes', 'no"']}
    assert ready(plain(folder / "a.csv", labels=["said"])).labels == {"said": ['yes, "no"']}


# -- labels


def test_labels_from_a_pattern_from_folders_and_from_tables(folder: Path) -> None:
    for speaker, digit in itertools.product(("ann", "bob"), "123"):
        saved(folder / speaker / f"{digit}_{speaker}.wav", tone(0.05))
    pattern = r"(?P<digit>\d)_(?P<speaker>[a-z]+)\.wav$"
    table = "file,speaker,digit\n" + "".join(
        f"{path.relative_to(folder)},{path.parent.name},{path.name[0]}\n" for path in folder.rglob("*.wav")
    )
    (folder.parent / "table.csv").write_text(table.replace("clips/", ""))
    for options in ({"pattern": pattern}, {"path": str(folder / "clips.csv")}):
        if "path" in options:
            (folder / "clips.csv").write_text(table)
        data = ready(plain(folder, labels=["digit", "speaker"], **options))
        assert data.labels == {"digit": ["1", "2", "3"], "speaker": ["ann", "bob"]}
        for batch in data.train_dataloader():
            assert batch.context is not None
            assert batch.context.labels is not None
        rows = zip(data.entries, data.label_numbers.tolist(), strict=True)
        said = {entry.path.name: tuple(row) for entry, row in rows}
        assert said["2_bob.wav"] == (2, 2)
        assert len(set(said.values())) == 6
    (folder / "clips.csv").unlink()
    data = ready(plain(folder, labels=["folder", "digit"], pattern=r"(?P<digit>\d)"))
    assert data.labels == {"folder": ["ann", "bob"], "digit": ["1", "2", "3"]}


def test_the_batch_tells_the_labels_of_its_clips(folder: Path) -> None:
    written = unique(folder, [30, 70, 50, 20], "{:03}_a.wav")
    written |= unique(folder, [30, 70, 50, 20, 30], "{:03}_b.wav", first=1000)
    data = ready(plain(folder, labels=["kind"], pattern=r"_(?P<kind>[ab])", batch_size=3))
    kinds = {value: name[4] for name, samples in written.items() for value in samples.tolist()}
    for batch in [*data.train_dataloader(), *data.held_out("train")]:
        for x, mask, label in zip(batch.x, batch.mask, batch.context.labels[:, 0].tolist(), strict=True):
            assert {kinds[value] for value in x[mask].tolist()} <= {data.labels["kind"][label - 1]}


def test_a_label_may_be_not_said(folder: Path) -> None:
    unique(folder, [30, 40, 50])
    (folder / "clips.csv").write_text("file,sex\n000.wav,\n001.wav,F\n002.wav,M\n")
    data = ready(plain(folder, labels=["sex"]))
    assert data.labels == {"sex": ["F", "M"]}
    assert data.label_numbers.tolist() == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"labels": ["digit"]}, "no label 'digit', expected a column of a table, a named group of pattern, or folder"),
        ({"labels": ["digit"], "pattern": r"(?P<number>\d)"}, "no label 'digit'"),
        ({"pattern": "^x"}, r"000\.wav does not match pattern='\^x'"),
        ({"pattern": "("}, r"pattern is '\(', expected a regular expression: missing \)"),
        ({"pattern": r"0(?P<split>\d)"}, r"000\.wav: split is '0', expected train, val, test or nothing"),
        ({"by": "speaker"}, r"by is 'speaker', expected one of the labels \[\]"),
    ],
)
def test_labels_are_refused(folder: Path, options: dict[str, Any], expected: str) -> None:
    unique(folder, [30, 40])
    with pytest.raises(DataError, match=expected):
        ready(plain(folder, **options))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name\n000.wav\n", r"clips\.csv has no column 'file'; its header is \['name'\]"),
        ("", r"has no column 'file'; its header is None"),
        ("file\n000.wav\n", r"has no column 'sex'; its header is \['file'\]"),
        ("file,sex\n000.wav,F\n001.wav\n", r"clips\.csv, line 3: got fewer columns than in the header, or an empty"),
        ("file,sex\n,F\n", r"clips\.csv, line 2: got fewer columns than in the header, or an empty"),
        ("file,sex,split\n000.wav,F,dev\n", r"clips\.csv, line 2: split is 'dev', expected train, val, test"),
        ("file,sex\n", "has no audio files"),
        (f"file,sex\n000.wav,{'x' * 200_000}\n", r"clips\.csv, after line \d: field larger than field limit"),
        (b"file,sex\n000.wav,\xff\n", r"clips\.csv, after line \d: .*can't decode byte 0xff.* a table in UTF-8"),
        ("file,sex\n009.wav,F\n", r"009\.wav' cannot be read: No such file or directory"),
        ("file,sex\n.,F\n", r"cannot be read: Is a directory"),
    ],
)
def test_tables_are_refused(folder: Path, table: str | bytes, expected: str) -> None:
    unique(folder, [30, 40])
    (folder / "clips.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(DataError, match=expected):
        ready(plain(folder, labels=["sex"]))


# -- the split


def test_the_split_depends_on_names_and_seed_alone(folder: Path, tmp_path: Path) -> None:
    written = unique(folder, [20] * 60)
    data = ready(plain(folder, val=0.1, test=9))
    split = [names(data, part) for part in PARTS]
    assert [len(part) for part in split] == [45, 3, 3, 9]
    assert set.union(*split) == set(written)
    folder.rename(tmp_path / "moved")
    moved = ready(plain(tmp_path / "moved", val=0.1, test=9, batch_size=3, normalize="peak"))
    assert [names(moved, part) for part in PARTS] == split
    other = ready(plain(tmp_path / "moved", val=0.1, test=9, seed=1))
    assert [names(other, part) for part in PARTS] != split


def test_files_of_one_name_in_many_folders_are_files_of_their_own(folder: Path) -> None:
    for number in range(20):
        saved(folder / str(number) / "clip.wav", tone(0.02 + number / RATE))
    data = ready(plain(folder, val=0.25, test=5))
    assert [len(data.parts[part]) for part in PARTS] == [10, 3, 2, 5]


def test_speakers_stay_together(folder: Path) -> None:
    for speaker, number in itertools.product("abcdefgh", range(5)):
        saved(folder / speaker / f"{number}.wav", tone(0.03))
    data = ready(plain(folder, labels=["folder"], by="folder", val=2, test=0.25))
    speakers = {part: {data.entries[place].path.parent.name for place in data.parts[part]} for part in data.parts}
    assert [len(speakers[part]) for part in PARTS] == [4, 1, 1, 2]
    assert len(set.union(*speakers.values())) == 8
    assert [len(data.parts[part]) for part in PARTS] == [20, 5, 5, 10]


@pytest.mark.parametrize(
    ("given", "sizes"),
    [
        ("train val test", {"train": 20, "val": 20, "test": 20}),
        ("train test", {"train": 24, "val": 6, "test": 30}),  # a share of train; never of test
        ("train val", {"train": 30, "val": 30, "test": 0}),
        ("train", {"train": 48, "val": 12, "test": 0}),
        ("val -", {"train": 30, "val": 30, "test": 0}),
        ("test -", {"train": 24, "val": 6, "test": 30}),
        ("train test -", {"train": 32, "val": 8, "test": 20}),
        ("-", {"train": 42, "val": 12, "test": 6}),
    ],
)
def test_a_table_may_say_the_split(given: str, sizes: dict[str, int]) -> None:
    words = [word.replace("-", "") for word in given.split()]
    column = [words[number % len(words)] for number in range(60)]
    parts = divide(column, [str(number) for number in range(60)], (0.2, 0.1), seed=0)
    assert list(parts) == list(PARTS)
    assert len(parts["calibration"]) == sizes["val"] // 2
    assert sorted(np.concatenate(list(parts.values()))) == list(range(60))
    parts["val"] = np.concatenate([parts["val"], parts.pop("calibration")])
    assert {name: len(places) for name, places in parts.items()} == sizes
    for name in ("val", "test"):  # nothing that is named leaves its part, but for what train gives to val
        assert {place for place in range(60) if column[place] == name} <= set(parts[name])
        assert name == "val" or not set(parts[name]) & {place for place in range(60) if column[place] == "train"}


@pytest.mark.parametrize("given", ["", "train"])
@pytest.mark.parametrize("each", [1, 3])
def test_the_first_half_of_val_calibrates(given: str, each: int) -> None:
    """In hash order: with twice the share, the calibration part is all that val was before it was halved."""
    keys = [str(number // each) for number in range(60 * each)]
    one, two = (divide([given] * len(keys), keys, (val, 7), seed=3) for val in (11, 22))
    found = {name: {keys[place] for place in places} for name, places in one.items()}
    assert {keys[place] for place in two["calibration"]} == found["calibration"] | found["val"]
    assert (len(found["calibration"]), len(found["val"])) == (5, 6)
    assert sum(map(len, found.values())) == 60  # no key is in two parts


def test_the_split_of_a_table_and_of_a_pattern_is_read(folder: Path) -> None:
    unique(folder, [30] * 4, "{}_train.wav")
    unique(folder, [30] * 6, "{}_test.wav")
    data = ready(plain(folder, pattern="_(?P<split>[a-z]+)", val=1))
    assert names(data, "test") == {f"{number}_test.wav" for number in range(6)}
    assert len(names(data, "val") & {f"{number}_train.wav" for number in range(4)}) == 1
    assert names(data, "calibration") == set()
    (folder / "clips.csv").write_text("file,split\n0_test.wav,train\n1_test.wav,val\n2_test.wav,test\n")
    data = ready(plain(folder))
    assert [names(data, part) for part in ("train", "val", "test")] == [{f"{number}_test.wav"} for number in range(3)]


def test_nothing_leaks(folder: Path) -> None:
    written = unique(folder, [130, 20, 50, 300, 77, 410, 33, 90, 61, 12])
    data = ready(plain(folder, val=3, test=2, length=0.05, batch_size=3), past=40)
    read = {value for batch in data.train_dataloader() for value in batch.x.flatten().tolist()} - {0.0}
    assert [len(data.parts[part]) for part in PARTS[1:]] == [2, 1, 2]
    parts = [set(carrying(data.held_out(part))) - {0.0} for part in PARTS[1:]]
    held_out = set.union(*parts)
    assert sum(map(len, parts)) == len(held_out)
    assert read == {value for name in names(data, "train") for value in written[name].tolist()} - {0.0}
    assert not read & held_out
    assert held_out | read == {value for clip in written.values() for value in clip.tolist()} - {0.0}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val": 3}, "leave nothing of 3 to train on"),
        ({"val": -1}, "a held-out share is -1"),
        ({"val": float("nan")}, "a held-out share is nan"),
        ({"val": 1.5}, "a held-out share is 1.5"),
        ({"labels": ["folder"], "by": "folder", "val": 1}, "leave nothing of 1 to train on"),
    ],
)
def test_shares_are_refused(folder: Path, options: dict[str, Any], expected: str) -> None:
    unique(folder, [30, 40, 50])
    with pytest.raises(DataError, match=expected):
        ready(plain(folder, **options))


def test_parts_without_files_are_refused(folder: Path) -> None:
    unique(folder, [30, 40, 50])
    with pytest.raises(DataError, match="leaves nothing to validate on; expected more data"):
        ready(plain(folder)).val_dataloader()
    (folder / "clips.csv").write_text("file,split\n000.wav,val\n001.wav,test\n")
    with pytest.raises(DataError, match="leaves no file to train on, expected more files"):
        ready(plain(folder)).train_dataloader()


# -- windows of training


SIZES = [1, 2, 9, 10, 11, 99, 100, 101, 150, 500, 1234]


@pytest.mark.parametrize("past", [None, 0, 7, 120])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_sample_carries_loss_once_an_epoch(folder: Path, past: int | None, batch_size: int) -> None:
    written = unique(folder, SIZES)
    expected = sorted(value for samples in written.values() for value in samples.tolist())
    data = ready(plain(folder, length=0.1, batch_size=batch_size), past)
    loader = data.train_dataloader()
    for _ in range(3):
        batches = list(loader)
        assert len(batches) == len(loader)
        assert sorted(carrying(batches)) == expected
        assert all(batch.mask.any(1).all() and len(batch.x) <= batch_size for batch in batches)


@pytest.mark.parametrize("past", [None, 0, 50])
def test_every_end_carries_loss_once_an_epoch(folder: Path, past: int | None) -> None:
    codec = MuLaw(RATE, bits=16, end=True)
    classes = np.random.default_rng(0).permutation(60_000)[: sum(SIZES)]
    pieces = np.split(classes, np.cumsum(SIZES)[:-1])
    for number, piece in enumerate(pieces):
        saved(folder / f"{number}.wav", codec.decode(torch.from_numpy(piece)).samples)
    data = ready(plain(folder, codec=codec, length=0.1, batch_size=3), past)
    for loader in (data.train_dataloader(), data.held_out("train")):
        found = carrying(loader)
        assert sorted(found) == sorted([*classes, *[codec.end] * len(SIZES)])


def test_long_and_short_files_are_drawn_in_proportion_to_their_samples(folder: Path) -> None:
    """And every place of a file at times stands in the middle of a window and at times at a border."""
    written = unique(folder, [1000, 30, 30])
    data = ready(plain(folder, length=0.1, batch_size=4), past=5)
    loader, borders = data.train_dataloader(), set()
    where = {value: place for place, value in enumerate(written["000.wav"].tolist())}
    for _ in range(30):
        for batch in loader:
            first = batch.x.gather(1, batch.mask.long().argmax(1, keepdim=True))[:, 0]
            borders |= {where[value] for value in first.tolist() if value in where}
    inner = np.array(sorted(borders))
    assert np.diff(inner).max() <= 60
    assert len(borders) > 150


def test_cuts_are_even() -> None:
    sizes = np.array([1, 10, 20, 21, 95, 3000])
    row, first, last = cut(sizes, 20, np.random.default_rng(0))
    assert np.array_equal(np.bincount(row), [1, 1, 1, 2, 5, 150])
    for number, size in enumerate(sizes):
        mine = row == number
        assert (first[mine][0], last[mine][-1]) == (0, size)
        assert np.array_equal(first[mine][1:], last[mine][:-1])
        assert (last[mine] - first[mine]).min() >= min(size, 5)
        assert (last[mine] - first[mine]).max() <= 1.4 * 20 + 1


@pytest.mark.parametrize(
    ("kind", "features"), [("alone", 0), ("labels", 0), ("features", 3), ("both", 3)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_rows_with_loss_are_those_of_the_whole_clip(folder: Path, kind: str, features: int, batch_size: int) -> None:
    """Cut or not, padded or not: what the model says of a sample in training is what it says in the whole clip."""
    written = unique(folder, [333, 100, 40, 700, 16, 161, 1])
    labelled = {"labels": ["last"], "pattern": r"(?P<last>\d)\.wav"} if kind in ("labels", "both") else {}
    mel = LogMel(**MEL) if features else None
    labels = [len(written)] if labelled else []
    model = wavenet(Gaussians(), labels=labels, features=features, hop=16, kernel=3).double()
    data = ready(plain(folder, features=mel, length=0.1, batch_size=batch_size, **labelled), model.receptive_field)
    known: dict[float, float] = {}
    with torch.no_grad():
        for place, (entry, said) in enumerate(zip(data.entries, data.label_numbers, strict=True)):
            samples = torch.from_numpy(written[entry.path.name])[None]
            context = Context(torch.tensor(said)[None] if labelled else None, mel and mel(samples[0].numpy())[None])
            rows = model.log_prob(samples, context if labelled or mel else None)[0]
            assert place == int(entry.path.stem)
            known.update(zip(samples[0].tolist(), rows.tolist(), strict=True))
        for batch in itertools.chain(data.train_dataloader(), data.train_dataloader()):
            found = model.log_prob(batch.x, batch.context)[batch.mask]
            expected = torch.tensor([known[value] for value in batch.x[batch.mask].tolist()], dtype=torch.float64)
            tolerance = 1e-5 if mel else 1e-10  # mel spectra are float32
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@torch.no_grad()
@pytest.mark.parametrize("past", [12, 13])
def test_of_a_past_too_short_the_rows_would_be_others(folder: Path, past: int) -> None:
    """What the test above can tell: with a symbol less of context some rows change."""
    (samples,) = unique(folder, [500]).values()
    model = wavenet(Gaussians(), kernel=3).double()
    assert model.receptive_field == 13
    data = ready(plain(folder, length=0.1), past)
    known = dict(zip(samples.tolist(), model.log_prob(torch.from_numpy(samples)[None])[0].tolist(), strict=True))
    apart = 0.0
    for batch in data.train_dataloader():
        found = zip(model.log_prob(batch.x)[batch.mask].tolist(), batch.x[batch.mask].tolist(), strict=True)
        apart = max(apart, *(abs(row - known[value]) for row, value in found))
    assert (apart > 1e-9) == (past < 13)


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "spread": lambda chance: chance.uniform(500, 20_000, 90),
    "one": lambda chance: np.array([120_000]),
    "just more than a span": lambda chance: np.full(60, 3_700),
    "just less than two": lambda chance: np.full(60, 7_100),
    "short": lambda chance: chance.uniform(200, 900, 300),
    "few long, many short": lambda chance: np.append(np.full(500, 500), [150_000, 160_000]),
    "exponential": lambda chance: 50 + chance.exponential(4_000, 200),
}


@pytest.mark.parametrize(
    ("kind", "features"), [*((kind, False) for kind in DISTRIBUTIONS), ("spread", True), ("one", True)]
)
def test_nine_tenths_of_what_is_read_carry_loss(folder: Path, kind: str, features: bool) -> None:
    """With the default length, padding and all, whatever the clips are like."""
    sizes = DISTRIBUTIONS[kind](np.random.default_rng(0)).astype(int)
    silence = np.zeros(sizes.max(), np.float32)
    (folder / "clips.csv").write_text("file\n" + "".join(f"{number}.wav\n" for number in range(len(sizes))))
    for number, size in enumerate(sizes):
        saved(folder / f"{number}.wav", silence[:size])
    data = ready(plain(folder, features=LogMel(**MEL) if features else None), past=300)
    batches = [batch.mask for batch in data.train_dataloader()]
    share = sum(int(mask.sum()) for mask in batches) / sum(mask.numel() for mask in batches)
    assert share >= 0.9
    assert f"{len(sizes)} clips to train on, {sizes.sum() / 60_000:.1f} minutes" in data.report
    assert f"the model looks back on 300 symbols (300 ms); of the positions in a batch {share:.1%} carry" in data.report


def test_the_default_length_is_a_second_or_twelve_times_the_past() -> None:
    spans = []
    for past in (None, 0, 50, 1000):
        data = plain("x", codec=MuLaw(8000))
        data.connect(past)
        spans.append(data.span)
    assert spans == [8000, 8000, 8000, 12_000]


# -- the order


def order(data: Audio, loader: Loader) -> list[list[float]]:
    return [batch.x.flatten().tolist() for batch in loader]


def test_the_order_is_a_function_of_seed_and_epoch(folder: Path) -> None:
    unique(folder, [30, 500, 200, 77, 310, 20, 64])

    def epochs(seed: int) -> list[list[list[float]]]:
        data = ready(plain(folder, length=0.1, batch_size=2, seed=seed), past=9)
        loader = data.train_dataloader()
        torch.manual_seed(seed + 7)  # which has no say
        return [order(data, loader) for _ in range(3)]

    assert epochs(0) == epochs(0)
    assert epochs(0) != epochs(1)
    first, second, third = epochs(0)
    assert first != second != third != first


@pytest.mark.parametrize("taken", [0, 1, 3, "all"])
def test_a_loader_goes_on_where_it_was(folder: Path, taken: int | str) -> None:
    unique(folder, [30, 500, 200, 77, 310, 20, 64])
    data = ready(plain(folder, length=0.1, batch_size=2), past=9)
    loader, again = data.train_dataloader(), data.train_dataloader()
    list(loader)
    count = len(loader) if taken == "all" else int(taken)
    batches = iter(loader)
    for _ in range(count):
        next(batches)
    again.load_state_dict(loader.state_dict())
    rest = [batch.x.flatten().tolist() for batch in batches]
    expected = rest + order(data, loader)
    assert (order(data, again) + order(data, again))[: len(expected)] == expected


# -- held-out windows


@pytest.mark.parametrize("end", [False, True])
def test_held_out_windows_cover_every_symbol_once(folder: Path, monkeypatch: pytest.MonkeyPatch, end: bool) -> None:
    """Windows follow one another; the end symbol comes even where it is all that a window holds."""
    monkeypatch.setattr(windows, "WINDOW", 64)
    codec = MuLaw(RATE, end=end)
    sizes = [1, 63, 64, 65, 127, 128, 129, 200]
    for number, size in enumerate(sizes):
        saved(folder / f"{number}.wav", np.random.default_rng(number).uniform(-1, 1, size))
    data = ready(plain(folder, codec=codec, val=7, test=0, batch_size=3))
    assert [len(data.parts[part]) for part in PARTS] == [1, 4, 3, 0]
    for part in ("val", "calibration", "val", "calibration"):
        loader, places = data.val_dataloader() if part == "val" else data.held_out(part), data.parts[part]
        expected = sorted(codec.close(codec.encode(data.windows.clip(place))).tolist() for place in places)
        found, group = [], []
        for batch in loader:
            assert batch.x.shape[1] <= 64
            if batch.window == 0:
                found, group = found + group, [[] for _ in batch.x]
            for row, x, mask in zip(group, batch.x, batch.mask, strict=True):
                assert not mask.any() or len(row) == 64 * (batch.window or 0)
                assert mask.tolist() == sorted(mask.tolist(), reverse=True)
                row += x[mask].tolist()
        assert sorted(found + group) == expected
    assert sum(len(batch.x) for batch in data.everything() if batch.window == 0) == 8


def test_everything_is_every_part(folder: Path) -> None:
    """Another corpus is scored as a whole, though its table has a split."""
    written = unique(folder, [30, 40, 50, 60])
    (folder / "clips.csv").write_text("file,split\n000.wav,train\n001.wav,val\n002.wav,test\n003.wav,val\n")
    data = plain("elsewhere", val=5)
    data.hold_out(str(folder), data.codec, {})
    found = carrying(ready(data).everything())
    assert sorted(found) == sorted(value for samples in written.values() for value in samples.tolist())


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_model_that_goes_from_window_to_window_scores_whole_clips(
    folder: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """Features are those of the whole clip, in line with the symbols, and a short clip's do not see a long one's."""
    monkeypatch.setattr(windows, "WINDOW", 50)
    written = unique(folder, [20, 49, 50, 130, 333])
    mel = LogMel(**MEL)
    model = wavenet(Gaussians(), features=3, hop=16).double()
    data = ready(plain(folder, features=mel, batch_size=batch_size), model.receptive_field)
    found, carry = 0.0, None
    with torch.no_grad():
        for batch in data.held_out("train"):
            rows, carry = model.advance(batch.x, carry if batch.window else None, batch.context)
            found += float((model.output(rows).log_prob(batch.x) * batch.mask).sum())
        expected = sum(
            float(model.log_prob(torch.tensor(clip)[None], Context(None, mel(clip)[None])).sum())
            for clip in written.values()
        )
    assert found == pytest.approx(expected, rel=1e-6)


def test_features_are_computed_once_for_all_windows_of_a_clip(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW", 50)
    unique(folder, [333, 310])
    data = ready(plain(folder, features=LogMel(**MEL)))
    called = []
    compute = LogMel.__call__
    monkeypatch.setattr(LogMel, "__call__", lambda *arguments: called.append(1) or compute(*arguments))
    assert len(list(data.held_out("train"))) == 7
    assert len(called) == 2


# -- trimming and loudness


def test_silence_is_what_is_soft_beside_the_files_own_peak(folder: Path) -> None:
    rate, quiet = 8000, np.random.default_rng(0).normal(0, 1, 8000)
    for name, loudness in (("loud", 0.5), ("soft", 5e-4), ("faint", 5e-8)):
        sound = np.concatenate([1e-4 * quiet, tone(0.5, rate, 1, 500), 1e-4 * quiet])
        saved(folder / f"{name}.wav", loudness * sound, rate)
    whole, trimmed = (ready(plain(folder, codec=Waveform(rate), trim=trim)) for trim in (None, 40.0))
    assert whole.sizes.tolist() == [20_000] * 3
    assert ((trimmed.sizes > 4000) & (trimmed.sizes < 7000)).all()
    assert len(set(trimmed.sizes.tolist())) == 1
    assert ready(plain(folder, codec=Waveform(rate), trim=120.0)).sizes.tolist() == [20_000] * 3


@pytest.mark.parametrize("normalize", ["none", "peak", "rms"])
def test_a_silent_file_stays_as_it_is_and_cannot_be_trimmed(folder: Path, normalize: Any) -> None:
    saved(folder / "silent.wav", np.zeros(300))
    saved(folder / "tone.wav", tone(0.1))
    data = ready(plain(folder, normalize=normalize))
    assert not data.windows.clip(0).any()
    with pytest.raises(
        DataError, match=r'silent\.wav\' is all silence, expected sound to keep after trimming; corrupt="skip"'
    ):
        ready(plain(folder, normalize=normalize, trim=30.0))
    assert names(ready(plain(folder, normalize=normalize, trim=30.0, corrupt="skip")), "train") == {"tone.wav"}


@pytest.mark.parametrize("amplitude", [1e-30, 1e-6, 0.1, 3.0])
def test_normalize(folder: Path, amplitude: float) -> None:
    saved(folder / "tone.wav", tone(0.5, amplitude=amplitude, pitch=90))
    saved(folder / "click.wav", amplitude * (np.arange(900) == 450))
    peaks = ready(plain(folder, normalize="peak"))
    assert [np.abs(peaks.windows.clip(place)).max() for place in (0, 1)] == pytest.approx([0.95, 0.95])
    rms = ready(plain(folder, normalize="rms"))
    click, sine = rms.windows.clip(0), rms.windows.clip(1)
    assert np.sqrt(np.mean(sine**2)) == pytest.approx(0.1, rel=1e-4)
    assert np.abs(click).max() == 1  # an rms of 0.1 would be far beyond full scale
    assert np.array_equal(ready(plain(folder)).windows.clip(1), tone(0.5, amplitude=amplitude, pitch=90))


# -- files that cannot be used


def spoil(folder: Path, kind: str) -> Path:
    """A file that cannot be used."""
    path = folder / "bad.wav"
    if kind == "corrupt":
        path.write_bytes(b"RIFF no sound at all")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "no samples":
        saved(path, np.zeros(0))
    elif kind == "NaN":
        saved(path, np.array([0, np.nan, 0]))
    elif kind == "infinite":
        saved(path, np.array([0, 0, 0, np.inf]))
    elif kind == "too short":
        saved(path, np.zeros(3), 48_000)
    elif kind == "cut off":
        whole = saved(path, tone(1, 8000), 8000, "PCM_16", "FLAC").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    return path


BAD = {
    "corrupt": r"bad\.wav' cannot be decoded: .*; expected an audio file",
    "empty": r"bad\.wav' cannot be decoded",
    "no samples": r"bad\.wav' holds no samples, expected at least one",
    "NaN": r"bad\.wav' cannot be used: sample 1 is nan, expected finite numbers",
    "infinite": r"bad\.wav' cannot be used: sample 3 is inf, expected finite numbers",
    "too short": r"bad\.wav' is too short for a sample at 1000 Hz",
    "cut off": r"bad\.wav'",
    "missing": r"bad\.wav' cannot be read: No such file or directory; expected an audio file",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_or_skipped_by_name(
    folder: Path, cache: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    written = unique(folder, [40, 50])
    spoil(folder, kind)
    (folder / "clips.csv").write_text("file\n000.wav\nbad.wav\n001.wav\n")
    with pytest.raises(DataError, match=f'{BAD[kind]}.*; corrupt="skip" leaves such files out'):
        ready(plain(folder))
    assert list(cache.iterdir()) == []  # nothing is left of what was decoded before it
    capsys.readouterr()
    for _ in range(2):  # decoded, and from the cache
        data = ready(plain(folder, corrupt="skip"))
        assert sorted(carrying(data.train_dataloader())) == sorted([*written["000.wav"], *written["001.wav"]])
        said = capsys.readouterr().err
        assert re.fullmatch(rf"skipped: .*{BAD[kind]}.*\n", said), said


def test_labels_and_splits_stay_with_their_files_when_others_are_skipped(folder: Path) -> None:
    unique(folder, [40, 50, 60])
    spoil(folder, "corrupt")
    (folder / "clips.csv").write_text(
        "file,kind,split\nbad.wav,x,val\n000.wav,a,train\n001.wav,b,test\nbad.wav,y,train\n002.wav,c,val\n"
    )
    data = ready(plain(folder, labels=["kind"], corrupt="skip"))
    assert data.labels == {"kind": ["a", "b", "c"]}
    assert data.sizes.tolist() == [40, 50, 60]
    assert {part: names(data, part) for part in data.parts} == {
        "train": {"000.wav"},
        "val": {"002.wav"},
        "calibration": set(),
        "test": {"001.wav"},
    }


def test_nothing_but_bad_files_is_refused(folder: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(folder, "corrupt")
    with pytest.raises(DataError, match="none of the audio files can be used"):
        ready(plain(folder, corrupt="skip"))
    assert "bad.wav" in capsys.readouterr().err
    assert list(cache.iterdir()) == []


def test_what_is_not_there_is_refused(folder: Path) -> None:
    for path, expected in (
        (str(folder), r"clips has no audio files, expected some of .*\.flac.*\.wav"),
        (str(folder / "gone"), "no file or folder .*gone'; expected sound files"),
        (str(folder / "gone.wav"), "no file or folder .*gone.wav'"),
        (None, "no data: expected a path of sound files, or a corpus"),
        ("", "no data: expected a path of sound files, or a corpus"),
    ):
        with pytest.raises(DataError, match=expected):
            ready(plain(folder, path=path))
    (folder / "notes.txt").write_text("no sound")
    with pytest.raises(DataError, match="has no audio files"):
        ready(plain(folder))
    with pytest.raises(DataError, match=r"notes.txt' cannot be decoded"):
        ready(plain(folder / "notes.txt"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"codec": Chars("ab")}, "codec is Chars, expected one of sounds, such as MuLaw"),
        ({"batch_size": 0}, "batch_size 0, trim None: expected 1 or more"),
        ({"trim": 0.0}, "trim 0.0: expected"),
        ({"trim": float("nan")}, "trim nan: expected"),
        *(
            ({"length": length}, rf"length is {length} s, expected 10 symbols at 1000 Hz or more")
            for length in (0.0, -1.0, 0.009, float("nan"), float("inf"))
        ),
        ({"features": LogMel(8000, mels=3)}, "features at 8000 Hz, codec at 1000 Hz with end None: expected the same"),
        ({"features": LogMel(**MEL), "codec": MuLaw(RATE, end=True)}, "codec at 1000 Hz with end 256: .* no end"),
    ],
)
def test_settings_are_refused(folder: Path, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        plain(folder, **options)


def test_the_classes_of_a_model_are_all_there_are(folder: Path) -> None:
    unique(folder, [40, 50])
    (folder / "clips.csv").write_text("file,sex\n000.wav,F\n001.wav,X\n")
    data = plain(folder, labels=["sex"])
    data.hold_out(str(folder), data.codec, {"sex": ["F", "M"]})
    with pytest.raises(DataError, match="sex is 'X' somewhere, the model knows F, M"):
        ready(data)


# -- the cache


def count_reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read, found = audio.read, []
    monkeypatch.setattr(audio, "read", lambda path: found.append(Path(path).name) or read(path))
    return found


def test_files_are_decoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unique(folder, [40, 50, 60])
    read = count_reading(monkeypatch)
    first = ready(plain(folder))
    assert read == ["000.wav", "001.wav", "002.wav"]
    again = ready(plain(folder, val=1, length=0.02, batch_size=2))
    assert len(read) == 3
    assert again.sha256 == first.sha256
    assert np.array_equal(again.samples, first.samples)
    assert isinstance(again.samples, np.memmap)
    for options in ({"codec": Waveform(500)}, {"normalize": "rms"}, {"normalize": "peak"}):
        assert ready(plain(folder, **options)).sha256 != first.sha256
        assert len(read) == 6
        del read[3:]


def test_a_changed_file_is_decoded_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unique(folder, [40, 50])
    first = ready(plain(folder))
    saved(folder / "001.wav", tone(0.05))  # as long as it was
    read = count_reading(monkeypatch)
    changed = ready(plain(folder))
    assert read == ["000.wav", "001.wav"]
    assert changed.sha256 != first.sha256
    assert np.array_equal(changed.windows.clip(1), tone(0.05))


def test_a_file_that_was_missing_is_found_later(folder: Path) -> None:
    written = unique(folder, [40, 50])
    (folder / "clips.csv").write_text("file\n000.wav\nlate.wav\n")
    assert len(ready(plain(folder, corrupt="skip")).entries) == 1
    saved(folder / "late.wav", written["001.wav"])
    assert len(ready(plain(folder, corrupt="skip")).entries) == 2


@pytest.mark.parametrize("when", ["decoding", "index"])
def test_interrupted_decoding_leaves_nothing_to_trip_over(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    unique(folder, [40, 50, 60])

    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    clip = clips_module._clip
    with monkeypatch.context() as patch:
        if when == "decoding":
            patch.setattr(
                clips_module, "_clip", lambda path, how: clip(path, how) if "0.wav" in path.name else interrupted()
            )
        else:
            patch.setattr(clips_module, "write_atomically", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ready(plain(folder))
    assert not list(cache.glob("*.json"))
    assert when == "index" or list(cache.iterdir()) == []
    read = count_reading(monkeypatch)
    assert ready(plain(folder)).sizes.tolist() == [40, 50, 60]
    assert len(read) == 3


def test_the_data_is_told_apart_by_samples_labels_and_split(folder: Path) -> None:
    unique(folder, [40, 50])
    table, found = folder / "clips.csv", []
    for rows in ("000.wav,a,train\n001.wav,b,val", "000.wav,b,train\n001.wav,a,val", "000.wav,a,val\n001.wav,b,train"):
        table.write_text(f"file,kind,split\n{rows}\n")
        found.append(ready(plain(folder, labels=["kind"])).sha256)
    assert len(set(found)) == 3


# -- features in training


@pytest.mark.parametrize("batch_size", [1, 4])
def test_frames_are_those_of_the_window(folder: Path, batch_size: int) -> None:
    """The frame of a window's first symbol first, on a multiple of hop; then on in step with the symbols."""
    written = unique(folder, [500, 333, 100, 16, 1])
    mel = LogMel(**MEL)
    data = ready(plain(folder, features=mel, length=0.1, batch_size=batch_size), past=13)
    where = {value: (name, place) for name, clip in written.items() for place, value in enumerate(clip.tolist())}
    frames = {name: mel(clip) for name, clip in written.items()}
    for batch in data.train_dataloader():
        assert batch.context.features.dtype == torch.float32
        assert 16 * batch.context.features.shape[1] >= batch.x.shape[1]
        for x, mask, features in zip(batch.x, batch.mask, batch.context.features, strict=True):
            end = int(mask.nonzero().max()) + 1
            name, place = where[x[0].item()]
            assert place % 16 == 0
            count = -(-end // 16)
            torch.testing.assert_close(features[:count], frames[name][place // 16 :][:count], rtol=1e-4, atol=1e-4)
            behind = frames[name][place // 16 + count :][:1]
            expected = behind if len(behind) else frames[name][-1:]
            if len(features) > count:
                torch.testing.assert_close(features[count : count + 1], expected, rtol=1e-4, atol=1e-4)


def test_examples_are_the_first_two_seconds_with_their_labels(folder: Path) -> None:
    written = unique(folder, [2500, 30, 40, 2500, 40])
    (folder / "clips.csv").write_text(
        "file,kind,split\n000.wav,a,val\n001.wav,b,train\n002.wav,,val\n003.wav,a,val\n004.wav,,val\n"
    )
    data = ready(plain(folder, labels=["kind"], features=LogMel(**MEL)))
    chosen = [data.entries[place].path.name for place in data.parts["val"]]
    assert {len(written[name]) for name in chosen} == {2500, 40}  # one of either kind; the others calibrate
    found = data.examples(5)
    assert [clip.samples.tolist() for clip, _ in found] == [written[name][:2000].tolist() for name in chosen]
    assert [labels for _, labels in found] == [{"kind": "a"} if len(written[name]) == 2500 else {} for name in chosen]
    assert {clip.rate for clip, _ in found} == {RATE}
    assert len(data.examples(1)) == 1


# -- LogMel


@pytest.mark.parametrize("window", [16, 17, 40, 64])
def test_a_frame_for_every_hop(window: int) -> None:
    mel = LogMel(**{**MEL, "window": window, "mels": 2})
    for count in [1, 2, 15, 16, 17, 31, 32, 33, 47, 48, 49, 160]:
        frames = mel(tone(count / RATE))
        assert frames.shape == (-(-count // 16), 2)
        assert frames.dtype == torch.float32
        assert frames.isfinite().all()


@pytest.mark.parametrize("count", [1, 100, 160, 333])
def test_some_frames_are_the_same_as_among_all(count: int) -> None:
    mel, samples = LogMel(**MEL), np.random.default_rng(0).normal(0, 0.1, count).astype(np.float32)
    frames = mel(samples)
    for first in range(len(frames)):
        for last in range(first + 1, len(frames) + 3):
            torch.testing.assert_close(mel(samples, first, last), frames[first:last], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rate", "mels", "hop", "window", "low", "high"),
    [(16000, 80, 256, 1024, 0, None), (22050, 64, 300, 1024, 50, 8000), (8000, 40, 80, 400, 0, 4000)],
)
def test_agrees_with_librosa(rate: int, mels: int, hop: int, window: int, low: float, high: float | None) -> None:
    import librosa

    samples = np.random.default_rng(0).normal(0, 0.1, rate // 2).astype(np.float32)
    around = (window - hop) // 2
    spectrum = {"sr": rate, "n_fft": window, "hop_length": hop, "center": False, "power": 1.0}
    bands = {"n_mels": mels, "fmin": low, "fmax": high or rate / 2}
    expected = librosa.feature.melspectrogram(y=np.pad(samples, (around, window)), **spectrum, **bands)
    frames = LogMel(rate, mels, hop, window, low, high)(samples)
    torch.testing.assert_close(frames, torch.tensor(np.log(expected.T[: len(frames)])), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pitch", [200, 440, 1000, 3000, 6000])
def test_a_sine_lands_in_its_band(pitch: float) -> None:
    import librosa

    frames = LogMel()(tone(1, 16000, 0.5, pitch))
    edges = librosa.mel_frequencies(82, fmin=0, fmax=8000)
    (band,) = set(frames[5:-5].argmax(1).tolist())
    assert edges[band] < pitch < edges[band + 2]


def test_the_predictor_of_a_process_is_found() -> None:
    """A process of second order has the spectrum of its own predictor."""
    a, error = (1.6, -0.8), 0.3
    z = np.exp(-2j * np.pi * np.arange(2049) / 4096)
    power = torch.from_numpy(error * np.abs(1 - a[0] * z - a[1] * z**2) ** -2.0)[None]
    coefficients, found = linear_prediction(power, 6, 16000)
    np.testing.assert_allclose(coefficients[0].numpy(), [*a, 0, 0, 0, 0], atol=1e-3)
    assert float(found) == pytest.approx(error, rel=1e-3)


def test_predictors_solve_the_normal_equations_and_are_stable() -> None:
    power = np.random.default_rng(0).exponential(size=(5, 513)) ** 2
    coefficients, error = linear_prediction(torch.from_numpy(power), 40, 16000)
    r = np.fft.irfft(power)[:, :41] * np.exp(-0.5 * (2 * np.pi * 10 / 16000 * np.arange(41)) ** 2)
    r[:, 0] *= 1 + 1e-9
    for row, a, left in zip(r, coefficients.numpy(), error.tolist(), strict=True):
        np.testing.assert_allclose(a, linalg.solve_toeplitz(row[:-1], row[1:]), rtol=1e-6, atol=1e-9)
        assert left == pytest.approx(row[0] - a @ row[1:], rel=1e-6)
        assert np.abs(np.roots([1, *-a])).max() < 1


@pytest.mark.parametrize("loudness", [0.01, 1.0])
def test_frames_predict_the_samples_they_come_from(loudness: float) -> None:
    """The prediction error of a vowel is far below the vowel, and the gain three times its standard deviation."""
    random = np.random.default_rng(0)
    source = random.normal(0, 0.1, 16000)
    source[::100] += 1  # pulses, 160 a second
    x = signal.lfilter(
        [1], np.poly([0.97 * np.exp(2j * np.pi * f / 16000) for f in (600, -600, 1100, -1100)]).real, source
    )
    x = (loudness * x / np.abs(x).max()).astype(np.float32)
    mel = LogMel(prediction=32, mean=-5, deviation=2)
    frames = mel(x)
    assert frames.shape[1] == mel.size == 80 + 33
    torch.testing.assert_close(frames[:, :80], (mel.logarithms(x) + 5) / 2)
    past, values = torch.zeros(1, 32, dtype=torch.float64), torch.from_numpy(x[None, :-1].astype(float))
    predicted = predict(past, values, frames[None, :, 80:], 256, 0)
    error = (x - predicted.mean[0].numpy())[2000:-2000]
    assert np.std(error) < 0.1 * np.std(x)
    assert 0.7 < np.mean(error**2 / (predicted.gain[0].numpy()[2000:-2000] / 3) ** 2) < 1.5


def test_the_predictor_of_silence_is_finite() -> None:
    frames = LogMel(prediction=16)(np.zeros(1000, np.float32))
    assert frames.isfinite().all()
    assert frames[:, 80:-1].abs().max() < 0.1


def test_silence_is_the_floor() -> None:
    frames = LogMel(floor=1e-3)(np.zeros(1000, np.float32))
    assert (frames == np.log(np.float32(1e-3))).all()


@pytest.mark.parametrize(
    "change",
    [
        *({name: 0} for name in ("rate", "mels", "hop", "window")),
        *({"window": 255}, {"low": -1.0}, {"low": 9000.0}, {"high": 8001.0}, {"floor": 0.0}, {"floor": float("nan")}),
        *({"low": 500.0, "high": 500.0}, {"high": float("nan")}),
    ],
)
def test_bad_spectra_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(
        ValueError, match="expected rate, mels and hop of 1 or more, window >= hop, 0 <= low < high <= rate / 2"
    ):
        LogMel(**change)


def test_a_model_of_classes_reads_the_same_symbols(folder: Path) -> None:
    """Categorical, too: classes of windows are those of the file."""
    samples = np.random.default_rng(0).uniform(-1, 1, 500).astype(np.float32)
    saved(folder / "a.wav", samples)
    codec = MuLaw(RATE)
    data = ready(plain(folder, codec=codec, length=0.1), wavenet(Categorical(256)).receptive_field)
    whole = codec.encode(samples).tolist()
    for batch in data.train_dataloader():
        for x, mask in zip(batch.x, batch.mask, strict=True):
            text, part = ",".join(map(str, whole)), ",".join(map(str, x[: int(mask.nonzero().max()) + 1].tolist()))
            assert part in text
