"""What a convolution multiplies, along one axis."""

from __future__ import annotations

from deeplab_caffe.ops.sizes import conv_output_size


def products(length: int, pad: int, dilation: int, tile: int, *, kernel: int = 3, stride: int = 1) -> int:
    """Return the products along an axis of ``length`` pixels, for each channel and output.

    Of a direct convolution, ``tile`` 1, taps that lie in the padding are left out; Winograd's algorithm, of so many
    outputs a tile, has a kernel of three and a stride of one.
    """
    size = conv_output_size(length, kernel, stride, pad, dilation)
    if tile == 1:
        places = (out * stride - pad + tap * dilation for out in range(size) for tap in range(kernel))
        return sum(0 <= place < length for place in places)
    phases = range(min(dilation, size))
    # Of the images of every `dilation`-th output, some are longer by one.
    return (tile + kernel - 1) * sum(-(-len(range(phase, size, dilation)) // tile) for phase in phases)
