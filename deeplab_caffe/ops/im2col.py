"""im2col and col2im with hole, the paper's "hole algorithm" (section 3.1), as the original's util/im2col.cpp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._view import check_device, stream, view
from deeplab_caffe.ops.sizes import Pair, conv_output_size, output_hw, pairs

__all__ = ["Pair", "col2im", "conv_output_size", "im2col"]


def check_image(operation: str, x: Tensor) -> None:
    """Raises ValueError for what the kernels cannot take."""
    check_device(operation, x)
    if x.dim() != 4:
        raise ValueError(f"{operation}: expected (N, C, H, W), got shape {tuple(x.shape)}")
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{operation}: expected float32 or float64, got {x.dtype}")


@torch.library.custom_op("deeplab_caffe::im2col", mutates_args=())
def _im2col(x: Tensor, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], hole: Sequence[int]) -> Tensor:
    check_image("im2col", x)
    height, width = output_hw(x.shape, kernel, stride, pad, hole)
    columns = x.new_empty((x.shape[0], x.shape[1] * kernel[0] * kernel[1], height, width))
    _C.im2col(view(x), view(columns), kernel, stride, pad, hole, stream(x))
    return columns


@_im2col.register_fake
def _(x: Tensor, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], hole: Sequence[int]) -> Tensor:
    height, width = output_hw(x.shape, kernel, stride, pad, hole)
    return x.new_empty((x.shape[0], x.shape[1] * kernel[0] * kernel[1], height, width))


@torch.library.custom_op("deeplab_caffe::col2im", mutates_args=())
def _col2im(
    columns: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    hole: Sequence[int],
) -> Tensor:
    check_image("col2im", columns)
    output_hw((0, 0, *size), kernel, stride, pad, hole)  # refuses what the division below cannot take
    columns = columns.contiguous()
    output = columns.new_empty((columns.shape[0], columns.shape[1] // (kernel[0] * kernel[1]), *size))
    _C.col2im(view(columns), view(output), kernel, stride, pad, hole, stream(columns))
    return output


@_col2im.register_fake
def _(
    columns: Tensor,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    hole: Sequence[int],
) -> Tensor:
    return columns.new_empty((columns.shape[0], columns.shape[1] // (kernel[0] * kernel[1]), *size))


def _save_im2col(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, *ctx.geometry = inputs
    ctx.size = list(x.shape[2:])


def _save_col2im(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    _, _, *ctx.geometry = inputs


def _im2col_gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    return _col2im(grad, ctx.size, *ctx.geometry), None, None, None, None


def _col2im_gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    return _im2col(grad, *ctx.geometry), None, None, None, None, None


# Both are linear and each is the other's exact adjoint, so each is the other's gradient.
_im2col.register_autograd(_im2col_gradient, setup_context=_save_im2col)
_col2im.register_autograd(_col2im_gradient, setup_context=_save_col2im)


def im2col(x: Tensor, kernel: Pair, *, stride: Pair = 1, pad: Pair = 0, hole: Pair = 1) -> Tensor:
    """What a convolution reads, one column per output pixel (the IM2COL layer).

    Args:
        x: (N, C, H, W) float32 or float64, any strides, on the CPU or a CUDA device.
        kernel: one number, or (height, width); so the rest.
        stride: pixels between outputs.
        pad: zeros around the input.
        hole: pixels between taps.

    Returns:
        (N, C * kernel_h * kernel_w, OH, OW), contiguous; channel ``(c * kernel_h + ky) * kernel_w + kx`` holds tap
        (ky, kx) of channel c. Sizes by :func:`conv_output_size`. Differentiable, any number of times.

    Raises:
        ValueError: a wrong dtype or number of dimensions, an argument out of its range, a kernel that does not fit.
    """
    return call(_im2col, x, *pairs(kernel=kernel, stride=stride, pad=pad, hole=hole))


def col2im(columns: Tensor, size: Pair, kernel: Pair, *, stride: Pair = 1, pad: Pair = 0, hole: Pair = 1) -> Tensor:
    """The exact adjoint of :func:`im2col`: every column element added to the pixel it was read from.

    Args:
        columns: (N, C * kernel_h * kernel_w, OH, OW) float32 or float64.
        size: (H, W) of the image, or one number for both.
        kernel: as for :func:`im2col`; so the rest.
        stride: pixels between outputs.
        pad: zeros around the input.
        hole: pixels between taps.

    Returns:
        (N, C, H, W), contiguous. Differentiable, any number of times. The sum has one order, so the bits do not vary.

    Raises:
        ValueError: ``columns`` is not what :func:`im2col` makes of such an image.
    """
    return _col2im(columns, *pairs(size=size, kernel=kernel, stride=stride, pad=pad, hole=hole))
