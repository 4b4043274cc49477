"""The run folder: what is in it, when it is left alone, how it survives Ctrl-C; checkpoints without pickle."""

import hashlib
import itertools
import json
import math
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from tiny import TRAINER, last, rows, same, settings, train, weights

import seqgen
from seqgen.checkpoints.folder import CheckpointError
from seqgen.cli import main as cli
from seqgen.modalities import TextModality
from seqgen.training import fit, progress
from seqgen.training.run_folder import RunFolder
from seqgen.training.training_checkpoints import SafeCheckpointIO


@pytest.fixture(scope="module", autouse=True)
def few_samples(cache: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder.__init__, "__defaults__", ("", 2, 10))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on names, resumed once on the way."""
    folder = tmp_path_factory.mktemp("finished")
    assert train(folder / "run", settings(folder, "names"), "--trainer.max_steps", "7") == 0
    assert fit.main(["--run", str(folder / "run"), "--resume", "--trainer.max_steps", "14"]) == 0
    return folder / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_run_folder_holds(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "metrics.csv", "checkpoints", "samples", "model"} <= names
    assert all("tfevents" in name for name in names - {"config.yaml", "metrics.csv", "checkpoints", "samples", "model"})
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.ckpt"}
    held = {"model.safetensors", "config.json", "manifest.json", "calibration.safetensors", "training.hashes"}
    assert {path.name for path in (run / "model").iterdir()} == held
    steps = [int(row["step"]) for row in rows(run)]
    assert steps == [6, 7, 12, 14]
    assert sorted(path.name for path in (run / "samples").iterdir()) == [f"step-{step:07}.txt" for step in steps]
    header = (run / "metrics.csv").read_text().splitlines()[0]
    assert header == "step,epoch,seconds,learning_rate,train_nats,train_bits,val_nats,val_bits"
    for row in rows(run):
        assert float(row["val_bits"]) == pytest.approx(float(row["val_nats"]) / math.log(2), abs=2e-5)
        assert float(row["train_bits"]) == pytest.approx(float(row["train_nats"]) / math.log(2), abs=2e-5)
    assert not list(run.rglob(".*"))  # no temporary file is left


def test_a_model_says_where_it_comes_from(run: Path) -> None:
    provenance = seqgen.load(run).provenance
    scores = {int(row["step"]): float(row["val_nats"]) for row in rows(run)}
    assert provenance["val_nats"] == pytest.approx(min(scores.values()), abs=1e-5)
    assert provenance["val_nats"] == pytest.approx(scores[provenance["step"]], abs=1e-5)
    data = run.parent / "names.txt"
    assert provenance["data"] == "names.txt"  # and not where it lies, which is nobody else's business
    assert provenance["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert (provenance["licence"], provenance["seed"], provenance["recipe"]) == ("not stated", 1, "run.yaml")
    assert provenance["parameters"] == sum(value.numel() for value in seqgen.load(run).model.parameters())


def test_nothing_in_a_run_folder_is_a_pickle(run: Path) -> None:
    for name, content in contents(run).items():
        assert not zipfile.is_zipfile(run / name), name
        header = content[8:9] == b"{"  # of safetensors, whose first byte is that of a length, whatever it is
        assert header or not content.startswith((b"PK", b"\x80")), name
        assert "tfevents" in name or b"c__builtin__" not in content, name
    for name in ("last.ckpt",):
        safetensors.torch.load_file(run / "checkpoints" / name)


def test_nothing_is_unpickled(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was unpickled")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    config = settings(tmp_path, "text")
    assert train(tmp_path / "run", config, "--trainer.max_steps=2", "--trainer.val_check_interval=1") == 0
    assert fit.main(["--run", str(tmp_path / "run"), "--resume", "--trainer.max_steps=4"]) == 0
    assert last(tmp_path / "run")["global_step"] == 4
    seqgen.load(run)


def test_a_run_is_not_overwritten(run: Path) -> None:
    before = contents(run)
    with pytest.raises(ValueError, match=r"run holds a run already; --resume continues it, --overwrite replaces it"):
        fit.main(["--config", str(TRAINER), "--config", str(run.with_suffix(".yaml")), "--run", str(run)])
    assert contents(run) == before


def test_overwrite_replaces_the_run_and_leaves_the_users_own_files(tmp_path: Path) -> None:
    run, config = tmp_path / "run", settings(tmp_path, "names")
    assert train(run, config, "--trainer.max_steps=14") == 0
    mine = {"notes.txt": b"the first try", "plots/loss.png": b"no picture", "events.txt": b"too"}
    for name, content in mine.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(content)
    before = contents(run)
    assert train(run, config, "--trainer.max_steps=5", "--seed_everything=2", "--overwrite") == 0
    after = contents(run)
    assert {name: after[name] for name in mine} == mine
    assert [int(row["step"]) for row in rows(run)] == [5]
    assert [path.name for path in (run / "samples").iterdir()] == ["step-0000005.txt"]
    assert last(run)["global_step"] == seqgen.load(run).provenance["step"] == 5
    assert seqgen.load(run).provenance["seed"] == 2
    assert not {name for name in before if "tfevents" in name} & set(after)
    assert any("tfevents" in name for name in after)
    assert train(tmp_path / "new", config, "--trainer.max_steps=5", "--seed_everything=2") == 0
    assert rows(tmp_path / "new") == rows(run)
    assert same(weights(tmp_path / "new"), weights(run))
    kept = (run / "config.yaml").read_text()
    assert "overwrite: false" in kept
    assert fit.main(["--run", str(run), "--resume", "--trainer.max_steps=7"]) == 0  # and it can go on
    assert [int(row["step"]) for row in rows(run)] == [5, 6, 7]


def test_overwrite_without_a_run_begins_one(tmp_path: Path) -> None:
    assert train(tmp_path / "run", settings(tmp_path, "names"), "--trainer.max_steps=2", "--overwrite") == 0
    assert [int(row["step"]) for row in rows(tmp_path / "run")] == [2]


@pytest.mark.parametrize(
    ("flags", "content", "message"),
    [
        ([], None, r"no file .*names\.txt"),
        ([], "a\n", "leave nothing of 1 to train on"),
        (["--data.batch_size=9999"], "", "fewer than batch_size 9999"),
        (["--data.column=name"], "", "has no column 'name'"),
        (["--model.model.cell=none"], "", "cell is 'none'"),
        (["--model.output=Gaussians"], "", "the model's output numbers"),
        (["--trainer.val_check_interval=0.02"], "", "val_check_interval"),
        (["--trainer.check_val_every_n_epoch=1", "--trainer.val_check_interval=999"], "", "val_check_interval"),
        (
            [
                f"--trainer.{one}"
                for one in ("check_val_every_n_epoch=1", "val_check_interval=5", "limit_train_batches=3")
            ],
            "",
            "must be less than or equal",  # which Lightning says when it sets up the training
        ),
        (["--resume"], "", "got resume and overwrite, expected one"),
    ],
)
def test_an_overwrite_that_fails_before_training_leaves_the_old_run(
    run: Path, tmp_path: Path, flags: list[str], content: str | None, message: str
) -> None:
    shutil.copytree(run, tmp_path / "run")
    config = settings(tmp_path, "names")
    if content is None:
        (tmp_path / "names.txt").unlink()
    elif content:
        (tmp_path / "names.txt").write_text(content)
    before = contents(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", config, "--overwrite", *flags)
    assert contents(tmp_path / "run") == before


def test_a_run_that_never_began_may_begin_again(tmp_path: Path) -> None:
    config = settings(tmp_path, "text")
    config["trainer"] |= {"max_steps": 1, "val_check_interval": 1}
    text = tmp_path / "text.txt"
    text.rename(tmp_path / "away")
    with pytest.raises(ValueError, match=r"no file .*text\.txt"):
        train(tmp_path / "run", config)
    (tmp_path / "away").rename(text)
    assert train(tmp_path / "run", config) == 0


def test_resume_wants_a_run(tmp_path: Path) -> None:
    for arguments in (["--run", str(tmp_path / "none")], ["--run", str(tmp_path)], [f"--run={tmp_path}"]):
        with pytest.raises(ValueError, match=r"nothing to resume: .* is not there"):
            fit.main([*arguments, "--resume"])


@pytest.mark.parametrize("change", ["the data", "the codec", "batch_size"])
def test_resume_wants_the_same_data_codec_and_batches(tmp_path: Path, change: str) -> None:
    config = settings(tmp_path, "names")
    assert train(tmp_path / "run", config, "--trainer.max_steps", "2") == 0
    before = {name: content for name, content in contents(tmp_path / "run").items() if "tfevents" not in name}
    arguments = ["--run", str(tmp_path / "run"), "--resume", "--trainer.max_steps", "4"]
    if change == "batch_size":
        arguments += ["--data.batch_size", "7"]
    elif change == "the data":
        (tmp_path / "names.txt").write_text("Ann\n" + (tmp_path / "names.txt").read_text())
    else:
        codec = {"class_path": "Chars", "init_args": {"alphabet": list("abcdefgh"), "end": True, "unknown": True}}
        arguments += ["--data.codec", json.dumps(codec)]
    with pytest.raises(ValueError, match=rf"cannot resume: {change} changed since the run was begun, from .* to .*"):
        fit.main(arguments)
    after = {name: content for name, content in contents(tmp_path / "run").items() if "tfevents" not in name}
    assert after == before


def test_config_yaml_trains_the_same_run_again(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    arguments = ["--config", str(run / "config.yaml"), "--run", str(again), "--trainer.max_steps=7"]
    assert fit.main(arguments) == 0
    assert rows(again) == rows(run)[:2]


def test_ctrl_c_leaves_a_run_to_go_on_with(tmp_path: Path) -> None:
    config = settings(tmp_path, "text", ema=0.9)
    config["trainer"] |= {"max_steps": 100_000, "val_check_interval": 20}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    run = tmp_path / "run"
    command = ["fit", "--config", str(TRAINER), "--config", str(tmp_path / "config.yaml"), "--run", str(run)]
    process = subprocess.Popen(
        [sys.executable, "-m", "seqgen.cli", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(1200):
        if len(rows(run)) > 0 if (run / "metrics.csv").exists() else False:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].endswith(f"go on with: seqgen fit --run {run} --resume")
    step = last(run)["global_step"]
    assert f"stopped at step {step};" in err
    assert len(seqgen.load(run).sample(2, length=10)) == 2
    assert cli.main(command) == 1
    goal = step - step % 20 + 40
    assert cli.main(["fit", "--run", str(run), "--resume", "--trainer.max_steps", str(goal)]) == 0
    assert [int(row["step"]) for row in rows(run)] == list(range(20, goal + 1, 20))


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(self: Any, batch: Any, batch_idx: int) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("seqgen.training.module.Training.training_step", twice)
    handler = signal.getsignal(signal.SIGINT)
    config = settings(tmp_path, "text")
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    try:
        assert (
            cli.main(["fit", "--config", str(TRAINER), "--config", str(tmp_path / "config.yaml"), f"--run={tmp_path}"])
            == 130
        )
    finally:
        signal.signal(signal.SIGINT, handler)


# -- SafeCheckpointIO

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
TREE: dict[str, Any] = {
    "plain": [None, True, False, 0, -7, 2**70, 1.5, 1e-320, math.inf, -math.inf, "", "é\ud800\n", "{}"],
    "nested": {7: {"a": (1, (2,), [])}, None: {}, True: ((),), 2.5: [{}], (1, "x"): "tuple key"},
    "dict": {"dict": [], "tensor": "0", "list": 1},
    "scalars": [torch.tensor(3), torch.tensor(2.5), torch.zeros(0), torch.zeros(3, 0, 2)],
    "kinds": [torch.arange(5).to(dtype) for dtype in [*DTYPES, torch.int8, torch.uint8, torch.bool]],
    "views": [torch.arange(6.0).reshape(2, 3).t(), torch.arange(9)[::2], torch.ones(1).expand(4)],
}


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    shared = torch.arange(4.0)
    tree = {**TREE, "shared": [shared, shared, shared[1:]]}
    path = tmp_path / "new" / "folder" / "a.ckpt"
    SafeCheckpointIO().save_checkpoint(tree, path)
    found = SafeCheckpointIO().load_checkpoint(path)
    assert list(found) == list(tree)
    assert same(found, tree)
    assert [value.dtype for value in found["kinds"]] == [value.dtype for value in TREE["kinds"]]
    assert [type(key) for key in found["nested"]] == [int, type(None), bool, float, tuple]
    SafeCheckpointIO().remove_checkpoint(path)
    SafeCheckpointIO().remove_checkpoint(path)
    assert not path.exists()


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j, len, [RunFolder], {"a": {"b": object()}}])
def test_a_checkpoint_holds_plain_values_alone(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot save .* in a training checkpoint"):
        SafeCheckpointIO().save_checkpoint({"value": value}, tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


def damaged(whole: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "pickle", pickle.dumps({"a": 1})
    yield "short", whole[: len(whole) // 2]
    yield "cut", whole[:-1]
    yield "long", whole + b"x"
    yield "no header", b"\xff" * 100
    yield "other", safetensors.torch.save({"a": torch.ones(2)})
    for tree in ('{"dict": [[1]]}', '{"x": 1}', '{"tensor": "9"}', "[", "3", '{"dict": [[{"list": []}, 1]]}', "{}"):
        yield tree, safetensors.torch.save({"a": torch.ones(2)}, {"tree": tree})
    yield "deep", safetensors.torch.save({}, {"tree": '{"list": [' * 5000 + "]}" * 5000})


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    SafeCheckpointIO().save_checkpoint({"a": torch.arange(100)}, path)
    for what, content in damaged(path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.ckpt is no training checkpoint"):
            pytest.fail(f"{what}: {SafeCheckpointIO().load_checkpoint(path)}")
    torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match=r"a\.ckpt is no training checkpoint"):
        SafeCheckpointIO().load_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"b\.ckpt"):
        SafeCheckpointIO().load_checkpoint(tmp_path / "b.ckpt")


def test_a_checkpoint_replaces_another_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ckpt"
    SafeCheckpointIO().save_checkpoint({"a": 1}, path)
    monkeypatch.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError("power failed")))
    with pytest.raises(OSError, match="power failed"):
        SafeCheckpointIO().save_checkpoint({"a": 2}, path)
    assert SafeCheckpointIO().load_checkpoint(path) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.ckpt"]


def test_samples_that_fail_come_after_the_checkpoint_and_do_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the kind of data and the error."""
    steps = []

    def fails(self: TextModality, pipeline: Any, path: Path, *rest: Any) -> Any:
        steps.append((last(tmp_path / "run")["global_step"], path.name))
        raise RuntimeError("no memory left")

    monkeypatch.setattr(TextModality, "preview", fails)
    assert train(tmp_path / "run", settings(tmp_path, "names"), "--trainer.max_steps=12") == 0
    assert steps == [(6, "step-0000006"), (12, "step-0000012")]
    assert "no samples at step 6: RuntimeError: no memory left" in capsys.readouterr().err


def test_progress_is_a_line_every_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step, running mean, symbols a second and time left; the first within five seconds, then every ten."""
    clock = itertools.count(0, 1.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    config = settings(tmp_path, "names")
    config["trainer"] |= {"max_steps": 24, "val_check_interval": 24}
    assert train(tmp_path / "run", config) == 0
    found = re.findall(r"^step (\d+) nats (\d\.\d{4}) ([\d,]+) symbols/s, (\d+) s left$", capsys.readouterr().err, re.M)
    assert [int(step) for step, *_ in found] == [4, 14, 24]
    assert all(1 < float(nats) < 3 for _, nats, *_ in found)
    assert [int(left) for *_, left in found] == [20, 10, 0]
