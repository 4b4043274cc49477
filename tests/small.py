"""Small data for any recipe, and the switches that make its training a matter of seconds."""

import contextlib
import importlib.util
import io
import os
import random
import runpy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml

import seqgen
import seqgen.training.fit
from seqgen.cli.main import main
from seqgen.codecs.sound import Sound
from seqgen.media.audio import Clip

RECIPES = Path(__file__).parent.parent / "recipes"
READMES = sorted([RECIPES.parent / "README.md", *RECIPES.rglob("README.md")])
SEQGEN = Path(sys.executable).with_name("seqgen")
QUICK = [
    "--trainer.max_steps=2",
    "--trainer.accelerator=cpu",
    "--data.batch_size=16",
]
SIZES = {"RNN": "hidden", "PixelCNN": "filters", "PixelRNN": "filters"}
"""What is small in place of what a recipe says, so that two steps and a validation take a second."""
EVERY = "".join(map(chr, range(32, 127)))  # so that any README's text is in the alphabet


def run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command prints on standard output; an error that shows all of it when the command fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def seqgen_here(*arguments: object, cwd: Path) -> str:
    """What `seqgen ARGUMENTS` prints on standard output, run in this process, since every start of one takes seconds.

    Like `run`, an error that shows all that was printed when the command fails.
    """
    words = [str(argument) for argument in arguments]
    return _here(lambda: main(words), cwd, ["seqgen", *words])


def module_here(name: str, *arguments: object, cwd: Path) -> str:
    """The same for `python -m NAME ARGUMENTS`."""
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"there is no module {name}"
    assert spec.origin is not None, f"{name} is no file"
    file, words = spec.origin, [str(argument) for argument in arguments]

    def program() -> None:
        runpy.run_path(file, run_name="__main__")

    return _here(program, cwd, [file, *words])


def _here(program: Callable[[], int | None], cwd: Path, words: list[str]) -> str:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    argv, stdin = sys.argv, sys.stdin
    with contextlib.ExitStack() as stack:
        for context in (contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
            stack.enter_context(context)
        sys.argv, sys.stdin = words, stack.enter_context(open(os.devnull))
        try:
            status = program()
        except SystemExit as leave:
            status = leave.code if isinstance(leave.code, int | None) else 1
        finally:
            sys.argv, sys.stdin = argv, stdin
    texts = [stream.detach().getvalue().decode() for stream in (out, err)]
    assert not status, f"{words} gave {status}\n{texts[0]}\n{texts[1]}"
    return texts[0]


def bfloat16() -> bool:
    """Whether this processor has LSTM kernels in bfloat16."""
    lstm, x = torch.nn.LSTM(2, 2), torch.zeros(1, 1, 2)
    try:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            lstm(x)
    except RuntimeError:
        return False
    return True


def quick(configs: Sequence[str], folder: Path) -> list[str]:
    """Arguments for `seqgen fit` that train a narrow network for two steps on small data that the configs want."""
    data, model = _merged(configs, "data"), _merged(configs, "model")["model"]["class_path"]
    codec = data["init_args"].get("codec", {})
    pieces = ["--data.codec.init_args.vocabulary=400"] if codec.get("class_path") == "SentencePiece" else []
    if colours := len(data["init_args"].get("shape") or []) == 3:  # as small as can be: three times as many symbols
        data["init_args"]["shape"] = [8, 8, 3]
    sizes = ["--data.shape=[8,8,3]", *(f"--model.model.init_args.{side}=8" for side in ("height", "width"))]
    # A recipe that validates at the end of an epoch, such as one that counts n-grams, gets an epoch of two steps.
    short = ["--data.batch_size=300"] if _merged(configs, "trainer").get("check_val_every_n_epoch") else []
    exact = [] if bfloat16() else ["--trainer.precision=32-true"]
    sizes = [*(sizes if colours else []), *([f"--model.model.init_args.{SIZES[model]}=16"] if model in SIZES else [])]
    return [*QUICK, *short, *exact, *pieces, *sizes, f"--data.path={write(data, folder)}"]


def check_trained(run: Path) -> None:
    """Such a run has a model that samples, and has written metrics and samples."""
    pipeline = seqgen.load(run)
    samples = list((run / "samples").iterdir())
    if isinstance(pipeline.codec, Sound):
        condition = Clip(np.zeros(300, np.float32), pipeline.codec.rate) if pipeline.features else None
        length = pipeline.codec.count(20)
        clip = pipeline.sample(length=length, seed=0, condition=condition)[0]
        assert pipeline.codec.count(len(clip.samples)) <= length
        assert any(path.suffix == ".wav" for path in samples)
    elif pipeline.codec.length is not None:
        (item,) = pipeline.sample(seed=0)
        assert len(pipeline.codec.encode(item)) == pipeline.codec.length
    else:
        assert isinstance(pipeline.sample(length=20, seed=0)[0], str)
    assert samples
    assert pipeline.provenance["step"] in (1, 2)
    assert (run / "metrics.csv").read_text().count("\n") > 1


def write(data: dict[str, Any], folder: Path) -> Path:
    """What suits a data module's description: a table with its columns, lines, one long text, or sounds."""
    arguments = data.get("init_args", {})
    if data["class_path"].rpartition(".")[2] == "Audio":
        return sounds(folder / "sounds", arguments.get("labels") or [])
    if data["class_path"].rpartition(".")[2] == "Table":
        return table(folder / "tiny.csv")
    if data["class_path"].rpartition(".")[2] == "Images":
        return pictures(folder / "tiny.npz", arguments.get("shape") or (28, 28))
    letters = random.Random(0)
    names = ["".join(letters.choices("aeioumnrst", k=letters.randint(2, 9))).capitalize() for _ in range(400)]
    names.append(EVERY)
    if column := arguments.get("column"):
        labels = arguments.get("labels") or []
        header = [column, *labels, "count"]  # F and M are classes that READMEs ask for
        rows = [header, *([name, *(letters.choice("FM") for _ in labels), letters.choice("123")] for name in names)]
        return _written(folder / "tiny.tsv", "".join("\t".join(row) + "\n" for row in rows))
    if data["class_path"].rpartition(".")[2] == "Lines":
        return _written(folder / "tiny.txt", "\n".join(names) + "\n")
    return _written(folder / "tiny.txt", 4 * (" ".join(names) + "\n"))


def sounds(folder: Path, labels: Sequence[str]) -> Path:
    """A folder of 40 tones of a tenth of a second at 8 kHz, with a table of labels from 0 to 9."""
    folder.mkdir(exist_ok=True)
    rows = [",".join(["file", *labels])]
    for number in range(40):
        tone = np.sin(np.arange(800) * (0.1 + 0.01 * number)) * np.linspace(0.6, 0, 800)
        soundfile.write(folder / f"{number}.wav", tone, 8000)
        rows.append(",".join([f"{number}.wav", *(str(number % 10) for _ in labels)]))
    _written(folder / "clips.csv", "\n".join(rows) + "\n")
    return folder


def table(path: Path) -> Path:
    """A hundred rows of eleven numbers."""
    numbers = np.random.default_rng(0).normal(size=(100, 11))
    rows = [",".join(f"column {place + 1}" for place in range(11)), *(",".join(map(str, row)) for row in numbers)]
    return _written(path, "\n".join(rows) + "\n")


def pictures(path: Path, shape: Sequence[int] = (28, 28)) -> Path:
    """A hundred binary pictures, and labels from 0 to 9."""
    np.savez(path, x=255 * np.random.default_rng(0).integers(0, 2, (100, *shape), np.uint8), y=np.arange(100) % 10)
    return path


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def _merged(configs: Sequence[str], section: str) -> dict[str, Any]:
    """What the configs say of the trainer, or of the data, later ones overriding earlier ones."""
    found: dict[str, Any] = {}
    for config in configs:
        found |= yaml.safe_load((RECIPES / config.removeprefix("recipes/")).read_text()).get(section, {})
    return found
