"""Implementations of Output."""

from seqgen.outputs.bernoulli import Bernoulli as Bernoulli
from seqgen.outputs.categorical import Categorical as Categorical

__all__ = ["Bernoulli", "Categorical"]
