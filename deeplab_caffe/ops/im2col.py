"""im2col and col2im with dilation, the paper's "hole algorithm" (section 3.1), as the original's util/im2col.cpp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import Pair, check_blob, conv_output_size, output_hw, pairs

__all__ = ["Pair", "col2im", "conv_output_size", "im2col"]

Sizes = Sequence[int]


def _columns(xp: Arrays, x: Any, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes) -> Any:
    check_blob(xp, "im2col", "x", x)
    size = output_hw(x.shape, kernel, stride, pad, dilation)
    return xp.empty((x.shape[0], x.shape[1] * kernel[0] * kernel[1], *size), x.dtype)


@operator(
    "im2col(Tensor x, SymInt[] kernel, SymInt[] stride, SymInt[] pad, SymInt[] dilation) -> Tensor", result=_columns
)
def _im2col(xp: Arrays, columns: Any, x: Any, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes) -> None:
    _C.im2col(xp.view(x), xp.view(columns), kernel, stride, pad, dilation, xp.stream)


def _image(xp: Arrays, columns: Any, size: Sizes, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes) -> Any:
    check_blob(xp, "col2im", "columns", columns)
    output_hw((0, 0, *size), kernel, stride, pad, dilation)  # refuses arguments that the division below cannot take
    return xp.empty((columns.shape[0], columns.shape[1] // (kernel[0] * kernel[1]), *size), columns.dtype)


@operator(
    "col2im(Tensor columns, SymInt[] size, SymInt[] kernel, SymInt[] stride, SymInt[] pad, SymInt[] dilation)"
    " -> Tensor",
    result=_image,
)
def _col2im(
    xp: Arrays, image: Any, columns: Any, size: Sizes, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes
) -> None:
    _C.col2im(xp.view(xp.contiguous(columns)), xp.view(image), kernel, stride, pad, dilation, xp.stream)


def _save_im2col(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, *ctx.geometry = inputs
    ctx.size = list(x.shape[2:])


def _save_col2im(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, _, *ctx.geometry = inputs


# Both are linear and each is the other's exact adjoint, so each is the other's gradient.
_im2col.differentiate(_save_im2col, lambda ctx, grad: (_col2im(grad, ctx.size, *ctx.geometry), *(None,) * 4))
_col2im.differentiate(_save_col2im, lambda ctx, grad: (_im2col(grad, *ctx.geometry), *(None,) * 5))


def im2col(x: ArrayT, kernel: Pair, *, stride: Pair = 1, pad: Pair = 0, dilation: Pair = 1) -> ArrayT:
    """Return the values that a convolution reads, one column per output pixel (the IM2COL layer).

    Args:
        x: (N, C, H, W) float32 or float64, any strides: torch's, CuPy's or NumPy's.
        kernel: one number, or (height, width); so are the next arguments.
        stride: pixels between outputs.
        pad: zeros around the input.
        dilation: distance between taps in pixels.

    Returns:
        (N, C * kernel_h * kernel_w, OH, OW), contiguous; channel ``(c * kernel_h + ky) * kernel_w + kx`` has tap
        (ky, kx) of channel c. Sizes by :func:`conv_output_size`. torch can differentiate it any number of times.

    Raises:
        ValueError: the dtype or number of dimensions is wrong, an argument is out of its range, or the kernel does not
            fit into the padded input.
    """
    result: ArrayT = _im2col(x, *pairs(kernel=kernel, stride=stride, pad=pad, dilation=dilation))
    return result


def col2im(columns: ArrayT, size: Pair, kernel: Pair, *, stride: Pair = 1, pad: Pair = 0, dilation: Pair = 1) -> ArrayT:
    """Add every column element to the pixel it was read from: the exact adjoint of :func:`im2col`.

    Args:
        columns: (N, C * kernel_h * kernel_w, OH, OW) float32 or float64.
        size: (H, W) of the image, or one number for both.
        kernel: one number, or (height, width), as for :func:`im2col`; so are the next arguments.
        stride: pixels between outputs.
        pad: zeros around the input.
        dilation: distance between taps in pixels.

    Returns:
        (N, C, H, W), contiguous. torch can differentiate it any number of times. The order of the sums is fixed, so the
        bits do not vary.

    Raises:
        ValueError: ``columns`` does not have the shape that :func:`im2col` gives for such an image.
    """
    arguments = pairs(size=size, kernel=kernel, stride=stride, pad=pad, dilation=dilation)
    result: ArrayT = _col2im(columns, *arguments)
    return result
