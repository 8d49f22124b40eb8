"""Align-corners bilinear resizing, as DeepLab v1's INTERP layer does it (layers/interp_layer.cpp, util/interp.cpp)."""

from __future__ import annotations

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._view import check_device, stream, view
from deeplab_caffe.ops.sizes import interp_hw, interp_size

__all__ = ["interp", "interp_size"]


@torch.library.custom_op("deeplab_caffe::interp", mutates_args=())
def _interp(x: Tensor, height: int, width: int, pad_beg: int, pad_end: int) -> Tensor:
    check_device("interp", x)
    output = x.new_empty((x.shape[0], x.shape[1], height, width))
    _C.interp_forward(view(x), view(output), pad_beg, pad_end, stream(x))
    return output


@_interp.register_fake
def _(x: Tensor, height: int, width: int, pad_beg: int, pad_end: int) -> Tensor:
    torch._check(x.dim() == 4, lambda: f"interp: expected (N, C, H, W), got {tuple(x.shape)}")
    return x.new_empty((x.shape[0], x.shape[1], height, width))


@torch.library.custom_op("deeplab_caffe::interp_backward", mutates_args=())
def _interp_backward(grad: Tensor, height: int, width: int, pad_beg: int, pad_end: int) -> Tensor:
    check_device("interp backward", grad)
    grad = grad.contiguous()
    grad_input = grad.new_empty((grad.shape[0], grad.shape[1], height, width))
    _C.interp_backward(view(grad), view(grad_input), pad_beg, pad_end, stream(grad))
    return grad_input


@_interp_backward.register_fake
def _(grad: Tensor, height: int, width: int, pad_beg: int, pad_end: int) -> Tensor:
    return grad.new_empty((grad.shape[0], grad.shape[1], height, width))


def _save_sizes(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, _, _, ctx.pad_beg, ctx.pad_end = inputs
    ctx.height, ctx.width = x.shape[2:]


def _forward_gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    return _interp_backward(grad, ctx.height, ctx.width, ctx.pad_beg, ctx.pad_end), None, None, None, None


def _backward_gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    return _interp(grad, ctx.height, ctx.width, ctx.pad_beg, ctx.pad_end), None, None, None, None


# The operation is linear and its backward the exact adjoint, so each is the other's gradient.
_interp.register_autograd(_forward_gradient, setup_context=_save_sizes)
_interp_backward.register_autograd(_backward_gradient, setup_context=_save_sizes)


def interp(
    x: Tensor,
    *,
    height: int | None = None,
    width: int | None = None,
    zoom_factor: int | None = None,
    shrink_factor: int | None = None,
    pad_beg: int = 0,
    pad_end: int = 0,
) -> Tensor:
    """Resizes a blob bilinearly, corners on corners, after dropping ``-pad_beg`` / ``-pad_end`` border pixels.

    Args:
        x: (N, C, H, W) float32 or float64, any strides, on the CPU or a CUDA device.
        height: output height; needs ``width`` too.
        width: output width.
        zoom_factor: see :func:`interp_size`.
        shrink_factor: see :func:`interp_size`.
        pad_beg: 0 or negative: rows and columns dropped at the top and left.
        pad_end: 0 or negative: rows and columns dropped at the bottom and right.

    Returns:
        (N, C, OH, OW), contiguous, of the input's dtype and device. Differentiable, twice.

    Raises:
        ValueError: not exactly one way to size the output, a positive padding, nothing left of the input, a wrong
            dtype or number of dimensions.
    """
    if x.dim() != 4:
        raise ValueError(f"interp: expected (N, C, H, W), got shape {tuple(x.shape)}")
    size = interp_hw(
        x.shape,
        height=height,
        width=width,
        zoom_factor=zoom_factor,
        shrink_factor=shrink_factor,
        pad_beg=pad_beg,
        pad_end=pad_end,
    )
    return call(_interp, x, *size, pad_beg, pad_end)
