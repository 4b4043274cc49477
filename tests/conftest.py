"""What tests share: the compiled samplers, compiled once before workers would all do it, a cache folder, the app."""

import gc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seqgen.media import files

if TYPE_CHECKING:  # the process that starts the workers does without torch
    import served

COMPILE = """
import sys
from seqgen.inference.generate import Noise, sample
from seqgen.models import RNN
from seqgen.outputs import Categorical
from seqgen.nn.rounding import rounded

for kind in sys.argv[1:]:
    model = RNN(Categorical(3), hidden=4)
    sample(model if kind == "float32" else rounded(model, kind), Noise(1, 2, 0), loop="compiled")
"""


def pytest_configure(config: pytest.Config) -> None:
    """Runs once, in the process that starts the workers, or that has none."""
    if not hasattr(config, "workerinput"):
        command = [sys.executable, "-c", COMPILE]
        several = [subprocess.Popen([*command, *kinds]) for kinds in (["float32"], ["bfloat16", "int8"])]
        assert [process.wait() for process in several] == [0, 0]


def pytest_collection_finish() -> None:
    """Garbage collections pass over the million objects that the imports have made."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the module's own, with nothing in it but the compiled samplers."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "compiled").symlink_to(files.cache() / "compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQGEN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator["served.App"]:
    """The app with small models beside the bundled ones, for all tests that do not need one of their own.

    It runs without network, Lightning and the data modules.
    """
    import served

    folder = tmp_path_factory.mktemp("app")
    runs = [served.painter(folder / "canvas", 28), served.painter(folder / "painter")]
    runs += [served.vocoder(folder / "vocoder"), served.rows(folder / "rows")]
    with served.app(folder / "log.txt", runs, **served.blocking(folder)) as running:
        yield running
