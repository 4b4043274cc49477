"""PixelCNN."""

from collections.abc import Sequence

from seqgen.models.raster import Raster, check_even, check_sizes, input_width
from seqgen.nn.convolutions import GatedConvolutions, MaskedConvolutions
from seqgen.nn.raster import Stack
from seqgen.output import Output


class PixelCNN(Raster):
    """PixelCNN (van den Oord et al. 2016, arXiv:1601.06759), or the gated PixelCNN (arXiv:1606.05328).

    The receptive field of PixelCNN has a blind spot, above and to the right of a pixel. That of the gated PixelCNN,
    with its vertical and horizontal stacks, has none.

    Deviations: `filters` counts the features of one channel, the papers those of all; a constant input of ones
    distinguishes pixels from zero padding, as in PixelCNN++; PixelCNN can be conditioned on labels, too.

    Args:
        output: The output distribution.
        labels: The number of classes of each label.
        height: H, rows of an image.
        width: W, columns of an image.
        channels: C, 1 for grey and 3 for red, green, blue.
        gated: Whether it is the gated PixelCNN.
        depth: The number of layers after the first convolution.
        filters: Features of each channel of a pixel; even for PixelCNN, whose layers have half as many inside.
        kernel: Kernel size of the layers, odd.
        first: Kernel size of the first convolution, odd.
        end: Features of each channel in the layer before the output.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last) instead of a one-hot vector.

    >>> import torch
    >>> from seqgen.outputs import Bernoulli
    >>> model = PixelCNN(Bernoulli(), height=4, width=4, gated=True, filters=8, depth=2)
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
        gated: bool = False,
        depth: int = 7,
        filters: int = 32,
        kernel: int = 3,
        first: int = 7,
        end: int = 32,
        scalar: bool = True,
    ) -> None:
        check_sizes(height=height, width=width, channels=channels, depth=depth, filters=filters, end=end)
        features = filters * channels
        if gated:
            inputs = channels * input_width(output, scalar) + 1
            stack: Stack = GatedConvolutions(depth, channels, features, kernel, labels, inputs, first)
        else:
            check_even(filters)
            stack = MaskedConvolutions(depth, channels, features, kernel, labels)
        super().__init__(output, stack, height, width, channels, filters, first, end, scalar)
