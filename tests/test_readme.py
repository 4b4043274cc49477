"""Every command and every snippet of every README runs.

Blocks run from top to bottom in one folder, which holds `my.txt`, `my.csv`, `my.npz`, a folder `sounds` and what
scripts/demo leaves behind. A `seqgen fit` gets two steps and, unless it names a file, small data in place of its own; a
`seqgen app` is served, at a port of its own, until the end; what is in SHORTER gets the arguments that stand there; the
commands of NOT_HERE are run elsewhere; whatever is none of this fails.
"""

import contextlib
import itertools
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import served
import small

ROOT = Path(__file__).parent.parent
NOT_HERE = {
    "scripts/demo": "needs minutes; tried by hand on a fresh clone at every release",
    "scripts/test": "runs this test",
    "scripts/bundle": "takes hours; tests/test_bundle.py makes small ones",
    "scripts/check": "continuous integration runs it",
    "git clone": "somebody else's machine",
    "cd": "where the commands are run from is the test's choice",
    "source .venv/bin/activate": "the tests run in an environment already",
    "pip install": "test_package installs the wheel",
}
SHORTER = {
    "scripts/benchmark": ["--rounds=1", "--seconds=0"],
    "python -m seqgen_recipes.digits.detect": ["--foreign=my.npz", "--count=4", "--epochs=1"],
    "python -m seqgen_recipes.names.detect": ["--words=my.txt", "--count=20"],
    "python -m seqgen_recipes.wikipedia.brackets": ["--texts=2", "--length=50", "--path=my.txt"],
    "python -m seqgen_recipes.speech.recognise": ["--clips=10"],
    "python -m seqgen_recipes.speech.vocoder": ["--clips=1", "--seconds=0.1"],
    "seqgen": [],
}
SHELL = re.compile(r"[|&;<>()$`*?~{}]|^\w+=")
"""What only a shell understands; all other commands of Python run in the test's own process."""
SHOWN_ONLY = ("text", "yaml")


def blocks(readme: Path) -> list[tuple[str, str]]:
    """Language and contents of the fenced blocks."""
    return re.findall(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", readme.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(block: str) -> list[str]:
    """The commands of a block of shell, without comments; a backslash joins lines."""
    lines = re.sub(r"\\\n\s*", " ", block).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("readme", small.READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_readme(readme: Path, tmp_path: Path) -> None:
    """All blocks, in order; then what was trained is looked at."""
    found = blocks(readme)
    if any("scripts/demo" in text for _, text in found):
        configs = ["trainer.yaml", "names/gru.yaml"]
        arguments = [f"--config={config}" for config in configs]
        small.seqgen_here("fit", *arguments, *_quick(configs, tmp_path), cwd=tmp_path)
    small.write({"class_path": "Lines"}, tmp_path).rename(tmp_path / "my.txt")
    small.sounds(tmp_path / "sounds", ["digit"])
    small.table(tmp_path / "my.csv")
    small.pictures(tmp_path / "my.npz")
    with contextlib.ExitStack() as served_app:
        _run_all(found, tmp_path, served_app)
    for metrics in tmp_path.glob("runs/*/metrics.csv"):
        small.check_trained(metrics.parent)


def _run_all(found: list[tuple[str, str]], tmp_path: Path, served_app: contextlib.ExitStack) -> None:
    url = "http://127.0.0.1:7860"
    for language, text in found:
        if language == "python":
            small.run(sys.executable, "-c", text.replace("http://127.0.0.1:7860", url), cwd=tmp_path)
        elif language in ("bash", "sh"):
            for command in commands(text):
                if _begins(command, "seqgen app"):
                    runs = [tmp_path / run for run in shlex.split(command, comments=True)[2:]]
                    url = served_app.enter_context(served.app(tmp_path / "app.txt", runs)).url
                else:
                    _run(command, tmp_path)
        else:
            assert language in SHOWN_ONLY, f"a block of {language or 'no language'!r} is not covered:\n{text}"


def _run(command: str, folder: Path) -> None:
    command = command.partition(" #")[0].rstrip()
    if any(_begins(command, known) for known in NOT_HERE):
        return
    more = [arguments for known, arguments in SHORTER.items() if _begins(command, known)]
    assert more, f"the command {command!r} is not covered"
    if _begins(command, "seqgen fit"):
        more = [_shorter_fit(shlex.split(command), folder)]
    command = f"{command.replace('scripts/', f'{ROOT}/scripts/')} {shlex.join(more[0])}"
    match shlex.split(command):
        case ["seqgen", *words] if not SHELL.search(command):
            small.seqgen_here(*words, cwd=folder)
        case ["python", "-m", name, *words] if not SHELL.search(command):
            small.module_here(name, *words, cwd=folder)
        case _:
            path = os.pathsep.join([str(small.SEQGEN.parent), os.environ["PATH"]])
            small.run("bash", "-o", "pipefail", "-c", command, cwd=folder, env={**os.environ, "PATH": path})


def _begins(command: str, known: str) -> bool:
    return f"{command} ".startswith(f"{known} ")


def _shorter_fit(words: list[str], folder: Path) -> list[str]:
    if "--help" in words or "--resume" in words:
        return []
    configs = [word for option, word in itertools.pairwise(words) if option == "--config"]
    return small.QUICK if "--data.path" in words else _quick(configs, folder)


def _quick(configs: list[str], folder: Path) -> list[str]:
    data = folder / "data"
    data.mkdir(exist_ok=True)
    return small.quick(configs, data)


def test_a_command_that_is_not_covered_fails(tmp_path: Path) -> None:
    """So nobody can write one that no test runs."""
    with pytest.raises(AssertionError, match="not covered"):
        _run("curl example.org", tmp_path)


def test_what_is_run_elsewhere_exists() -> None:
    """And the scripts that are not run here are there to be run."""
    assert all((ROOT / command).is_file() for command in NOT_HERE if command.startswith("scripts/"))
