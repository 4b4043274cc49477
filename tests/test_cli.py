"""The command line: what it prints and where, its exit status, and one line for every mistake."""

import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from tiny import PROSE, TRAINER, WORDS, settings, train

import seqgen
from seqgen.cli.main import main, plainly
from seqgen.codecs import Chars
from seqgen.config import SeqgenError
from seqgen.models import RNN
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline
from seqgen.training.run_folder import RunFolder


@pytest.fixture(scope="module", autouse=True)
def small(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEQGEN_DEBUG", raising=False)
        patch.setattr(RunFolder.__init__, "__defaults__", ("", 2, 10))
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run on each of: one long text, names, names with a label."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("text", "names", "table"):
        config = settings(folder, kind)
        config["data"]["init_args"].pop("weight", None)
        assert train(folder / kind, config, "--trainer.max_steps=6") == 0
    return {kind: folder / kind for kind in ("text", "names", "table")}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def command(*arguments: Any) -> str:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 0
        out, err = capsys.readouterr()
        assert all(line.startswith("note: ") for line in err.splitlines()), err
        return out

    return command


def real(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "seqgen.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


# -- help


def test_help_imports_neither_torch_nor_lightning() -> None:
    program = "import sys; from seqgen.cli.main import main\ntry: main({})\nfinally: print(*sys.modules)"
    for arguments in (["--help"], ["sample", "--help"], ["--version"], ["score"]):
        done = subprocess.run(
            [sys.executable, "-c", program.format(arguments)], capture_output=True, text=True, check=False
        )
        assert done.returncode == (2 if arguments == ["score"] else 0)
        assert not {"torch", "numpy", "lightning", "jsonargparse"} & set(done.stdout.splitlines()[-1].split())
    assert seqgen.__version__ in real("--version").stdout


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("fit", "sample", "score", "evaluate", "app", "info"):
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        assert f"usage: seqgen {command}" in capsys.readouterr().out


# -- what they print


def test_sample(run: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    names = ["sample", runs["names"], "--seed", 3, "--length", 12]
    texts = seqgen.load(runs["names"]).sample(4, seed=3, length=12)
    assert run(*names, "-n", 4) == "\n".join(texts) + "\n"
    assert run(*names) == seqgen.load(runs["names"]).sample(seed=3, length=12)[0] + "\n"  # streamed
    assert run(*names, "-n", 4, "--out", tmp_path / "out.txt") == f"{tmp_path / 'out.txt'}\n"
    assert (tmp_path / "out.txt").read_text() == "\n".join(texts) + "\n"
    document = json.loads(run(*names, "-n", 4, "--json", "--temperature", 0.5, "--top-k", 3, "--top-p", 0.9))
    choices = {"temperature": 0.5, "top_k": 3, "top_p": 0.9, "seed": 3, "length": 12}
    assert document.pop("samples") == seqgen.load(runs["names"]).sample(4, **choices)
    assert document == {**choices, "prompt": None, "engine": "compiled", "label": None}
    assert run(*names, "--prompt", "ab", "-n", 2).splitlines() == seqgen.load(runs["names"]).sample(
        2, prompt="ab", seed=3, length=12
    )


def test_sample_of_a_long_text_and_with_labels(run: Any, runs: dict[str, Path]) -> None:
    out = run("sample", runs["text"] / "model", "-n", 2, "--seed", 0, "--length", 60, "--temperature", 1)
    first, second = out.removesuffix("\n").split("\n" + "-" * 40 + "\n")
    assert [first, second] == seqgen.load(runs["text"]).sample(2, seed=0, length=60)
    for said in ("F", "sex=F"):
        label = {"sex": "F"}
        drawn = run("sample", runs["table"], "--label", said, "--seed", 1, "-n", 3, "--length", 9)
        assert drawn.splitlines() == seqgen.load(runs["table"]).sample(3, label=label, seed=1, length=9)
    assert run("sample", runs["text"], "--length", 0, "--prompt", "ab") == "ab\n"


def test_score(run: Any, runs: dict[str, Path]) -> None:
    pipeline = seqgen.load(runs["table"])
    for options, choices in (
        ([], {}),
        (["--no-end"], {"end": False}),
        (["--prefix", "ab", "--label", "M"], {"prefix": "ab", "label": "M"}),
    ):
        expected = pipeline.score(["abc", "dd"], **choices)
        document = json.loads(run("score", runs["table"], "abc", "dd", "--json", *options))
        assert document["items"] == [
            {"text": text, **one.as_dict()} for text, one in zip(["abc", "dd"], expected, strict=True)
        ]
        assert document["total"]["nats"] == pytest.approx(sum(one.total.nats for one in expected))
        assert document["total"]["end_counted"] == choices.get("end", True)
        lines = run("score", runs["table"], "abc", "dd", *options).splitlines()
        assert [float(line.split()[0]) for line in lines[:2]] == [
            pytest.approx(-s.log_prob, abs=1e-3) for s in expected
        ]
        assert lines[2].endswith("the end symbol " + ("not counted" if "--no-end" in options else "counted"))


def test_score_of_a_file(run: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes("\r\n\r\n".join(WORDS).encode("utf-16"))
    file = ["--file", path, "--encoding", "utf-16", "--json"]
    document = json.loads(run("score", runs["names"], *file))
    expected = seqgen.load(runs["names"]).score(WORDS)
    assert [item["text"] for item in document["items"]] == WORDS
    assert [item["nats"] for item in document["items"]] == pytest.approx([one.total.nats for one in expected])
    assert document["total"]["symbols"] == sum(map(len, WORDS)) + len(WORDS)
    path.write_text(PROSE * 5)
    document = json.loads(run("score", runs["text"], "--file", path, "--json"))
    total = seqgen.load(runs["text"]).score(PROSE * 5).total
    assert [item["text"] for item in document["items"]] == [str(path)]
    assert "per_symbol" not in document["items"][0]
    assert document["total"]["nats"] == pytest.approx(total.nats, rel=1e-9)
    assert document["total"]["characters"] == document["total"]["symbols"] == 5 * len(PROSE)
    (line,) = run("score", runs["text"], "--file", path).splitlines()  # one item: no line of totals
    assert f"{total.bits_per_symbol:.4f} bits/symbol" in line
    assert "the first characters have no left context" in line


def test_a_file_is_scored_in_constant_memory(run: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    peaks = []
    for times in (20, 250):  # the measure only grows, so the small file goes first
        path.write_text(PROSE * times)
        symbols = json.loads(run("score", runs["text"], "--file", path, "--json"))["total"]["symbols"]
        assert symbols == path.stat().st_size
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
    assert peaks[1] < peaks[0] + 24  # MiB


def test_evaluate_agrees_with_the_training(run: Any, runs: dict[str, Path]) -> None:
    for kind in ("text", "names", "table"):
        totals = json.loads(run("evaluate", runs[kind], "--json"))
        parts = ["val", "calibration", "test", "held out"]
        assert list(totals) == parts
        provenance = seqgen.load(runs[kind]).provenance
        assert totals["val"]["nats_per_symbol"] == pytest.approx(provenance["val_nats"], rel=1e-5)
        assert totals["val"]["bits_per_symbol"] == pytest.approx(provenance["val_bits"], rel=1e-5)
        for key in ("nats", "symbols", "characters"):
            assert totals["held out"][key] == pytest.approx(sum(totals[part][key] for part in parts[:3]))
        lines = run("evaluate", runs[kind]).splitlines()
        assert [line.split("  ")[-1].split(",")[0] for line in lines] == parts
        assert f"{provenance['val_nats']:.3f}"[:-1] in lines[0]


def test_evaluate_of_another_file(run: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("\n".join(WORDS))
    expected = sum(score.total.nats for score in seqgen.load(runs["names"]).score(WORDS))
    for where in (runs["names"] / "model", runs["names"]):
        totals = json.loads(run("evaluate", where, "--data.path", path, "--json"))
        assert set(totals) == {"file"}
        assert totals["file"]["nats"] == pytest.approx(expected)
    path.write_text("abc\n", encoding="utf-16")
    totals = json.loads(run("evaluate", runs["names"], "--data.path", path, "--data.encoding=utf-16", "--json"))
    assert totals["file"]["nats"] == pytest.approx(-seqgen.load(runs["names"]).score("abc").log_prob)


def test_evaluate_reads_another_table_as_the_run_reads_its_own(run: Any, runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("sex\tname\nM\tabc\nF\tdefg\n")  # columns in another order, and two items are enough
    model = seqgen.load(runs["table"])
    expected = model.score("abc", label="M").total + model.score("defg", label="F").total
    totals = json.loads(run("evaluate", runs["table"], "--data.path", path, "--json"))
    assert totals["file"]["nats"] == pytest.approx(expected.nats)
    assert totals["file"]["symbols"] == expected.symbols == 9
    path.write_text("sex\tname\nX\tabc\n")
    assert main(["evaluate", str(runs["table"]), "--data.path", str(path)]) == 1


def test_a_bad_line_does_not_end_the_others(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "names.txt"
    path.write_text("abc\n" * 3000 + "ab?\n")
    capsys.readouterr()
    wrong = r"names.txt, line 3001: character '\?' \(U\+003F\) at position 2 is not in the alphabet"
    assert main(["score", str(runs["names"]), "--file", str(path), "--json"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert len(document["items"]) == 3000
    assert re.search(wrong, document["not_scored"][0])
    assert re.search(rf"^not scored: .*{wrong}", err)
    assert err.splitlines()[-1].startswith("seqgen: 1 of 3001 items could not be scored")
    assert "--unknown skip" in err.splitlines()[-1]
    assert main(["score", str(runs["names"]), "--file", str(path), "--unknown", "skip"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3001
    assert re.search(rf"^skipped: .*{wrong}", err)
    assert main(["score", str(runs["names"]), "abc", "--unknown", "count"]) == 1
    assert "the model has no unknown symbol; expected skip or error" in capsys.readouterr().err


def test_evaluate_skips_what_has_no_symbol_or_names_its_line(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.txt"
    path.write_text("abc\nZoë\ncab\n")
    expected = sum(score.total.nats for score in seqgen.load(runs["names"]).score(["abc", "cab"]))
    for where in (runs["names"], runs["names"] / "model"):
        capsys.readouterr()
        assert main(["evaluate", str(where), "--data.path", str(path)]) == 1
        err = capsys.readouterr().err
        assert re.search(r"^seqgen: .*other.txt, line 2: character 'Z'", err)
        assert err.count("\n") == 1
        assert "--" not in err
        assert main(["evaluate", str(where), "--data.path", str(path), "--unknown", "skip", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["file"]["nats"] == pytest.approx(expected)
        assert len(found["skipped"]) == 1
    prose = tmp_path / "prose.txt"
    prose.write_text(PROSE + "é?é\n" + PROSE)
    text = seqgen.load(runs["text"])
    kept = text.score(PROSE + "\n" + PROSE).total
    assert main(["evaluate", str(runs["text"]), "--data.path", str(prose)]) == 1
    line = PROSE.count("\n") + 1
    assert f"prose.txt, line {line}: character 'é'" in capsys.readouterr().err
    assert main(["evaluate", str(runs["text"]), "--data.path", str(prose), "--unknown", "skip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["file"]["nats"] == pytest.approx(kept.nats, rel=1e-6)
    assert found["skipped"] == ["3 characters"]
    assert main(["score", str(runs["text"]), "--file", str(prose), "--unknown", "skip"]) == 0
    out, err = capsys.readouterr()
    assert f"{kept.nats:.3f} nats" in out
    assert "3 unknown symbols" in err


def test_standard_input_is_scored(runs: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "seqgen.cli", "score", str(runs["names"]), "--file", "-", "--json"]
    done = subprocess.run(command, input="abc\ncab\n", capture_output=True, text=True, check=True)
    assert [item["text"] for item in json.loads(done.stdout)["items"]] == ["abc", "cab"]


def test_info(run: Any, runs: dict[str, Path]) -> None:
    facts = json.loads(run("info", runs["table"], "--json"))
    assert facts["model"]["class_path"] == "RNN"
    assert facts["codec"]["init_args"]["end"] is True
    assert facts["labels"] == {"sex": ["F", "M"]}
    assert math.isfinite(facts["provenance"]["val_nats"])
    for word in ("RNN", "lstm", "Chars", "sex", "data_sha256", facts["provenance"]["data_sha256"]):
        assert word in run("info", runs["table"])


# -- mistakes


MISTAKES = [
    ("sample names --label F", "label is 'F'; .* the model's labels are none"),
    ("sample table --label X", "no label sex=X; the model's labels are sex: F, M"),
    ("sample table --label age=3", "no label age=3; .* sex: F, M"),
    ("sample table --label F --label M", "--label is 'F'; among several labels expected name=class"),
    ("sample text --prompt abz", r"'z' \(U\+007A\) at position 2 is not in the alphabet"),
    ("sample text --temperature -1", r"temperature is -1.0, expected a finite number of 0 or more"),
    ("sample text --temperature nan", "temperature is nan, expected"),
    ("sample text --top-k -1", "top_k is -1, expected"),
    ("sample text --top-p 0", "top_p is 0.0, expected"),
    ("sample text -n 0", "n is 0, expected a whole number of 1 or more"),
    ("sample text --length -1", "length is -1, expected"),
    ("sample text --seed -1", "seed is -1, expected"),
    ("sample text --length 2 --out gone/out.txt -n 2", "'gone/out.txt' cannot be written: there is no folder 'gone'"),
    ("sample gone", "no model at '.*gone': it is no folder; expected a run folder"),
    ("sample .", "no model at .* expected a run folder or its model/ folder"),
    ("score names", "expected items to score, or --file FILE, and not both"),
    ("score names a --file x", "expected items to score, or --file FILE, and not both"),
    ("score names --file gone.txt", "gone.txt cannot be read: No such file"),
    ("score names --file . ", "cannot be read: Is a directory"),
    ("score names Zoë", r"(Z|\\u|ë).* at position \d+ is not in the alphabet"),
    ("score text --prefix a --file x", "--prefix goes with items, not with --file"),
    ("evaluate text/model", "config.yaml is not there; expected a run folder, or a file of data to score"),
    ("evaluate text --data.path gone.txt", "no file .*gone.txt"),
    ("info gone", "no model at"),
    ("info text --device cuda:99", "device 'cuda:99' cannot be used here"),
    ("info text --device tpu", "device 'tpu' cannot be used here"),
    ("fit --config gone.yaml", "no config 'gone.yaml': neither a file nor an installed recipe"),
    ("fit --run gone --resume", "nothing to resume: .*gone.* is not there"),
]


@pytest.mark.parametrize(("command", "expected"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_one_line(
    runs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    expected: str,
) -> None:
    monkeypatch.chdir(runs["text"].parent)
    capsys.readouterr()
    assert main(command.split()) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("seqgen: ")
    assert err.count("\n") == 1
    assert re.search(expected, err), err


@pytest.mark.parametrize(
    "command",
    [
        *["", "paint", "sample", "sample text --colour", "sample text -n two", "sample text --temp 1"],
        "score text --json=1",
    ],
)
def test_wrong_usage(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(runs["text"].parent)
    with pytest.raises(SystemExit) as left:
        main(command.split())
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "usage: seqgen" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("fit --model.lr fast", "--model.lr is 'fast', expected float"),
        ("fit --moddel.lr 1", "--moddel.lr is unknown; did you mean --model.lr?"),
        ("fit --config unknown.yaml", "unknown.yaml: model.warmupp is unknown; did you mean model.warmup?"),
    ],
)
def test_wrong_usage_of_fit_is_one_line(
    runs: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    expected: str,
) -> None:
    monkeypatch.chdir(runs["text"].parent)
    Path("unknown.yaml").write_text(Path("names.yaml").read_text().replace('"warmup"', '"warmupp"'))
    assert main(command.split()) == 2
    assert capsys.readouterr() == ("", f"seqgen fit: {expected}\n")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_damaged_model_is_said(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copytree(runs["names"], tmp_path / "run")
    path = tmp_path / "run" / "model" / name
    path.write_bytes(path.read_bytes()[:-9])
    for command in ("sample", "info", "evaluate"):
        assert main([command, str(tmp_path / "run")]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert str(path) in err


def test_data_that_has_changed_is_not_evaluated(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs["names"], tmp_path / "run")
    config = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "names.txt").write_text("\n".join(WORDS[1:]))
    config = config.replace(str(runs["names"].parent / "names.txt"), str(tmp_path / "names.txt"))
    (tmp_path / "run" / "config.yaml").write_text(config)
    assert main(["evaluate", str(tmp_path / "run")]) == 1
    assert "changed since it was trained" in capsys.readouterr().err


def test_out_is_written_whole_or_not_at_all(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.txt"
    out.write_text("before")
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("no space left")))
    assert main(["sample", str(runs["names"]), "--out", str(out)]) == 1
    assert capsys.readouterr() == ("", "seqgen: no space left\n")
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


def test_ctrl_c_is_130(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("seqgen.inference.generate.sample", interrupted)
    assert main(["sample", str(runs["names"]), "-n", "2"]) == 130
    assert "Traceback" not in capsys.readouterr().err


# -- pipes and encodings


def test_head_may_close_the_pipe(runs: dict[str, Path]) -> None:
    for more in (["-n", 20_000, "--length", 5], ["--length", 100_000]):  # at once, and streamed
        command = [sys.executable, "-m", "seqgen.cli", "sample", str(runs["text"]), *map(str, more)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(5)
        process.stdout.close()
        assert process.wait(timeout=300) == 0
        assert all(line.startswith("note: ") for line in process.stderr.read().splitlines())
        process.stderr.close()


def test_an_ascii_terminal_shows_other_characters_as_numbers(tmp_path: Path) -> None:
    codec = Chars(["é", "\ud800", "😀"], end=True)
    assert codec.size is not None
    Pipeline(RNN(Categorical(codec.size), hidden=3), codec).save_pretrained(tmp_path)
    commands = [["sample", tmp_path, "-n", 9], ["sample", tmp_path, "--prompt", "é"], ["score", tmp_path, "é😀"]]
    program = (
        f"from seqgen.cli.main import main\nfor one in {[[str(a) for a in one] for one in commands]}: print(main(one))"
    )
    for encoding in ("ascii", "utf-8"):
        env = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, encoding="utf-8", env=env, check=False
        )
        assert done.returncode == 0
        assert all(line.startswith("note: ") for line in done.stderr.splitlines()), done.stderr
        assert done.stdout.split().count("0") == 3
        assert ("\\xe9" in done.stdout) == (encoding == "ascii")
        assert ("é" in done.stdout) == (encoding == "utf-8")


def test_the_program_fits_samples_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(json.dumps(settings(tmp_path, "names")))
    configs = ["--config", TRAINER, "--config", "small.yaml", "--run", "run", "--trainer.max_steps=2"]
    done = real("fit", *configs, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "run: best " in done.stderr.splitlines()[-1]
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *map(str, configs)]) == 1
    assert capsys.readouterr().err.startswith("seqgen: run holds a run already")


def test_evaluate_wants_an_order_and_sample_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in (
        (["evaluate", "digits", "--orders", "0", "--data.path", "x"], "orders is 0, expected 1 or more"),
        (["score", "digits", "--file", "x.npz"], "x.npz cannot be read as an image"),
        (["score", "digits", "--file", "x.npz", "--p-value"], "x.npz cannot be read as an image"),
        (["sample", "digits", "--out", str(tmp_path / "none" / "x.png")], "cannot be written: there is no folder"),
        (
            ["evaluate", "digits", "--data.path", "x", "--data.encoding", "latin-1"],
            "which only text has; the model is one of images",
        ),
    ):
        assert main(arguments) == 1
        assert message in capsys.readouterr().err


def test_one_picture_can_be_scored_and_completed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, again = tmp_path / "one.PNG", tmp_path / "again.png"
    assert main(["sample", "digits", "--label", "3", "--seed", "1", "--out", str(one)]) == 0
    assert main(["score", "digits", str(one)]) == 0
    assert main(["sample", "digits", "--prompt", str(one), "--out", str(again)]) == 0
    assert (np.asarray(Image.open(one)) == np.asarray(Image.open(again))).all()


def test_programs_of_recipes_say_what_is_wrong_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert plainly(lambda: None) == 0

    def fails() -> None:
        raise SeqgenError("what was got\nand expected")

    assert plainly(fails) == 1
    assert capsys.readouterr().err == "seqgen: what was got and expected\n"


def test_a_programming_error_keeps_its_traceback() -> None:
    def fails() -> None:
        raise ValueError("a mistake of ours")

    with pytest.raises(ValueError, match="a mistake of ours"):
        plainly(fails)


def test_what_a_constructor_refuses_is_said_without_its_wrapping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", "Images", "--data.path", "x", "--data.levels", "1", "--run", str(tmp_path / "run")]
    assert main(["fit", "--config", str(TRAINER), "--model.model", "RNN", *arguments]) == 1
    assert capsys.readouterr().err == "seqgen: batch_size 100, levels 1: expected 1 or more, 2 to 256\n"


# -- round


def test_round_says_what_it_costs(runs: dict[str, Path], tmp_path: Path, run: Any) -> None:
    said = run("round", runs["names"], tmp_path / "int8", "--to", "int8")
    assert re.fullmatch(r".*int8: int8, [\d,]+ bytes of weights, [+-]\d\.\d{5} bits a symbol on held-out data\n", said)
    less = seqgen.load(tmp_path / "int8")
    assert less.calibration is not None
    assert "held out" in less.provenance["held_out"]


def test_a_run_whose_data_have_moved_is_rounded(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cost is left out, which a line on standard error says."""
    moved = tmp_path / "moved"
    shutil.copytree(runs["names"], moved)
    config = yaml.safe_load((moved / "config.yaml").read_text())
    config["data"]["init_args"]["path"] = str(tmp_path / "gone.txt")
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    expected = seqgen.load(runs["names"]).rounded("int8").sample(5, seed=1)
    for source, reason in ((moved, "gone.txt"), (moved / "model", "config.yaml is not there")):
        out = tmp_path / f"int8 of {source.name}"
        capsys.readouterr()
        assert main(["round", str(source), str(out), "--to", "int8"]) == 0
        said, warned = capsys.readouterr()
        assert re.fullmatch(r".*: int8, [\d,]+ bytes of weights\n", said)
        assert warned.startswith("note: its cost in bits is not measured: ")
        assert reason in warned
        assert warned.count("\n") == 1
        less = seqgen.load(out)
        assert less.sample(5, seed=1) == expected
        assert less.calibration is None
        assert "held_out" not in less.provenance
