"""PixelRNN."""

from collections.abc import Sequence
from typing import Literal

from seqgen.config import SeqgenError
from seqgen.models.raster import Raster, check_even, check_sizes, input_width
from seqgen.nn.diagonal import DiagonalBiLSTM
from seqgen.nn.raster import Stack
from seqgen.nn.rows import RowLSTM
from seqgen.output import Output


class PixelRNN(Raster):
    """PixelRNN (van den Oord et al. 2016, arXiv:1601.06759): layers of Row LSTMs or of Diagonal BiLSTMs.

    Deviations: `filters` counts the features of one channel, the paper those of all; a constant input of ones
    distinguishes pixels from zero padding; the model can be conditioned on labels.

    Args:
        output: The output distribution.
        labels: The number of classes of each label.
        height: H, rows of an image.
        width: W, columns of an image.
        channels: C, 1 for grey and 3 for red, green, blue.
        cell: `row` for Row LSTMs, which are faster, or `diagonal` for Diagonal BiLSTMs, whose receptive field is
            unbounded.
        depth: The number of layers after the first convolution.
        filters: Features of each channel of a pixel, even; an LSTM has half as many units.
        kernel: Kernel size of the Row LSTMs, odd.
        first: Kernel size of the first convolution, odd.
        end: Features of each channel in the layer before the output.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last) instead of a one-hot vector.

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
        features = filters * channels
        stack: Stack
        if cell == "row":
            stack = RowLSTM(depth, channels, features, kernel, labels)
        else:
            stack = DiagonalBiLSTM(depth, channels, features, labels, channels * input_width(output, scalar) + 1)
        super().__init__(output, stack, height, width, channels, filters, first, end, scalar)
