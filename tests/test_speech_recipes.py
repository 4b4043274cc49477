"""The programs of recipes/speech that measure: the classifier of clips, and the figures of a vocoder."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from seqgen.checkpoints.folder import CheckpointError
from seqgen.codecs import MuLaw
from seqgen.config import describe
from seqgen.data.runs import data_module
from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen.media.mel import LogMel
from seqgen.models import WaveNet
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen_recipes.speech import recognise, vocoder
from seqgen_recipes.speech.mfcc import KernelMachine

RATE = 8000
FRAMES = LogMel(RATE, mels=20, hop=80, window=320, floor=1e-7)


def tone(pitch: float, seconds: float, amplitude: float = 0.3) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def tones(seed: int, count: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Clips of about 400 Hz, class 0, and about 1,200 Hz, class 1, of different lengths and loudness."""
    chance = np.random.default_rng(seed)
    classes = np.arange(count) % 2
    draw = [(chance.uniform(0.9, 1.1), chance.uniform(0.1, 0.3), chance.uniform(0.01, 0.9)) for _ in classes]
    return [tone((400, 1200)[kind] * about, *rest) for kind, (about, *rest) in zip(classes, draw, strict=True)], classes


def noise(seconds: float = 0.5, seed: int = 0) -> Clip:
    return Clip(np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE)).astype(np.float32), RATE)


# -- the classifier


@pytest.fixture(scope="module")
def recogniser() -> recognise.Recogniser:
    return recognise.train(*tones(0, 32), RATE, count=2, seed=3, epochs=6)


def test_two_tones_are_told_apart(recogniser: recognise.Recogniser) -> None:
    clips, classes = tones(1, 20)
    assert np.array_equal(recogniser.classify(clips), classes)


def test_the_second_classifier_tells_two_tones_apart() -> None:
    """However loud they are and whatever silence there is around them; and it has a class for any clip."""
    second = KernelMachine(*tones(0, 32), RATE, count=2)
    clips, classes = tones(1, 20)
    assert np.array_equal(second.classify(clips), classes)
    assert np.array_equal(second.classify([np.pad(clip / 8, 400) for clip in clips]), classes)
    assert set(second.classify([np.zeros(count, np.float32) for count in (0, 1, 50)])) <= {0, 1}


def test_faults_and_classes() -> None:
    clips = [tone(400, 0.1), tone(400, 0.2), tone(400, 0.2, 0.01), np.zeros(0, np.float32)]
    assert recognise.faults(clips, RATE) == "2 shorter than 0.15 s, 2 below -40 dB RMS"
    requested = recognise.balanced_labels({"digit": ["0", "1"], "speaker": ["a", "b"]}, 4)
    lines = recognise.by_class(np.array([True, False, True, True]), requested)
    assert list(lines) == ["by speaker: a 50%, b 100%"]


def test_teaching_is_reproducible() -> None:
    """And leaves the global generator alone."""
    state = torch.get_rng_state()
    one, same, other = (recognise.train(*tones(0, 8), RATE, 2, seed, epochs=1).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_loudness_plays_no_part(recogniser: recognise.Recogniser) -> None:
    clip = noise().samples
    torch.testing.assert_close(recogniser.features(clip), recogniser.features(clip / 8), rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 50])
def test_any_clip_is_classified(recogniser: recognise.Recogniser, count: int) -> None:
    """What a model samples may be silent or have no samples at all."""
    assert recogniser.features(np.zeros(count, np.float32)).count_nonzero() == 0
    assert recogniser.classify([np.zeros(count, np.float32)])[0] in (0, 1)


def test_varied_clips() -> None:
    """Neither much longer nor louder, always finite, and never twice the same."""
    chance, clip = np.random.default_rng(0), tone(400, 0.2, amplitude=0.5)
    varied = [recognise.augmented(clip, RATE, chance) for _ in range(50)]
    for one in varied:
        assert 0.9 * len(clip) / 1.01 <= len(one) <= len(clip) / 0.9 + 2 * recognise.MARGIN * RATE + 1
        assert np.isfinite(one).all()
        assert np.abs(one).max() < 1.5
    assert len({one.tobytes() for one in varied}) == len(varied)


def test_requests() -> None:
    """Each digit equally often; every digit by the same speakers, who take turns."""
    labels = {"speaker": ["a", "b", "c"], "digit": ["0", "1"]}
    asked = recognise.balanced_labels(labels, 8)
    assert [one["digit"] for one in asked] == ["0", "1"] * 4
    assert [one["speaker"] for one in asked] == ["a", "a", "b", "b", "c", "c", "a", "a"]


@pytest.mark.parametrize(("labels", "count"), [({}, 10), ({"speaker": ["a"]}, 10), ({"digit": ["0", "1"]}, 5)])
def test_requests_that_cannot_be_met(labels: dict[str, list[str]], count: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        recognise.balanced_labels(labels, count)


def test_confusions() -> None:
    table = recognise.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert table.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert recognise.as_text(table, ["0", "1", "2"]).splitlines()[1].split() == ["0", "1", "1", "."]


# -- a vocoder's figures


def test_a_clip_is_no_distance_from_itself() -> None:
    clip = noise()
    figures = vocoder.measure(clip, clip, FRAMES)
    assert figures.distance == 0
    assert math.isnan(figures.stoi) or figures.stoi == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("decibels", [-6, 3, 20])
def test_distance_of_a_gain_is_the_gain(decibels: float) -> None:
    clip = noise().samples
    assert vocoder.distance(clip, clip * 10 ** (decibels / 20), FRAMES) == pytest.approx(abs(decibels), abs=1e-3)


def test_optional_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocoder, "installed", lambda package: False)
    assert math.isnan(vocoder.pesq(noise(), noise()))
    assert math.isnan(vocoder.stoi(noise(), noise()))


def test_what_has_no_figure() -> None:
    """Too short, or silent: not a number, and neither an error nor a warning."""
    short, silent = noise(0.05), Clip(np.zeros(RATE, np.float32), RATE)
    assert all(math.isnan(vocoder.pesq(clip, clip)) for clip in (short, silent))
    assert math.isnan(vocoder.stoi(short, short))


def test_means_leave_out_what_is_missing() -> None:
    rows = [vocoder.Figures(1, math.nan, math.nan), vocoder.Figures(3, 2, math.nan)]
    assert vocoder.table("model", rows).splitlines()[-1].split("mean: ")[1] == vocoder.as_text(
        vocoder.Figures(2, 2, math.nan)
    )


@pytest.mark.parametrize("frames", [LogMel(16000), LogMel(RATE, mels=40, hop=100, window=400)])
def test_griffin_lim_comes_near(frames: LogMel) -> None:
    """In its mel bands and in length; and in time, for a click stays where it is."""
    chance, count = np.random.default_rng(0), frames.rate + 37
    hiss = chance.normal(0, 0.1, count).astype(np.float32)
    made = vocoder.from_bands(hiss, frames)
    assert made.shape == hiss.shape
    assert vocoder.distance(hiss, made, frames) < 1.5
    click = chance.normal(0, 1e-4, count).astype(np.float32)
    click[frames.rate // 2] = 0.5
    energy = vocoder.from_bands(click, frames) ** 2
    centre = np.average(np.arange(count), weights=energy)
    assert centre == pytest.approx(frames.rate / 2, abs=frames.hop / 8)


# -- both, on a run


def untrained(folder: Path, features: LogMel | None = None) -> Path:
    """A run folder with an untrained model; its corpus are tones by two speakers."""
    folder.mkdir()
    for number, (clip, digit) in enumerate(zip(*tones(0, 40), strict=True)):
        soundfile.write(folder / f"{digit}_{'ab'[number // 2 % 2]}_{number}.wav", clip, RATE)
    codec = MuLaw(RATE, end=features is None)
    arguments = {"path": str(folder), "pattern": "(?P<digit>.)_(?P<speaker>.)_", "labels": ["digit", "speaker"]}
    arguments |= {"val": 0.2, "test": 0.2, "codec": describe(codec)}
    local = {} if features is None else {"features": features.mels, "hop": features.hop}
    if features is not None:
        arguments["features"] = describe(features)
    description = {"class_path": "Audio", "init_args": arguments}
    data = data_module(description)
    data.setup()
    torch.manual_seed(0)
    model = WaveNet(Categorical(256 + (features is None)), [2, 2], 2, 1, residual=4, gate=4, skip=4, end=4, **local)
    run = folder.with_name("run")
    run.mkdir()
    (run / "config.yaml").write_text(json.dumps({"data": description}))
    provenance = {"data_sha256": data.sha256}
    Pipeline(model, codec, data.labels, provenance, features).save_pretrained(run / "model")
    return run


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a program prints that is called with arguments."""

    def call(program: ModuleType, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["program", *map(str, arguments)])
        program.main()
        return capsys.readouterr().out

    return call


@pytest.mark.filterwarnings("ignore::DeprecationWarning:seqgen.training.fit")
def test_recognise(tmp_path: Path, said: Callable[..., str]) -> None:
    """Figures and clips of a run; other data than the run's is refused."""
    run, out = untrained(tmp_path / "tones"), tmp_path / "out"
    printed = said(recognise, run, "--clips", 4, "--out", out, "--second")
    assert "sampled clips, second classifier: " in printed
    assert "real test clips: 100.0% of 8 are recognised" in printed
    assert "sampled clips: " in printed
    assert [path.name[:8] for path in sorted(out.iterdir())] == ["000_0_a_", "001_1_a_", "002_0_b_", "003_1_b_"]
    (tmp_path / "tones" / "0_a_0.wav").unlink()
    with pytest.raises(CheckpointError, match="changed since it was trained: which part was held out"):
        said(recognise, run, "--clips", 4)
    with pytest.raises(ValueError, match="expected a vocoder"):
        said(vocoder, run)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:seqgen.training.fit")
def test_vocoder(tmp_path: Path, said: Callable[..., str]) -> None:
    """Figures of held-out clips, cut, each with its own labels; also where PESQ and STOI cannot be told."""
    run, out = untrained(tmp_path / "tones", FRAMES), tmp_path / "out"
    printed = said(vocoder, run, "--clips", 2, "--seconds", 0.105, "--out", out)
    assert [line.split()[0] for line in printed.splitlines()[:9]] == [
        *["model"] * 3,
        *["Griffin-Lim"] * 3,
        *["codec"] * 3,
    ]
    for kind in ("original", "model", "Griffin-Lim", "codec"):
        assert [len(audio.read(out / f"{number}_{kind}.wav").samples) for number in (1, 2)] == [840, 840]
    with pytest.raises(ValueError, match="expected 1 to 16 held-out clips"):
        said(vocoder, run, "--clips", 17)


def test_a_run_without_its_config(tmp_path: Path) -> None:
    pipeline = Pipeline(WaveNet(Categorical(256), layers=1, blocks=1), MuLaw(RATE))
    with pytest.raises(CheckpointError, match="expected a run folder"):
        recognise.open_clips(tmp_path, pipeline)
