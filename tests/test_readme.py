"""Every command and every snippet of every README runs.

Blocks run from top to bottom in one folder, which holds `my.txt` and what scripts/demo leaves behind. A `seqgen fit`
gets two steps and small data in place of its own, a `scripts/benchmark` its shortest turns; the commands of NOT_HERE
are run elsewhere; whatever is none of this fails.
"""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import tiny

ROOT = Path(__file__).parent.parent
READMES = sorted([ROOT / "README.md", *(ROOT / "recipes").rglob("README.md")])
NOT_HERE = {
    "scripts/demo": "needs minutes; tried by hand on a fresh clone at every release",
    "scripts/test": "runs this test",
    "scripts/check": "continuous integration runs it",
    "git clone": "somebody else's machine",
    "cd": "where the commands are run from is the test's choice",
    "source .venv/bin/activate": "the tests run in an environment already",
    "pip install": "test_package installs the wheel",
}
SHOWN_ONLY = ("text", "yaml")


def blocks(readme: Path) -> list[tuple[str, str]]:
    """Language and contents of the fenced blocks."""
    return re.findall(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[str]:
    """The commands of a block of shell, without comments; a backslash joins lines."""
    lines = re.sub(r"\\\n\s*", " ", block).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_readme(readme: Path, tmp_path: Path) -> None:
    """All blocks, in order."""
    found = blocks(readme)
    if any("runs/names" in text for _, text in found):
        configs = ["trainer.yaml", "names/gru.yaml"]
        arguments = [f"--config={config}" for config in configs]
        tiny.run(tiny.SEQGEN, "fit", *arguments, *_quick(configs, tmp_path), cwd=tmp_path)
    tiny.write({"class_path": "Text"}, tmp_path).rename(tmp_path / "my.txt")
    for language, text in found:
        if language == "python":
            tiny.run(sys.executable, "-c", text, cwd=tmp_path)
        elif language in ("bash", "sh"):
            for command in commands(text):
                _run(command, tmp_path)
        else:
            assert language in SHOWN_ONLY, f"a block of {language or 'no language'!r} is not covered:\n{text}"


def _run(command: str, folder: Path) -> None:
    words = shlex.split(command, comments=True)
    if any(f"{' '.join(words)} ".startswith(f"{known} ") for known in NOT_HERE):
        return
    if words[0] == "scripts/benchmark":
        words = [sys.executable, str(ROOT / words[0]), *words[1:], "--rounds=1", "--seconds=0"]
        command = shlex.join(words)
    elif words[:2] == ["seqgen", "fit"]:
        command = f"{command.partition(' #')[0]} {shlex.join(_tiny_fit(words, folder))}"
    else:
        assert words[0] == "seqgen", f"the command {command!r} is not covered"
    path = os.pathsep.join([str(tiny.SEQGEN.parent), os.environ["PATH"]])
    tiny.run("bash", "-o", "pipefail", "-c", command, cwd=folder, env={**os.environ, "PATH": path})


def _tiny_fit(words: list[str], folder: Path) -> list[str]:
    if "--help" in words or "--resume" in words:
        return []
    given = [word for option, word in zip(words, words[1:], strict=False) if option == "--config"]
    run = words[words.index("--run") + 1] if "--run" in words else "runs/names"
    taken = ["--run=runs/again"] if (folder / run / "config.yaml").exists() else []
    return [*taken, *(tiny.QUICK if "--data.path" in words else _quick(given, folder))]


def _quick(configs: list[str], folder: Path) -> list[str]:
    small = folder / "tiny"
    small.mkdir(exist_ok=True)
    return tiny.quick(configs, small)


def test_a_command_that_is_not_covered_fails(tmp_path: Path) -> None:
    """So nobody can write one that no test runs."""
    with pytest.raises(AssertionError, match="not covered"):
        _run("curl example.org", tmp_path)


def test_what_is_run_elsewhere_exists() -> None:
    """And the scripts that are not run here are there to be run."""
    assert all((ROOT / command).is_file() for command in NOT_HERE if command.startswith("scripts/"))
