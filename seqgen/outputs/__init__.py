"""Implementations of Output."""

from seqgen.outputs.bernoulli import Bernoulli as Bernoulli
from seqgen.outputs.categorical import Categorical as Categorical
from seqgen.outputs.gaussians import Gaussians as Gaussians
from seqgen.outputs.logistics import DiscretizedLogistics as DiscretizedLogistics

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogistics", "Gaussians"]
