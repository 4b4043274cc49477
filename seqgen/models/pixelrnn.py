"""PixelRNN."""

from collections.abc import Sequence
from typing import Literal

from seqgen.config import SeqgenError
from seqgen.models.raster import Raster, check_even, check_sizes, embedded
from seqgen.nn.diagonal import DiagonalBiLSTM
from seqgen.nn.raster import Stack
from seqgen.nn.rows import RowLSTM
from seqgen.output import Output


class PixelRNN(Raster):
    """LSTMs over images (van den Oord et al. 2016, arXiv:1601.06759): the Row LSTM, or the Diagonal BiLSTM.

    Deviations: `filters` are those of one channel, where the paper counts those of all; an image is told from the
    zeros around it by a channel of ones; there are labels.

    Args:
        output: What the parameters mean.
        labels: The number of classes of every label.
        height: H, rows of an image.
        width: W, columns.
        channels: C, 1 for grey and 3 for red, green, blue.
        cell: Row LSTMs, which are the faster ones, or Diagonal BiLSTMs, which see all that is above and left.
        depth: Layers behind the first convolution.
        filters: Features of every channel of a pixel, between layers; an LSTM has half as many units.
        kernel: Width of the Row LSTM's kernels, odd.
        first: Width of the first convolution's, odd.
        end: Features of every channel before the parameters.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last), not as its one-hot vector.

    >>> import torch
    >>> from seqgen.outputs import Bernoulli
    >>> model = PixelRNN(Bernoulli(), height=4, width=4, cell="diagonal", filters=8, depth=2)
    >>> model(torch.zeros(2, 16, dtype=torch.int64)).shape
    torch.Size([2, 16, 1])
    """

    def __init__(
        self,
        output: Output,
        labels: Sequence[int] = (),
        *,
        height: int,
        width: int,
        channels: int = 1,
        cell: Literal["row", "diagonal"] = "row",
        depth: int = 7,
        filters: int = 32,
        kernel: int = 3,
        first: int = 7,
        end: int = 32,
        scalar: bool = True,
    ) -> None:
        check_sizes(height=height, width=width, channels=channels, depth=depth, filters=filters, end=end)
        check_even(filters)
        if cell not in ("row", "diagonal"):
            raise SeqgenError(f"cell is {cell!r}, expected row or diagonal")
        every = filters * channels
        stack: Stack
        if cell == "row":
            stack = RowLSTM(depth, channels, every, kernel, labels)
        else:
            stack = DiagonalBiLSTM(depth, channels, every, labels, channels * embedded(output, scalar) + 1)
        super().__init__(output, stack, height, width, channels, filters, first, end, scalar)
