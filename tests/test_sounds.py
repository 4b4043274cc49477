"""Models of sound from end to end: trained, sampled into files, continued, streamed, scored, drawn and resumed."""

import contextlib
import io
import itertools
import json
import math
import re
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import TRAINER, interrupt, last, rows, same, settings, train, weights

import seqgen
from seqgen.checkpoints import folder as checkpoint
from seqgen.cli.main import main
from seqgen.codecs import MuLaw
from seqgen.data.runs import open_data
from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen.models import WaveNet
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen.training import bundling, fit
from seqgen.training.run_folder import RunFolder

RATE = 500
DIGITS = ("one", "three", "two")
WAVENET = {"layers": 3, "blocks": 2, "residual": 4, "gate": 4, "skip": 8, "end": 8, "condition": 3}
REACH = 15  # the receptive field of that


@pytest.fixture(scope="module", autouse=True)
def small(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEQGEN_DEBUG", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")  # of the processes
        patch.setattr(RunFolder.__init__, "__defaults__", ("", 1, 10))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # so small are the models, that threads wait for one another most of the time
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips of 0.1 to 0.3 s, four of each digit."""
    folder, chance = tmp_path_factory.mktemp("data") / "clips", np.random.default_rng(0)
    folder.mkdir()
    for number, digit in enumerate(4 * DIGITS):
        time = np.arange(50 + 9 * number) / RATE
        sound = 0.4 * np.sin(2 * np.pi * (20 + 5 * number) * time) + 0.01 * chance.normal(size=len(time))
        soundfile.write(folder / f"{digit}_{number}.wav", sound, RATE)
    return folder


def described(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": arguments}


def settings_of(kind: str, clips: Path) -> dict[str, Any]:
    """A training on the clips: two steps and one validation, unless said otherwise."""
    model: dict[str, Any] = {"model": described("WaveNet", **WAVENET), "lr": 0.01, "warmup": 1}
    data = {"path": str(clips), "val": 2, "test": 2, "batch_size": 4, "length": 0.1}
    data |= {"labels": ["digit"], "pattern": "(?P<digit>[a-z]+)_", "codec": described("MuLaw", rate=RATE)}
    if kind == "ends":
        data["codec"] = described("MuLaw", rate=RATE, end=True)
    elif kind == "vocoder":
        data["features"] = described("LogMel", rate=RATE, mels=3, hop=20, window=50)
        model["model"]["init_args"] |= {"features": 3, "hop": 20}
    elif kind == "rnn":
        model["model"] = described("RNN", cell="gru", hidden=6)
    elif kind == "logistics":
        data["codec"], model["output"] = described("Waveform", rate=RATE, bits=16), described("DiscretizedLogistics")
    elif kind == "gaussians":
        data["codec"], model["output"] = described("Waveform", rate=RATE), described("Gaussians", mixtures=2)
    trainer = {"accelerator": "cpu", "max_steps": 2, "val_check_interval": 2}
    return {"model": model, "data": described("Audio", **data), "trainer": trainer}


KINDS = ("plain", "ends", "vocoder", "rnn", "logistics", "gaussians")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for kind in KINDS:
        assert train(folder / kind, settings_of(kind, clips)) == 0
    assert train(folder / "text", settings(folder, "text"), "--trainer.max_steps=2") == 0
    return {kind: folder / kind for kind in (*KINDS, "text")}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command prints on standard output, and on standard error."""

    def command(*arguments: Any) -> tuple[str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert status == 0, err
        return out, err

    return command


def pcm(path: Path) -> np.ndarray:
    """The 16-bit samples of a file of ours."""
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert samples.ndim == 1
    return samples


def png_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file that is whole."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])


# -- the run folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_writes_clips_at_every_validation(runs: dict[str, Path], kind: str) -> None:
    """As WAV, as PNG and to TensorBoard; of a vocoder, held-out clips made anew, beside the originals."""
    found = {path.name for path in (runs[kind] / "samples").iterdir()}
    (wave,) = [name for name in found if name.startswith("step-") and name.endswith(".wav")]
    assert re.fullmatch(rf"step-0000002-1-({'|'.join(DIGITS)})\.wav", wave)
    originals = {"original-1.wav"} if kind == "vocoder" else set()
    assert found == {wave, wave.replace(".wav", ".png"), *originals}
    samples = pcm(runs[kind] / "samples" / wave)
    height = 800 if kind == "vocoder" else 600  # with the spectrogram of the original
    assert png_size(runs[kind] / "samples" / wave.replace(".wav", ".png")) == (900, height)
    if originals:
        assert len(samples) == len(pcm(runs[kind] / "samples" / "original-1.wav"))
    elif kind == "ends":
        assert 0 < len(samples) <= RATE
    else:
        assert len(samples) == RATE
    events = EventAccumulator(str(runs[kind]), {"audio": 0, "images": 0})
    events.Reload()
    assert events.Tags()["audio"] == events.Tags()["images"] == ["sample 1"]
    (heard,) = events.Audio("sample 1")
    assert (heard.step, heard.sample_rate, heard.length_frames) == (2, RATE, len(samples))


def test_a_bundled_vocoder_comes_with_clips(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it makes of held-out ones; its card says what it makes of these."""
    monkeypatch.setattr(bundling, "training_command", lambda *names: "seqgen fit")
    monkeypatch.setattr(bundling, "COST", math.inf)  # of a model that has learnt nothing
    bundling.bundle(runs["vocoder"], "again", "speech/vocoder.yaml", tmp_path)
    examples = checkpoint.examples(tmp_path / "again")
    assert [path.name for path in examples] == ["clip.flac"]  # of the validation part
    made = seqgen.load(tmp_path / "again")
    data = open_data(made, runs["vocoder"])
    original, label = data.examples(1)[0]
    (expected,) = made.sample(condition=original, label=label, seed=0)
    np.testing.assert_allclose(audio.read(examples[0]).samples, expected.samples, atol=1 / 32000)
    assert list(bundling.samples("again", made, examples)) == made.provenance["samples"]
    card = (tmp_path / "again" / "card.md").read_text()
    assert "seqgen sample again --condition examples/clip.flac --seed 1 --out clip.wav" in card


def test_a_vocoder_makes_a_clip_of_its_own_label_anew(runs: dict[str, Path], clips: Path) -> None:
    (name,) = [path.stem for path in (runs["vocoder"] / "samples").glob("step-*.wav")]
    original = pcm(runs["vocoder"] / "samples" / "original-1.wav")
    same_length = [path for path in clips.iterdir() if len(pcm(path)) == len(original)]
    assert [path.name.split("_")[0] for path in same_length] == [name.split("-")[-1]]


def test_what_the_model_looks_back_on_is_said_before_training(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings_of("plain", clips)
    config["trainer"] |= {"max_steps": 1, "val_check_interval": 1}
    assert train(tmp_path / "run", config) == 0
    err = capsys.readouterr().err
    assert re.search(r"8 clips to train on, 0\.0 minutes; the model looks back on 15 symbols \(30 ms\); of the", err)
    assert re.search(r"of the positions in a batch \d\d\.\d% carry loss", err)


def test_a_label_with_a_slash_is_no_folder(tmp_path: Path, clips: Path) -> None:
    table = "file,voice\n" + "".join(f"{path},../en/us {path.name[0]}\n" for path in clips.iterdir())
    (tmp_path / "voices.csv").write_text(table)
    config = settings_of("plain", tmp_path / "voices.csv")
    config["data"]["init_args"] |= {"labels": ["voice"], "pattern": None}
    assert train(tmp_path / "run", config) == 0
    (wave,) = (tmp_path / "run" / "samples").glob("*.wav")
    assert re.fullmatch(r"step-0000002-1-\.\._en_us_[ot]", wave.stem)


def test_a_sample_that_fails_does_not_end_the_run(
    tmp_path: Path, clips: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers that feed on themselves may grow until they are none."""

    def diverged(*arguments: Any, **options: Any) -> Any:
        raise seqgen.SeqgenError("a parameter is not a number: the model has diverged")

    monkeypatch.setattr("seqgen.inference.generate.sample", diverged)
    assert train(tmp_path / "run", settings_of("gaussians", clips)) == 0
    assert "no sample 1 at step 2: a parameter is not a number" in capsys.readouterr().err
    assert last(tmp_path / "run")["global_step"] == 2


@pytest.mark.parametrize("kind", ["plain", "vocoder"])
def test_after_ctrl_c_a_resumed_run_is_the_same(tmp_path: Path, clips: Path, kind: str) -> None:
    """Weights, average, optimizer and rows, bit by bit, and the clips it writes."""
    config = settings_of(kind, clips)
    config["model"] |= {"ema": 0.9, "label_dropout": 0.4}
    config["trainer"] |= {"max_steps": 10, "val_check_interval": 5}
    for name, step in (("whole", None), ("cut", 7)):
        with pytest.MonkeyPatch.context() as patch:
            if step is not None:
                interrupt(patch, step)
            assert train(tmp_path / name, config) == (0 if step is None else 130)
    assert last(tmp_path / "cut")["global_step"] == 7
    assert fit.main(["--run", str(tmp_path / "cut"), "--resume"]) == 0
    one, other = last(tmp_path / "cut"), last(tmp_path / "whole")
    for what in ("global_step", "epoch", "state_dict", "optimizer_states", "lr_schedulers"):
        assert same(one[what], other[what]), what
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    folders = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "samples").glob("*.wav")}
        for name in ("cut", "whole")
    ]
    assert folders[0] == folders[1]
    assert len(folders[0]) == (3 if kind == "vocoder" else 2)


def test_a_resumed_run_wants_the_same_features(tmp_path: Path, clips: Path) -> None:
    config = settings_of("vocoder", clips)
    assert train(tmp_path / "run", config) == 0
    with pytest.raises(ValueError, match="cannot resume: features changed since the run was begun"):
        fit.main(["--run", str(tmp_path / "run"), "--resume", "--trainer.max_steps=4", "--data.features.window=40"])


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_validated_is_the_score_of_the_clips(runs: dict[str, Path], clips: Path, run: Any, kind: str) -> None:
    """evaluate agrees with the training, and so does the score of the held-out clips one by one."""
    totals = json.loads(run("evaluate", runs[kind], "--json")[0])
    pipeline = seqgen.load(runs[kind])
    assert totals["val"]["nats_per_symbol"] == pytest.approx(pipeline.provenance["val_nats"], rel=1e-4)
    from seqgen.data.runs import data_module, description

    data = data_module(description(runs[kind]))
    data.setup()
    held_out = [data.entries[place] for place in data.parts["val"]]
    scores = pipeline.score([entry.path for entry in held_out], label=[entry.labels[0] for entry in held_out])
    assert totals["val"]["nats"] == pytest.approx(sum(score.total.nats for score in scores), rel=1e-4)
    assert totals["val"]["seconds"] == pytest.approx(sum(score.total.units for score in scores))
    assert "bits/second" in run("evaluate", runs[kind])[0]


# -- sample


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_sample_writes_a_file(runs: dict[str, Path], tmp_path: Path, run: Any, suffix: str) -> None:
    out = tmp_path / f"clip.{suffix}"
    expected = audio.pcm(seqgen.load(runs["plain"]).sample(length=100, label="three", seed=3)[0].samples)
    for how in (["--length", 100], ["--seconds", 0.2]):
        said = run("sample", runs["plain"], *how, "--label", "three", "--seed", 3, "--out", out)
        assert said[0] == f"{out}\n"
        assert re.fullmatch(r"1 x 0\.20 s of sound in \d+\.\d\d s: [\d.e+]+ x real time \(compiled\)\n", said[1])
        assert np.array_equal(pcm(out), expected)
        out.unlink()


def test_ogg_is_written_too(runs: dict[str, Path], tmp_path: Path, run: Any) -> None:
    model = Pipeline(WaveNet(Categorical(256), **WAVENET), MuLaw(8000))
    model.save_pretrained(tmp_path / "model")
    run("sample", tmp_path / "model", "--length", 300, "--out", tmp_path / "clip.ogg")
    assert soundfile.info(tmp_path / "clip.ogg").frames == 300


def test_many_samples_are_numbered_and_drawn(runs: dict[str, Path], tmp_path: Path, run: Any) -> None:
    arguments = ["-n", 3, "--length", 90, "--seed", 5, "--out", tmp_path / "clip.wav", "--png", tmp_path / "look.png"]
    out, err = run("sample", runs["plain"], *arguments)
    assert out.split() == [str(tmp_path / f"clip-{number}.wav") for number in (1, 2, 3)]
    assert err.startswith("3 x 0.18 s of sound")
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {
        f"{name}-{number}.{end}" for name, end in (("clip", "wav"), ("look", "png")) for number in (1, 2, 3)
    }
    for clip, number in zip(seqgen.load(runs["plain"]).sample(3, length=90, seed=5), (1, 2, 3), strict=True):
        assert np.array_equal(pcm(tmp_path / f"clip-{number}.wav"), audio.pcm(clip.samples))
        assert png_size(tmp_path / f"look-{number}.png") == (900, 600)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_clip(
    runs: dict[str, Path], clips: Path, tmp_path: Path, run: Any, kind: str
) -> None:
    context = ["--condition", clips / "two_11.wav"] if kind == "vocoder" else []
    found = []
    for seed in (1, 1, 2):
        run("sample", runs[kind], "--length", 60, "--seed", seed, "--out", tmp_path / "clip.wav", *context)
        found.append(pcm(tmp_path / "clip.wav").tolist())
    assert found[0] == found[1] != found[2]
    assert 0 < len(found[0]) <= 60


def test_labels_and_temperature_reach_the_model(runs: dict[str, Path], tmp_path: Path, run: Any) -> None:
    found = []
    for options in ([], ["--label", "one"], ["--label", "digit=two"], ["--temperature", 0], ["--top-k", 2]):
        run("sample", runs["plain"], "--seed", 1, "--length", 200, "--out", tmp_path / "clip.wav", *options)
        found.append(tuple(pcm(tmp_path / "clip.wav")))
    assert len(set(found)) == 5


@pytest.mark.parametrize("kind", ["plain", "ends", "rnn", "gaussians"])
@pytest.mark.parametrize("rate", [RATE, 8000])
def test_a_prompt_is_continued(runs: dict[str, Path], tmp_path: Path, run: Any, kind: str, rate: int) -> None:
    """The clip begins with the prompt, as the codec hears it, and goes on for as long as is asked for."""
    prompt, out = tmp_path / "prompt.flac", tmp_path / "clip.wav"
    time = np.arange(rate // 5) / rate
    soundfile.write(prompt, np.stack([np.sin(2 * np.pi * 30 * time) / 2, 0 * time], 1), rate)
    run("sample", runs[kind], "--prompt", prompt, "--length", 40, "--seed", 1, "--out", out)
    codec = seqgen.load(runs[kind]).codec
    heard = audio.pcm(codec.decode(codec.encode(prompt)).samples)
    assert len(heard) == 100
    assert np.array_equal(pcm(out)[:100], heard)
    assert 100 < len(pcm(out)) <= 140
    run("sample", runs[kind], "--prompt", prompt, "--length", 0, "--out", out)
    assert np.array_equal(pcm(out), heard)


def test_sample_json(runs: dict[str, Path], tmp_path: Path, run: Any) -> None:
    out = tmp_path / "clip.wav"
    arguments = ["--seconds", 0.1, "-n", 2, "--label", "one", "--temperature", 0.5, "--out", out, "--json"]
    document = json.loads(run("sample", runs["plain"], *arguments)[0])
    seed = document.pop("seed")
    choices = {"prompt": None, "length": 50, "temperature": 0.5, "top_k": 0, "top_p": 1.0}
    files = [str(tmp_path / f"clip-{number}.wav") for number in (1, 2)]
    assert document == {**choices, "engine": "compiled", "label": "one", "files": files}
    again = seqgen.load(runs["plain"]).sample(2, length=50, label="one", temperature=0.5, seed=seed)
    assert np.array_equal(pcm(tmp_path / "clip-2.wav"), audio.pcm(again[1].samples))


@pytest.mark.parametrize("kind", ["plain", "ends", "vocoder", "gaussians"])
def test_stream_is_the_wav_as_raw_samples(
    runs: dict[str, Path], clips: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], kind: str
) -> None:
    condition = ["--condition", str(clips / "two_11.wav")] if kind == "vocoder" else []
    arguments = ["sample", str(runs[kind]), "--seed", "4", "--prompt", str(clips / "one_0.wav"), *condition]
    capsysbinary.readouterr()
    assert main([*arguments, "--length", "77", "--stream"]) == 0
    out, err = capsysbinary.readouterr()
    assert err == b"raw PCM: 16 bits, little-endian, mono, 500 Hz\n"
    assert main([*arguments, "--length", "77", "--out", str(tmp_path / "clip.wav")]) == 0
    assert np.array_equal(np.frombuffer(out, "<i2"), pcm(tmp_path / "clip.wav"))


def test_a_clip_that_ends_at_once_is_an_empty_wav(tmp_path: Path, run: Any) -> None:
    model = WaveNet(Categorical(257), **WAVENET)
    model.readout.bias.data[256] = 60
    Pipeline(model, MuLaw(RATE, end=True)).save_pretrained(tmp_path / "model")
    out, png = tmp_path / "clip.wav", tmp_path / "clip.png"
    _, err = run("sample", tmp_path / "model", "--out", out, "--png", png)
    assert len(pcm(out)) == 0
    assert f"{png}: not drawn, the clip is empty" in err
    assert not png.exists()


def test_a_vocoder_makes_a_clip_as_long_as_its_context(
    runs: dict[str, Path], clips: Path, tmp_path: Path, run: Any
) -> None:
    """Cut to the sound's own length, which the last frame goes beyond; with a prompt, what is left of it."""
    out, context = tmp_path / "clip.wav", clips / "three_7.wav"
    assert len(pcm(context)) == 113  # no multiple of hop, 20
    run("sample", runs["vocoder"], "--condition", context, "--out", out, "--seed", 1, "--png", tmp_path / "clip.png")
    assert len(pcm(out)) == 113
    assert png_size(tmp_path / "clip.png") == (900, 800)
    clip = seqgen.load(runs["vocoder"]).sample(condition=str(context), seed=1)[0]
    assert np.array_equal(pcm(out), audio.pcm(clip.samples))
    run("sample", runs["vocoder"], "--condition", clips / "two_11.wav", "--prompt", clips / "one_0.wav", "--out", out)
    assert len(pcm(out)) == len(pcm(clips / "two_11.wav")) == 149
    assert np.abs(pcm(out)[:50] - pcm(clips / "one_0.wav")).max() < 1000
    run("sample", runs["vocoder"], "--condition", context, "--out", out, "--seconds", 0.1)
    assert len(pcm(out)) == 50
    document = json.loads(run("sample", runs["vocoder"], "--condition", context, "--out", out, "--json")[0])
    assert (document["condition"], document["length"]) == (str(context), None)


# -- score


@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_files(runs: dict[str, Path], clips: Path, run: Any, kind: str) -> None:
    """Of several files, one by one and in total, they are what the pipeline says."""
    files, pipeline = [clips / "one_0.wav", clips / "two_11.wav"], seqgen.load(runs[kind])
    for options, choices in (
        ([], {}),
        (["--no-end"], {"end": False}),
        (["--label", "three"], {"label": "three"}),
        (["--prefix", clips / "three_1.wav"], {"prefix": clips / "three_1.wav"}),
    ):
        expected = pipeline.score(files, **choices)
        document = json.loads(run("score", runs[kind], *files, "--json", *options)[0])
        assert [item["file"] for item in document["items"]] == list(map(str, files))
        for item, score in zip(document["items"], expected, strict=True):
            assert item["log_probs"] == pytest.approx(score.log_probs.tolist(), abs=1e-6)
            assert len(item["log_probs"]) == item["total"]["symbols"]
            assert all(map(math.isfinite, item["log_probs"]))
            assert item["total"]["nats"] == pytest.approx(score.total.nats)
            assert item["total"]["bits_per_second"] == pytest.approx(score.total.nats / math.log(2) / score.total.units)
        assert [item["total"]["seconds"] for item in document["items"]] == pytest.approx([0.1, 149 / RATE])
        total = document["total"]
        assert total["nats"] == pytest.approx(sum(score.total.nats for score in expected))
        assert total["end_counted"] == (kind == "ends" and choices.get("end", True))
        assert total["symbols"] == 50 + 149 + 2 * total["end_counted"]
        lines = run("score", runs[kind], *files, *options)[0].splitlines()
        assert [float(line.split()[0]) for line in lines] == pytest.approx(
            [*(score.total.nats for score in expected), total["nats"]], abs=0.06
        )
        perplexity = "" if kind == "gaussians" else f" perplexity {expected[0].total.perplexity:8.3f}"
        assert lines[0].endswith(f"bits/second{perplexity}  {files[0]}")
        assert "total of 0.40 s" in lines[2]
        assert ("the end symbol" in lines[2]) == (kind == "ends")


def test_score_says_how_the_beginning_was_treated(runs: dict[str, Path], clips: Path, run: Any) -> None:
    file = clips / "one_0.wav"
    said = {kind: run("score", runs[kind], file)[0].splitlines()[-1] for kind in ("plain", "rnn")}
    assert re.search(
        r"the first 15 samples \(30 ms, the receptive field\) are counted, each given all samples before it",
        said["plain"],
    )
    assert said["rnn"].endswith("(the first sample follows the model's own initial state)")
    prefixed = run("score", runs["plain"], file, "--prefix", file)[0]
    assert prefixed.endswith(f"(the first sample follows {file}, of which no sample is counted)\n")
    document = json.loads(run("score", runs["plain"], file, "--json")[0])
    assert document["beginning"].startswith("the first 15 samples (30 ms")


def test_a_density_may_be_above_one(tmp_path: Path, clips: Path, run: Any) -> None:
    """Bits of numbers are those of a density, and may be negative."""
    from seqgen.codecs import Waveform
    from seqgen.outputs import Gaussians

    model = WaveNet(Gaussians(), **WAVENET)
    model.readout.weight.data.zero_()
    model.readout.bias.data = torch.tensor([0.0, -1.0])  # sigma 0.37
    Pipeline(model, Waveform(RATE)).save_pretrained(tmp_path)
    document = json.loads(run("score", tmp_path, clips / "one_0.wav", "--json")[0])
    samples = torch.from_numpy(audio.read(clips / "one_0.wav").samples)
    expected = torch.distributions.Normal(0.0, math.exp(-1) + 1e-3).log_prob(samples)
    assert document["items"][0]["log_probs"] == pytest.approx(expected.tolist(), abs=1e-5)
    quiet = tmp_path / "silence.wav"
    soundfile.write(quiet, np.zeros(50), RATE)
    assert json.loads(run("score", tmp_path, quiet, "--json")[0])["total"]["bits_per_symbol"] < 0


def test_score_of_a_file_named_by_file(runs: dict[str, Path], clips: Path, run: Any) -> None:
    file = clips / "one_0.wav"
    assert run("score", runs["plain"], "--file", file) == run("score", runs["plain"], file)


def test_a_long_sound_is_scored_in_constant_memory(tmp_path: Path) -> None:
    Pipeline(WaveNet(Categorical(4), **WAVENET), MuLaw(8000, bits=2)).save_pretrained(tmp_path / "model")
    peaks = []
    for seconds in (10, 120):  # the measure only grows, so the short one goes first
        soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).uniform(-1, 1, 8000 * seconds), 8000)
        with (tmp_path / "scores.json").open("w") as file, contextlib.redirect_stdout(file):
            assert main(["score", str(tmp_path / "model"), str(tmp_path / "long.wav"), "--json"]) == 0
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    assert peaks[1] < peaks[0] + 16  # MiB; the samples alone are 4, their JSON is 30
    with (tmp_path / "scores.json").open() as document:
        assert len(document.read()) > 960_000 * 10


# -- evaluate and info


def test_evaluate_of_other_sounds(runs: dict[str, Path], clips: Path, tmp_path: Path, run: Any) -> None:
    """A folder as the run reads its own, whatever split its table says; one file with the model alone."""
    table = "file,digit,split\n" + "".join(
        f"{clips / name},{name.split('_')[0]},{split}\n"
        for name, split in (("one_0.wav", "train"), ("two_11.wav", "test"))
    )
    (tmp_path / "some.csv").write_text(table)
    for kind in ("plain", "vocoder"):
        expected = seqgen.load(runs[kind]).score([clips / "one_0.wav", clips / "two_11.wav"], label=["one", "two"])
        found = json.loads(run("evaluate", runs[kind], "--data.path", tmp_path / "some.csv", "--json")[0])["file"]
        assert found["nats"] == pytest.approx(sum(score.total.nats for score in expected), rel=1e-5)
        assert found["symbols"] == 199
        found = json.loads(run("evaluate", runs[kind] / "model", "--data.path", clips / "one_0.wav", "--json")[0])
        assert found["file"]["nats"] == pytest.approx(seqgen.load(runs[kind]).score(clips / "one_0.wav").total.nats)


def test_info(runs: dict[str, Path], run: Any) -> None:
    facts = json.loads(run("info", runs["vocoder"], "--json")[0])
    assert facts["features"]["init_args"]["hop"] == 20
    assert facts["labels"] == {"digit": list(DIGITS)}
    assert "LogMel" in run("info", runs["vocoder"])[0]
    assert "LogMel" not in run("info", runs["plain"])[0]


# -- mistakes

MISTAKES = [
    ("sample plain", r"expected --out FILE, such as clip\.wav, or --stream"),
    ("sample plain --json", r"expected --out FILE, such as clip\.wav"),
    ("sample plain --out clip.mp4", r"'clip.mp4' cannot be written: its suffix is '.mp4', expected .wav, .flac"),
    ("sample plain --out clip", "its suffix is '', expected .wav"),
    ("sample plain --out gone/clip.wav", "'gone/clip.wav' cannot be written: there is no folder 'gone'"),
    ("sample plain --out clip.wav --png clip.jpg", "'clip.jpg' cannot be written: its suffix is '.jpg', expected .png"),
    ("sample plain --out clip.wav --png gone/clip.png", "there is no folder 'gone'"),
    ("sample plain --out clip.wav --seconds 1 --length 3", "got --seconds 1.0 and --length 3, expected one of them"),
    ("sample plain --out clip.wav --seconds -1", "seconds is -1.0, expected a number from 0"),
    ("sample plain --out clip.wav --seconds nan", "seconds is nan, expected a number from 0"),
    ("sample plain --out clip.wav --seconds inf", "seconds is inf, expected a number from 0"),
    ("sample plain --out clip.wav --length -1", "length is -1, expected a whole number of 0 or more"),
    ("sample plain --out clip.wav -n 0", "n is 0, expected a whole number of 1 or more"),
    ("sample plain --out clip.wav --label four", "no label digit=four; the model's labels are digit: one, three, two"),
    ("sample plain --out clip.wav --prompt gone.wav", r"'gone.wav' cannot be read: No such file or directory"),
    ("sample plain --out clip.wav --prompt noise.wav", r"'noise.wav' cannot be decoded: .*; expected an audio file"),
    ("sample plain --out clip.wav --prompt nan.wav", r"'nan.wav' cannot be used: sample 1 is nan"),
    ("sample plain --out clip.wav --prompt .", r"'.' cannot be read: Is a directory"),
    (
        "sample plain --out clip.wav --condition one.wav",
        "got a sound to be conditioned on, expected none: the model",
    ),
    ("sample vocoder --out clip.wav", "got no sound to be conditioned on, expected one: the model needs features"),
    ("sample vocoder --out clip.wav --condition gone.wav", "'gone.wav' cannot be read"),
    (
        "sample vocoder --out clip.wav --condition one.wav --seconds 3",
        "prompt of 0 symbols and 1500 to be drawn",
    ),
    (
        "sample vocoder --out clip.wav --condition one.wav --prompt long.wav",
        "prompt of 600 symbols and 0 to be",
    ),
    ("sample gaussians --out clip.wav --top-k 3", "top_k is 3, expected 0: a mixture has a temperature only"),
    ("sample gaussians --out clip.wav --top-p 0.5", "top_p is 0.5, expected 1.0"),
    ("sample plain --stream --out clip.wav", "--stream writes one sample to standard output, without -n, --out, --png"),
    ("sample plain --stream -n 2", "--stream writes one sample"),
    ("sample plain --stream --json", "--stream writes one sample"),
    ("sample plain --stream --png clip.png", "--stream writes one sample"),
    ("sample plain --stream --label four", "no label digit=four"),
    ("sample vocoder --stream", "got no sound to be conditioned on, expected one: the model needs features"),
    ("sample text --seconds 0", "--seconds does not go with models of text"),
    ("sample text --condition one.wav", "--condition does not go with models of text"),
    ("sample text --png clip.png", "--png does not go with models of text"),
    ("sample text --stream", "--stream does not go with models of text"),
    ("score plain", "expected items to score, or --file FILE, and not both"),
    ("score plain gone.wav", "'gone.wav' cannot be read: No such file or directory; expected an audio file"),
    ("score plain gone.wav --json", "'gone.wav' cannot be read"),
    ("score plain nan.wav", "'nan.wav' cannot be used: sample 1 is nan"),
    ("score plain empty.wav", "'empty.wav' holds no samples, expected at least one"),
    ("score plain short.wav", "short.wav: there is nothing to score"),
    ("score plain one.wav --label four", "no label digit=four"),
    ("score plain one.wav --prefix gone.wav", "'gone.wav' cannot be read"),
    ("score plain one.wav --encoding utf-8", "--encoding is that of a --file"),
    ("score vocoder noise.wav", "'noise.wav' cannot be decoded"),
    (
        "evaluate plain --data.path one.wav --data.encoding utf-8",
        "takes no encoding",
    ),
    ("evaluate plain/model --data.path gone.wav", "'gone.wav' cannot be read"),
    ("evaluate plain --data.path gone", "no file or folder 'gone'; expected sound files"),
    ("evaluate plain --data.path nan.wav", "nan.wav does not match pattern="),
]


@pytest.fixture(scope="module")
def mistaken(runs: dict[str, Path]) -> Path:
    folder = runs["plain"].parent
    for name, samples, rate in (
        ("one", np.zeros(50), RATE),
        ("long", np.zeros(600), RATE),
        ("nan", np.array([0, np.nan]), RATE),
        ("empty", np.zeros(0), RATE),
        ("short", np.zeros(3), 48_000),
    ):
        soundfile.write(folder / f"{name}.wav", samples, rate, "FLOAT")
    (folder / "noise.wav").write_bytes(bytes(range(256)))
    return folder


@pytest.mark.parametrize(("command", "expected"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_one_line_and_writes_nothing(
    mistaken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, expected: str
) -> None:
    """And is found before anything is sampled."""
    monkeypatch.chdir(mistaken)
    monkeypatch.setattr("seqgen.models.wavenet.WaveNet._single", lambda *arguments: pytest.fail("it was sampled"))
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    assert main(command.split()) == 1
    out, err = capsys.readouterr()
    assert (out == "") or (not command.endswith("--json") and command.startswith("score plain one.wav"))
    assert err.startswith("seqgen: ")
    assert err.count("\n") == 1
    assert re.search(expected, err), err
    assert sorted(Path().rglob("*")) == before


def test_a_bad_file_does_not_end_the_others(
    mistaken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mistaken)
    capsys.readouterr()
    assert main(["score", "plain", "one.wav", "noise.wav", "one.wav", "--json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [item["file"] for item in document["items"]] == ["one.wav", "one.wav"]
    assert document["total"]["symbols"] == 100
    assert "'noise.wav' cannot be decoded" in document["not_scored"][0]
    assert err.splitlines()[-1].startswith("seqgen: 1 of 3 items could not be scored")


TRAINING_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no output for numbers": ({"output": None, "data": {"codec": described("Waveform", rate=RATE)}}, "Gaussians"),
    "numbers for classes": (
        {"output": described("Gaussians")},
        "vocabulary has 256 symbols and the model.s output num",
    ),
    "other features": (
        {"data": {"features": described("LogMel", rate=RATE, mels=4, hop=20, window=50)}},
        "the model takes 0 features for every 1 symbols, got 4 features for every 20 symbols, expected the same",
    ),
    "text": ({"data": {"path": __file__, "pattern": None, "labels": None}}, "test_sounds.py' cannot be decoded"),
    "all held out": ({"data": {"val": 12}}, r"held-out shares \[12.0, 2.0\] leave nothing of 12 to train on"),
    "nothing to validate on": ({"data": {"val": 0}}, "leaves nothing to validate on"),
}


@pytest.mark.parametrize("kind", TRAINING_MISTAKES)
def test_what_cannot_be_trained_is_one_line(
    tmp_path: Path, clips: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    change, expected = TRAINING_MISTAKES[kind]
    config = settings_of("plain", clips)
    config["data"]["init_args"] |= change.get("data", {})
    config["model"]["output"] = change.get("output")
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    capsys.readouterr()
    arguments = ["--config", str(TRAINER), "--config", str(tmp_path / "c.yaml"), "--run", str(tmp_path / "run")]
    assert main(["fit", *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert re.search(expected, err), err


def test_ctrl_c_leaves_no_file(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    single, steps = WaveNet._single, itertools.count()

    def interrupted(*arguments: Any) -> Any:
        if next(steps) == 20:
            signal.raise_signal(signal.SIGINT)
        return single(*arguments)

    monkeypatch.setattr(WaveNet, "_single", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a shell
    try:
        assert main(["sample", str(runs["plain"]), "--engine", "plain", "--out", str(tmp_path / "clip.wav")]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Traceback" not in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


# -- the real process


def real(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "seqgen.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)


def test_the_program_streams_and_its_reader_may_leave(runs: dict[str, Path], tmp_path: Path) -> None:
    done = real("sample", runs["plain"], "--seed", 1, "--length", 150, "--stream")
    assert (done.returncode, len(done.stdout)) == (0, 300)
    expected = seqgen.load(runs["plain"]).sample(seed=1, length=150)[0]
    assert np.array_equal(np.frombuffer(done.stdout, "<i2"), audio.pcm(expected.samples))
    command = [sys.executable, "-m", "seqgen.cli", "sample", str(runs["plain"]), "--seconds", "10000", "--stream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert len(process.stdout.read(20)) == 20  # long before it is done
    process.stdout.close()
    assert process.wait(timeout=300) == 0
    assert process.stderr.read() == b"raw PCM: 16 bits, little-endian, mono, 500 Hz\n"
    process.stderr.close()


def test_the_program_fits_samples_and_scores(clips: Path, tmp_path: Path) -> None:
    """In processes of their own, warnings and all: standard error holds nothing but what it should."""
    (tmp_path / "ends.yaml").write_text(json.dumps(settings_of("ends", clips)))
    done = real("fit", "--config", TRAINER, "--config", "ends.yaml", "--run", "run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith("8 clips to train on")
    assert lines[-1].startswith("run: best ")
    assert all(line.startswith("step ") for line in lines[1:-1]), lines
    drawn = ["sample", "run", "--seconds", "0.2", "--out", "c.wav", "--png", "c.png", "--label", "one"]
    program = f"from seqgen.cli.main import main; print(*map(main, [{drawn}, ['score', 'run', 'c.wav', '--json']]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, cwd=tmp_path)
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert done.stdout.startswith(b"c.wav\n{")
    assert done.stdout.endswith(b"}\n0 0\n")
    assert png_size(tmp_path / "c.png") == (900, 600)
    document = json.loads(done.stdout[len("c.wav\n") : -len("0 0\n")])
    assert document["total"]["symbols"] == len(pcm(tmp_path / "c.wav")) + 1


def test_a_terminal_sees_a_bar(runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    out = str(tmp_path / "clip.wav")
    assert main(["sample", str(runs["plain"]), "--seconds", "8", "--engine", "plain", "--out", out]) == 0
    assert re.search(r"\| \d+/4000 \[.*symbol/s", terminal.getvalue())
    assert re.search(r"1 x 8.00 s of sound in .* s: .* x real time \(plain loop, as asked for\)\n", terminal.getvalue())


def test_a_clip_in_memory_can_be_scored_and_drawn_as_the_file(runs: dict[str, Path], clips: Path) -> None:
    from seqgen.modalities.sound import surprise

    pipeline, file = seqgen.load(runs["vocoder"]), clips / "one_0.wav"
    bits = surprise(pipeline, audio.read(file))
    assert bits == pytest.approx((-pipeline.score(file, end=False).log_probs / math.log(2)).numpy())
    with pytest.raises(ValueError, match="the clip is empty: there is nothing to draw"):
        surprise(pipeline, Clip(np.zeros(0, np.float32), RATE))
