"""A checkpoint is there whole or not at all, whatever fails while it is written."""

import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import ngram

import seqgen
from seqgen import Pipeline
from seqgen.checkpoints import folder as checkpoint
from seqgen.checkpoints.folder import CheckpointError, Contents
from seqgen.codecs import Chars
from seqgen.outputs import Categorical


class Failure(OSError):
    """No space left on the device, or the like."""


def save(folder: Path, name: str) -> None:
    Pipeline(ngram(Categorical(3)), Chars("abc"), provenance={"name": name}).save_pretrained(folder)


def name(folder: Path) -> str:
    return str(seqgen.load(folder).provenance["name"])


def fail_at(monkeypatch: pytest.MonkeyPatch, function: str, call: int) -> list[int]:
    """Let the given call of os.<function> fail, and it alone; returns how often it was called."""
    real, calls = getattr(os, function), [0]

    def failing(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise Failure(28, f"no space for call {call} of {function}")
        return real(*args, **kwargs)

    monkeypatch.setattr(os, function, failing)
    return calls


POINTS = [("fsync", 1), ("fsync", 2), ("fsync", 3), ("replace", 1), ("replace", 2), ("replace", 3), ("rename", 1)]
POINTS += [("rename", 2), ("chmod", 1)]


@pytest.mark.parametrize(("function", "call"), POINTS)
def test_a_failure_leaves_the_old_checkpoint_and_no_litter(
    function: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "model", "old")
    with monkeypatch.context() as patch:
        calls = fail_at(patch, function, call)
        with pytest.raises(Failure):
            save(tmp_path / "model", "new")
        assert calls[0] >= call
    assert name(tmp_path / "model") == name(tmp_path) == "old"
    assert {path.name for path in tmp_path.iterdir()} <= {"model", ".model-old"}
    save(tmp_path / "model", "newer")
    assert name(tmp_path) == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(("function", "call"), [point for point in POINTS if point != ("rename", 2)])
def test_a_failure_of_the_first_checkpoint_leaves_nothing(
    function: str, call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_at(monkeypatch, function, call)
    with pytest.raises(Failure):
        save(tmp_path / "model", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    """Only the old folder is there, under its other name, and perhaps the temporary one."""
    save(tmp_path / "model", "old")
    os.rename(tmp_path / "model", tmp_path / ".model-old")
    (tmp_path / ".model-abcdef").mkdir()
    assert name(tmp_path) == name(tmp_path / "model") == "old"
    save(tmp_path / "model", "new")
    assert name(tmp_path) == "new"
    assert not (tmp_path / ".model-old").exists()


def test_a_crash_behind_the_second_rename_loads_the_new_one(tmp_path: Path) -> None:
    save(tmp_path / "model", "new")
    save(tmp_path / ".model-old", "old")
    assert name(tmp_path) == name(tmp_path / "model") == "new"


def test_a_relative_path_works_and_parents_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(Path("a/b/model"), "here")
    assert name(Path("a/b")) == name(Path("a/b/model/")) == "here"
    monkeypatch.chdir(tmp_path / "a/b/model")
    assert name(Path(".")) == "here"


def test_what_json_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    save(tmp_path / "model", "old")
    for bad in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            checkpoint.write(tmp_path / "model", Contents({"x": torch.zeros(1)}, {"bad": bad}))
    assert name(tmp_path) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_tensors_that_lie_oddly_in_memory_are_kept(tmp_path: Path) -> None:
    given = {
        "t": torch.arange(6).reshape(2, 3).t(),
        "empty": torch.zeros(0, 3),
        "f64": torch.rand(2, dtype=torch.float64),
    }
    checkpoint.write(tmp_path / "model", Contents(given, {"text": "é \ud800"}))
    found = checkpoint.read(tmp_path / "model")
    assert set(found.tensors) == set(given)
    assert all(torch.equal(found.tensors[key], given[key]) for key in given)
    assert found.config == {"format": 1, "text": "é \ud800"}
    assert (found.calibration, found.training_texts) == (None, None)


def test_calibration_and_training_texts_come_back_with_a_hash_of_each(tmp_path: Path) -> None:
    scores = {"scores": torch.rand(2, 3, dtype=torch.float64), "symbols": torch.arange(1.0, 4)}
    checkpoint.write(tmp_path / "model", Contents({"x": torch.ones(2)}, {}, scores, b"12345678abcdefgh"))
    found = checkpoint.read(tmp_path / "model")
    assert found.calibration is not None
    assert all(torch.equal(found.calibration[key], scores[key]) for key in scores)
    assert found.training_texts == b"12345678abcdefgh"
    for damaged in (checkpoint.CALIBRATION, checkpoint.TRAINING_TEXTS):
        content = (tmp_path / "model" / damaged).read_bytes()
        (tmp_path / "model" / damaged).write_bytes(content[:-1] + b"?")
        with pytest.raises(CheckpointError, match=f"{damaged} is damaged: its SHA-256 is"):
            checkpoint.read(tmp_path / "model")
        (tmp_path / "model" / damaged).write_bytes(content)


def test_the_files_are_readable_by_others_and_end_with_a_line(tmp_path: Path) -> None:
    save(tmp_path / "model", "x")
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o755
    for path in (tmp_path / "model").iterdir():
        assert path.stat().st_mode & 0o777 == 0o644
    text = (tmp_path / "model" / "config.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text)["provenance"] == {"name": "x"}


def test_a_single_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write_atomically(tmp_path / "file", b"old")
    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            fail_at(patch, function, 1)
            with pytest.raises(Failure):
                checkpoint.write_atomically(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


# -- two processes


SAVE = """
import itertools, sys, threading, torch
from pathlib import Path
from seqgen.checkpoints.folder import Contents, write
done = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
for number in itertools.count(1):
    tensors = {"x": torch.full((100_000 if number % 2 else 1,), float(number))}
    calibration = {"x": torch.tensor([number])} if number % 3 else None
    write(Path(sys.argv[1]), Contents(tensors, {"number": number}, calibration))
    if done.is_set():
        break
print(number)
"""


def test_loading_in_a_loop_while_another_process_saves_in_a_loop_never_fails(tmp_path: Path) -> None:
    """And what is loaded is one checkpoint, no mixture of two; later loads give no earlier ones."""
    folder = tmp_path / "model"
    checkpoint.write(folder, Contents({"x": torch.zeros(1)}, {"number": 0}))
    command = [sys.executable, "-c", SAVE, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as saving:
        loaded: list[int] = []
        end = math.inf
        while time.monotonic() < end or len(set(loaded)) < 10:
            _, contents = checkpoint.load(tmp_path)
            number = int(contents.config["number"])
            assert torch.equal(contents.tensors["x"], torch.full((100_000 if number % 2 else 1,), float(number)))
            assert (contents.calibration is None) == (number % 3 == 0)
            assert contents.calibration is None or contents.calibration["x"].tolist() == [number]
            if number and end == math.inf:  # it has begun
                end = time.monotonic() + 3
            loaded.append(number)
        saved = int(saving.communicate("")[0])
    assert loaded == sorted(loaded)
    assert checkpoint.load(folder)[1].config["number"] == saved >= 9


def test_a_checkpoint_that_is_swapped_between_two_looks_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is away when one looks there, and back when one looks where the earlier one is kept."""
    save(tmp_path / "model", "here")
    isfile, looks = os.path.isfile, itertools.count()
    monkeypatch.setattr(os.path, "isfile", lambda path: next(looks) >= 5 and isfile(path))
    assert name(tmp_path) == "here"
    assert next(looks) > 5


@pytest.mark.parametrize("after", [checkpoint.MANIFEST, checkpoint.WEIGHTS, checkpoint.TRAINING_TEXTS])
def test_a_checkpoint_that_is_replaced_while_it_is_opened_is_read_whole(
    after: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one, or the one that was there, when all of it was open already."""
    opening, replaced = checkpoint._open, []

    def and_replace(path: Path, stack: Any) -> Any:
        found = opening(path, stack)
        if path.name == after and not replaced:
            replaced.append(path)
            Pipeline(ngram(Categorical(2)), Chars("xy"), provenance={"name": "new"}).save_pretrained(path.parent)
        return found

    save(tmp_path / "model", "old")
    monkeypatch.setattr(checkpoint, "_open", and_replace)
    found = seqgen.load(tmp_path)
    assert replaced
    assert (found.provenance["name"], found.codec.size) == (
        ("old", 3) if after == checkpoint.TRAINING_TEXTS else ("new", 2)
    )
    assert name(tmp_path) == "new"
