"""PixelCNN."""

from collections.abc import Sequence

from seqgen.models.raster import Raster, check_even, check_sizes, embedded
from seqgen.nn.convolutions import GatedConvolutions, MaskedConvolutions
from seqgen.nn.raster import Stack
from seqgen.output import Output


class PixelCNN(Raster):
    """Masked convolutions of images (van den Oord et al. 2016, arXiv:1601.06759), or gated ones (arXiv:1606.05328).

    The plain network has a blind spot: what lies right of a diagonal above a pixel it never sees. The gated one, with
    its vertical and horizontal stacks, sees all.

    Deviations: `filters` are those of one channel, where the papers count those of all; an image is told from the
    zeros around it by a channel of ones, as in PixelCNN++; labels are added in the plain network, too.

    Args:
        output: What the parameters mean.
        labels: The number of classes of every label.
        height: H, rows of an image.
        width: W, columns.
        channels: C, 1 for grey and 3 for red, green, blue.
        gated: Whether it is the gated one.
        depth: Layers behind the first convolution.
        filters: Features of every channel of a pixel, between layers; inside a layer of the plain network half as many.
        kernel: Width of their kernels, odd.
        first: Width of the first convolution's, odd.
        end: Features of every channel before the parameters.
        scalar: Whether a class enters as one number from -1 (the first) to 1 (the last), not as its one-hot vector.

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
        every = filters * channels
        if gated:
            inputs = channels * embedded(output, scalar) + 1
            stack: Stack = GatedConvolutions(depth, channels, every, kernel, labels, inputs, first)
        else:
            check_even(filters)
            stack = MaskedConvolutions(depth, channels, every, kernel, labels)
        super().__init__(output, stack, height, width, channels, filters, first, end, scalar)
