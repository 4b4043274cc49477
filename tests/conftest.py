"""What all tests share: the compiled samplers, compiled once before workers would all do it."""

import subprocess
import sys

import pytest

COMPILE = """
from seqgen.inference.generate import Noise, sample
from seqgen.models import RNN
from seqgen.outputs import Categorical
from seqgen.nn.rounding import rounded

for kind in ("float32", "bfloat16", "int8"):
    model = RNN(Categorical(3), hidden=4)
    sample(model if kind == "float32" else rounded(model, kind), Noise(1, 2, 0), loop="compiled")
"""


def pytest_configure(config: pytest.Config) -> None:
    """Runs once, in the process that starts the workers, or that has none."""
    if not hasattr(config, "workerinput"):
        subprocess.run([sys.executable, "-c", COMPILE], check=True, capture_output=True)
