"""seqgen: train, sample and score autoregressive models of text, sound, images and numbers.

The names below are loaded when they are first used, so that `seqgen --help` need not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqgen.codec import Codec as Codec
    from seqgen.config import SeqgenError as SeqgenError
    from seqgen.inference.score import Scores as Scores
    from seqgen.model import Model as Model
    from seqgen.output import Output as Output
    from seqgen.output import Sampling as Sampling
    from seqgen.pipeline import Pipeline as Pipeline
    from seqgen.pipeline import load as load

__version__ = "0.1.0"

_HOME = {
    "load": "seqgen.pipeline",
    "Pipeline": "seqgen.pipeline",
    "Model": "seqgen.model",
    "Output": "seqgen.output",
    "Codec": "seqgen.codec",
    "Sampling": "seqgen.output",
    "SeqgenError": "seqgen.config",
    "Scores": "seqgen.inference.score",
}
__all__ = ["Codec", "Model", "Output", "Pipeline", "Sampling", "Scores", "SeqgenError", "load"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'seqgen' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
