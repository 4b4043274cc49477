"""Local conditioning: features at a frame rate, such as mel spectra, upsampled to the rate of the symbols."""

from typing import Literal

import torch
from torch import Tensor, nn

from seqgen.config import SeqgenError
from seqgen.model import Context


class Upsample(nn.Module):
    """Frames (B, F, D) as conditioning (B, F * hop, C): a linear projection, then upsampling by `hop`.

    `repeat` is nearest-neighbour upsampling. `learnt` is a depthwise transposed convolution (van den Oord et al. 2016,
    section 2.5) with a kernel of 3 hop, initialised to linear interpolation between the centres of frames. The first
    and the last frame are replicated beyond the ends. With `layers`, as many convolutions over three frames, each with
    a tanh, come before the projection. Frames may have `ignored` more numbers at their end.
    """

    def __init__(
        self,
        features: int,
        hop: int,
        width: int,
        kind: Literal["repeat", "learnt"] = "learnt",
        layers: int = 0,
        ignored: int = 0,
    ) -> None:
        super().__init__()
        if min(features, hop, width) < 1 or layers < 0 or kind not in ("repeat", "learnt"):
            raise SeqgenError(
                f"features {features}, hop {hop}, width {width}, layers {layers}, upsampling {kind!r}: expected "
                "numbers of 1 or more, layers of 0 or more, and repeat or learnt"
            )
        self.hop, self.features, self.ignored = hop, features, ignored
        widths = [features] + [width] * layers
        self.layers = nn.ModuleList(nn.Conv1d(inner, width, 3) for inner in widths[:-1])
        self.project = nn.Linear(widths[-1], width)
        offsets = (torch.arange(3 * hop) + 0.5) / hop - 1.5  # of symbols from the centre of a frame, in frames
        triangle = (1 - offsets.abs()).clamp(min=0)
        self.kernel = nn.Parameter(triangle.view(3, hop, 1).repeat(1, 1, width)) if kind == "learnt" else None

    def forward(self, context: Context | None, first: int, count: int) -> Tensor:
        """Conditioning (B, count, C) of symbols `first` ... `first + count - 1`.

        Raises SeqgenError for a context without features, with frames of another size, or with too few frames.
        """
        frames = self._frames(context)
        start, stop = first // self.hop, -(-(first + count) // self.hop)
        if stop > frames.shape[1]:
            raise SeqgenError(
                f"{frames.shape[1]} frames of {self.hop} symbols condition {frames.shape[1] * self.hop} symbols, "
                f"expected {first + count}"
            )
        near = torch.arange(start - self.reach, stop + self.reach, device=frames.device).clamp(0, frames.shape[1] - 1)
        c = frames[:, near, : self.features].to(self.project.weight.dtype)  # (B, n + 2 reach, D)
        for layer in self.layers:
            c = layer(c.transpose(1, 2)).tanh().transpose(1, 2)
        c = self.project(c)  # (B, n + 2, C)
        return self._upsample(c)[:, first - start * self.hop :][:, :count]

    @property
    def reach(self) -> int:
        """The number of frames on either side of a symbol's own that its conditioning depends on."""
        return 1 + len(self.layers)

    def ignored_part(self, context: Context | None) -> Tensor:
        """The numbers (B, F, ignored) at the end of the frames."""
        return self._frames(context)[..., self.features :]

    def length(self, context: Context | None) -> int:
        """The number of symbols that the features of a context condition, F * hop."""
        return self._frames(context).shape[1] * self.hop

    def _upsample(self, c: Tensor) -> Tensor:
        """(B, n hop, C) from projected frames (B, n + 2, C), of which the first and last are neighbours alone."""
        inner = c.shape[1] - 2
        if self.kernel is None:
            return c[:, 1:-1].repeat_interleave(self.hop, 1)
        # A symbol depends on three frames: the next one by the first third of the kernel, its own, and the last one.
        thirds = (c[:, 2 - third :][:, :inner, None] * self.kernel[third] for third in range(3))
        return torch.stack(list(thirds)).sum(0).flatten(1, 2)

    def _frames(self, context: Context | None) -> Tensor:
        expected = self.features + self.ignored
        if context is None or context.features is None:
            raise SeqgenError(
                f"got no features, expected frames of {expected} numbers: the model is conditioned on them"
            )
        if context.features.ndim != 3 or context.features.shape[2] != expected or not context.features.shape[1]:
            raise SeqgenError(
                f"features are {tuple(context.features.shape)}, expected (batch, frames, {expected}), one frame or more"
            )
        return context.features
