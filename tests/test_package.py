"""A wheel built from the repository does, in an environment outside of it, what the README shows."""

import os
import shutil
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import small

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves its traces beside the source, and its traces end up in the next build."""
    folder = tmp_path_factory.mktemp("wheel")
    left_out = shutil.ignore_patterns(".*", "runs", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=left_out)
    small.run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, "source", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_contents(wheel: Path) -> None:
    """All modules, all recipes and the bundled models, and nothing else."""
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "seqgen").rglob("*.py")} | {"seqgen/py.typed"}
    expected |= {f"seqgen_{path.relative_to(ROOT)}" for path in (ROOT / "app").rglob("*.py")}
    bundled = (path for path in (ROOT / "seqgen" / "checkpoints" / "bundled").rglob("*") if path.is_file())
    expected |= {str(path.relative_to(ROOT)) for path in bundled}
    for suffix in ("py", "yaml"):
        expected |= {f"seqgen_{path.relative_to(ROOT)}" for path in small.RECIPES.rglob(f"*.{suffix}")}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == expected


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment with the wheel in it, and the packages that it stands on."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    small.run(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
    # The packages of the running environment, but not its own install of seqgen: a path that a .pth file adds has its
    # own .pth files left unread, and comes last.
    (own,) = folder.glob("lib/python*/site-packages")
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "others.pth").write_text("".join(f"{path}\n" for path in others))
    return folder / "bin"


PROGRAM = """
import seqgen, seqgen_app, seqgen_recipes.names
from seqgen.cli.main import main
print(seqgen.__file__, seqgen_app.__file__, seqgen_recipes.names.__file__, sep="\\n")
assert not any(map(main, {commands}))
"""


def test_installed(installed: Path, tmp_path: Path) -> None:
    """Trains, samples and scores from an empty folder, with the recipes out of the wheel."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    home = tmp_path / "empty"
    home.mkdir()

    def run(command: str, *arguments: object) -> list[str]:
        return small.run(installed / command, *arguments, cwd=home, env=env).splitlines()

    assert len(run("seqgen", "sample", "names", "-n", 3)) == 3
    configs = ["trainer.yaml", "names/gru.yaml"]
    commands = [
        ["fit", *(f"--config={config}" for config in configs), *small.quick(configs, tmp_path)],
        ["sample", "digits-speech", "--label", "digit=3", "--out", "three.wav"],
        ["sample", "runs/names", "-n", "3", "--length", "9", "--seed", "1"],
        ["score", "runs/names", "Amin"],
    ]
    printed = run("python", "-c", PROGRAM.format(commands=commands))
    for path in printed[:3]:
        assert path.startswith(str(installed.parent)), f"{path} is not the wheel's"
    assert printed[3] == "three.wav"
    assert "nats" in printed[3 + 1 + 3]  # three names, one score
