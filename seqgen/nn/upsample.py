"""Local conditioning: features at a frame rate, such as mel spectra, brought to the rate of the symbols."""

from typing import Literal

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context


class Upsample(nn.Module):
    """Frames (B, F, D) as conditioning (B, F * hop, C): a product with a matrix, then upsampling by `hop`.

    `repeat` holds each frame for its `hop` symbols. `learnt` is a transposed convolution of each channel (van den Oord
    et al. 2016, section 2.5), three frames wide, which begins as the straight line between the centres of the frames.
    Beyond its ends a sequence of frames goes on as it begins and ends.
    """

    def __init__(self, features: int, hop: int, width: int, kind: Literal["repeat", "learnt"] = "learnt") -> None:
        super().__init__()
        if min(features, hop, width) < 1 or kind not in ("repeat", "learnt"):
            raise SeqgenError(
                f"features {features}, hop {hop}, width {width}: expected 1 or more; {kind!r}: repeat, learnt"
            )
        self.hop = hop
        self.project = nn.Linear(features, width)
        places = (torch.arange(3 * hop) + 0.5) / hop - 1.5  # of the symbols, in frames, seen from a frame's centre
        line = (1 - places.abs()).clamp(min=0)
        self.kernel = nn.Parameter(line.view(3, hop, 1).repeat(1, 1, width)) if kind == "learnt" else None

    def forward(self, context: Context | None, first: int, count: int) -> Tensor:
        """Conditioning (B, count, C) of the symbols from `first` on.

        Raises SeqgenError for a context without features, with others, or with too few for so many symbols.
        """
        frames = self._frames(context)
        start, stop = first // self.hop, -(-(first + count) // self.hop)
        if stop > frames.shape[1]:
            raise SeqgenError(
                f"{frames.shape[1]} frames of {self.hop} symbols condition {frames.shape[1] * self.hop} symbols, "
                f"expected {first + count}"
            )
        near = torch.arange(start - 1, stop + 1, device=frames.device).clamp(0, frames.shape[1] - 1)
        c = self.project(frames[:, near])  # (B, n + 2, C)
        return self._spread(c)[:, first - start * self.hop :][:, :count]

    def covered(self, context: Context | None) -> int:
        """The number of symbols that a context conditions."""
        return self._frames(context).shape[1] * self.hop

    def _spread(self, c: Tensor) -> Tensor:
        """Frames (B, n + 2, C), a neighbour on either side, as (B, n hop, C)."""
        inner = c.shape[1] - 2
        if self.kernel is None:
            return c[:, 1:-1].repeat_interleave(self.hop, 1)
        # A frame reaches the symbols of its neighbours: the frame behind with the kernel's first third, and so on.
        thirds = (c[:, 2 - third :][:, :inner, None] * self.kernel[third] for third in range(3))
        return torch.stack(list(thirds)).sum(0).flatten(1, 2)

    def _frames(self, context: Context | None) -> Tensor:
        expected = self.project.in_features
        if context is None or context.features is None:
            raise SeqgenError(f"the model is conditioned on {expected} features a frame, got none")
        if context.features.ndim != 3 or context.features.shape[2] != expected or not context.features.shape[1]:
            raise SeqgenError(
                f"features are {tuple(context.features.shape)}, expected (batch, frames, {expected}), one frame or more"
            )
        return context.features.to(self.project.weight.dtype)
