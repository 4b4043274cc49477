"""Small data for any recipe, and the switches that make its training a matter of seconds."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

RECIPES = Path(__file__).parent.parent / "recipes"
SEQGEN = Path(sys.executable).with_name("seqgen")
QUICK = ["--trainer.max_steps=2", "--trainer.val_check_interval=1", "--trainer.accelerator=cpu"]


def run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> str:
    """What a command prints on standard output; an error that shows all of it when the command fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def quick(configs: Sequence[str], folder: Path) -> list[str]:
    """Arguments for `seqgen fit` that train for two steps on small data of the kind that the configs want."""
    return [*QUICK, f"--data.path={write(_data(configs), folder)}"]


def write(data: dict[str, Any], folder: Path) -> Path:
    """A file that suits a data module's description: a table with its columns, lines, or one long text."""
    arguments = data.get("init_args", {})
    words = random.Random(0)
    names = [
        "".join(words.choices("aeiou", k=1) + words.choices("bdklmnrst", k=words.randint(2, 6))) for _ in range(400)
    ]
    columns = [arguments.get("column"), *(arguments.get("labels") or []), arguments.get("weight")]
    if header := [column for column in columns if column]:
        path = folder / "tiny.tsv"
        rows = [header, *([name.capitalize(), *words.choices("12", k=len(header) - 1)] for name in names)]
        path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
        return path
    path = folder / "tiny.txt"
    lines = names if data["class_path"].rpartition(".")[2] == "Lines" else [" ".join(names)] * 8
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _data(configs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for config in configs:
        found = yaml.safe_load((RECIPES / config.removeprefix("recipes/")).read_text()).get("data", found)
    return found
