"""Tiny trainings, for the tests of training, of the run folder and of the command line."""

import csv
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch.utils import _pytree as pytree

from seqgen.training import fit
from seqgen.training.module import Training
from seqgen.training.run_folder import LAST
from seqgen.training.training_checkpoints import SafeCheckpointIO

TRAINER = Path(__file__).parent.parent / "recipes" / "trainer.yaml"

random.seed(0)
WORDS = sorted({"".join(random.choices("abcdefgh", k=random.randint(2, 7))) for _ in range(130)})
PROSE = "".join(f"{' '.join(random.choices(WORDS, k=6))}.\n" for _ in range(20))  # about 700 characters
TABLE = "name\tsex\tcount\n" + "".join(f"{word}\t{'FM'[len(word) % 2]}\t{len(word) / 2}\n" for word in WORDS)


def settings(folder: Path, kind: str, **model: Any) -> dict[str, Any]:
    """A training on "text", "names" or a "table", 10 to 15 steps an epoch; its data is written into `folder`."""
    content = {"text": PROSE, "names": "\n".join(WORDS), "table": TABLE}[kind]
    path = folder / f"{kind}.txt"
    path.write_text(content)
    data: dict[str, Any] = {"path": str(path), "val": 60, "test": 40, "batch_size": 3, "length": 20}
    rnn: dict[str, Any] = {"cell": "gru", "hidden": 12, "layers": 2, "dropout": 0.3}
    if kind != "text":
        data = {"path": str(path), "val": 12, "test": 8, "batch_size": 9}
    if kind == "table":
        data |= {"column": "name", "labels": ["sex"], "weight": "count"}
        rnn |= {"cell": "lstm", "layers": 1}
        model = {"label_dropout": 0.4, **model}
    return {
        "model": {"model": {"class_path": "RNN", "init_args": rnn}, "lr": 0.03, "warmup": 2, **model},
        "data": {"class_path": "Text" if kind == "text" else "Lines", "init_args": data},
        "trainer": {"accelerator": "cpu", "max_steps": 24, "val_check_interval": 6},
    }


def train(run: Path, config: dict[str, Any], *arguments: str) -> int:
    """`seqgen fit` with this configuration on top of the recipes' trainer.yaml; the exit status."""
    path = run.with_suffix(".yaml")
    path.write_text(json.dumps(config))
    return fit.main(["--config", str(TRAINER), "--config", str(path), "--run", str(run), *arguments])


def rows(run: Path) -> list[dict[str, str]]:
    """metrics.csv without the time."""
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def last(run: Path) -> dict[str, Any]:
    """The last training checkpoint."""
    return SafeCheckpointIO().load_checkpoint(run / LAST)


def weights(run: Path) -> dict[str, torch.Tensor]:
    """The tensors of the best model."""
    return safetensors.torch.load_file(run / "model" / "model.safetensors")


def interrupt(patch: pytest.MonkeyPatch, step: int) -> None:
    """Ctrl-C while that step is taken."""
    training_step = Training.training_step

    def interrupted(self: Training, batch: Any, batch_idx: int) -> Any:
        if self.global_step + 1 == step:
            signal.raise_signal(signal.SIGINT)
        return training_step(self, batch, batch_idx)

    patch.setattr(Training, "training_step", interrupted)


def same(one: Any, other: Any) -> bool:
    """Whether two trees hold the same tensors, bit by bit, and the same values."""
    leaves, shape = pytree.tree_flatten(one)
    others, other_shape = pytree.tree_flatten(other)
    return shape == other_shape and all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(leaves, others, strict=True)
    )
