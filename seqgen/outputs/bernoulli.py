"""One of two classes."""

import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs.categorical import invert, restrict


class Bernoulli(Output):
    """0 or 1; the parameter is one logit: `p(x = 1) = 1 / (1 + exp(-o))`.

    The distribution is the Categorical over {0, 1} with logits (0, o), so that temperature 0 and top_k = 1 leave exact
    zeros. Temperature divides the logit; `top_k`, `top_p` and `exclude` act on the two classes.
    """

    size = 1
    width = 1
    dtype = torch.int64

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> distributions.Categorical:
        """The distribution of symbols (...) given one logit (..., 1)."""
        logits = restrict(F.pad(parameters, (1, 0)), sampling)
        return distributions.Categorical(logits=logits, validate_args=False)

    def embed(self, x: Tensor) -> Tensor:
        """The symbol itself (..., 1)."""
        return x.unsqueeze(-1).to(torch.get_default_dtype())

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        """0 where the noise lies below p(x = 0), 1 elsewhere."""
        return invert(self(parameters, sampling).probs, noise)
