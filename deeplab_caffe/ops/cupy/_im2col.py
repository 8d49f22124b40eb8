"""im2col and col2im with hole on CuPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops.cupy._arrays import library, stream_of, take_images, view
from deeplab_caffe.ops.sizes import Pair, output_hw, pairs

if TYPE_CHECKING:
    import cupy


def im2col(x: Any, kernel: Pair, *, stride: Pair = 1, pad: Pair = 0, hole: Pair = 1) -> cupy.ndarray:
    """What a convolution reads: :func:`deeplab_caffe.ops.im2col.im2col` on a CuPy array.

    Args:
        x: (N, C, H, W) float32 or float64, any strides.
        kernel: one number, or (height, width); so the rest.
        stride: pixels between outputs.
        pad: zeros around the input.
        hole: pixels between taps.

    Returns:
        (N, C * kernel_h * kernel_w, OH, OW), contiguous.

    Raises:
        ValueError: as there.
    """
    x = take_images("im2col", "x", x)
    geometry = pairs(kernel=kernel, stride=stride, pad=pad, hole=hole)
    size = output_hw(x.shape, *geometry)
    taps = geometry[0][0] * geometry[0][1]
    with stream_of(x) as stream:
        columns = library().empty((x.shape[0], x.shape[1] * taps, *size), x.dtype)
        _C.im2col(view(x), view(columns), *geometry, stream)
    return columns


def col2im(columns: Any, size: Pair, kernel: Pair, *, stride: Pair = 1, pad: Pair = 0, hole: Pair = 1) -> cupy.ndarray:
    """The exact adjoint of :func:`im2col`: :func:`deeplab_caffe.ops.im2col.col2im` on a CuPy array.

    Args:
        columns: (N, C * kernel_h * kernel_w, OH, OW) float32 or float64.
        size: (H, W) of the image, or one number for both.
        kernel: as for :func:`im2col`; so the rest.
        stride: pixels between outputs.
        pad: zeros around the input.
        hole: pixels between taps.

    Returns:
        (N, C, H, W), contiguous. The sum has one order, so the bits do not vary.

    Raises:
        ValueError: ``columns`` is not what :func:`im2col` makes of such an image.
    """
    columns = take_images("col2im", "columns", columns)
    (height, width), *geometry = pairs(size=size, kernel=kernel, stride=stride, pad=pad, hole=hole)
    output_hw((0, 0, height, width), *geometry)  # refuses what the division below cannot take
    cp = library()
    with stream_of(columns) as stream:
        columns = cp.ascontiguousarray(columns)
        channels = columns.shape[1] // (geometry[0][0] * geometry[0][1])
        output = cp.empty((columns.shape[0], channels, height, width), columns.dtype)
        _C.col2im(view(columns), view(output), *geometry, stream)
    return output
