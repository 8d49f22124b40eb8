"""Convolution with hole by the original's own arithmetic, im2col and GEMM (layers/conv_layer.cpp): engine CAFFE."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._view import stream, view
from deeplab_caffe.ops.im2col import check_image, col2im, im2col
from deeplab_caffe.ops.sizes import Pair, check_weight, conv_output_size, output_hw, pairs

__all__ = ["col2im", "conv2d", "conv_output_size", "im2col"]


class _Images:
    """A convolution taken image by image: one image's columns at a time, in one buffer, as the original has it."""

    def __init__(
        self,
        x: Tensor,
        weight: Tensor,
        stride: Sequence[int],
        pad: Sequence[int],
        hole: Sequence[int],
        groups: int,
    ) -> None:
        self.x = x
        self.groups = groups
        self.geometry = (list(weight.shape[2:]), list(stride), list(pad), list(hole))
        self.height, self.width = output_hw(x.shape, *self.geometry)
        self.weight = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1:].numel())
        # A 1x1 convolution's columns are the image itself (layers/conv_layer.cpp:61-65).
        self.direct = all(
            list(given) == [value, value] for given, value in zip(self.geometry[:3], (1, 1, 0), strict=True)
        )
        if self.direct:
            self.x = x.contiguous()
            self.buffer = x.new_empty(0)
        else:
            taps = self.weight.shape[2] * groups
            self.buffer = x.new_empty((1, taps, self.height, self.width))

    def columns(self, n: int) -> Tensor:
        """The columns of image n as (groups, C / groups * kernel_h * kernel_w, OH * OW)."""
        columns = self.x[n]
        if not self.direct:
            columns = self.buffer
            _C.im2col(view(self.x[n : n + 1]), view(columns), *self.geometry, stream(columns))
        return self.split(columns)

    def split(self, image: Tensor) -> Tensor:
        """One image's channels and pixels as (groups, channels / groups, pixels)."""
        return image.view(self.groups, image.shape[-3] // self.groups, self.height * self.width)

    def add_to_image(self, grad: Tensor, target: Tensor) -> None:
        """Writes the gradient of one image, (1, C, H, W), from that of its output, (groups, O / groups, OH * OW)."""
        columns = self.split(target if self.direct else self.buffer)
        for group in range(self.groups):
            torch.mm(self.weight[group].t(), grad[group], out=columns[group])
        if not self.direct:
            _C.col2im(view(self.buffer), view(target), *self.geometry, stream(target))


def _check_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> None:
    check_image("convolution", x)
    check_weight(x.shape, weight.shape, groups)
    if bias is not None and bias.numel() != weight.shape[0]:
        raise ValueError(f"convolution: expected {weight.shape[0]} biases, got shape {tuple(bias.shape)}")
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None and (tensor.dtype, tensor.device) != (x.dtype, x.device):
            raise ValueError(
                f"convolution: the input is {x.dtype} on {x.device}, "
                f"but the {name} is {tensor.dtype} on {tensor.device}"
            )


@torch.library.custom_op("deeplab_caffe::conv2d", mutates_args=())
def _conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pad: Sequence[int],
    hole: Sequence[int],
    groups: int,
) -> Tensor:
    _check_convolution(x, weight, bias, groups)
    images = _Images(x, weight, stride, pad, hole, groups)
    output = x.new_empty((x.shape[0], weight.shape[0], images.height, images.width))
    for n in range(x.shape[0]):
        columns, target = images.columns(n), images.split(output[n])
        for group in range(groups):
            torch.mm(images.weight[group], columns[group], out=target[group])
    if bias is not None:
        output += bias.view(-1, 1, 1)
    return output


@_conv2d.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pad: Sequence[int],
    hole: Sequence[int],
    groups: int,
) -> Tensor:
    height, width = output_hw(x.shape, weight.shape[2:], stride, pad, hole)
    return x.new_empty((x.shape[0], weight.shape[0], height, width))


@torch.library.custom_op("deeplab_caffe::conv2d_backward", mutates_args=())
def _conv2d_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    hole: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    """Gradients of x and weight; an empty tensor for one that is not wanted."""
    _check_convolution(x, weight, None, groups)
    grad = grad.contiguous()
    images = _Images(x, weight, stride, pad, hole, groups)
    grad_x = x.new_empty(x.shape if wanted[0] else 0)
    grad_weight = weight.new_zeros(weight.shape if wanted[1] else 0)
    for n in range(x.shape[0]):
        image_grad = images.split(grad[n])
        if wanted[1]:
            # The columns are made again, not kept from the forward pass: they are kernel_h * kernel_w times the input.
            columns, sums = images.columns(n), grad_weight.view(images.weight.shape)
            for group in range(groups):
                sums[group].addmm_(image_grad[group], columns[group].t())
        if wanted[0]:
            images.add_to_image(image_grad, grad_x[n : n + 1])
    return grad_x, grad_weight


@_conv2d_backward.register_fake
def _(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    pad: Sequence[int],
    hole: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape if wanted[0] else 0), weight.new_empty(weight.shape if wanted[1] else 0)


def _save_conv2d(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    x, weight, _, *ctx.geometry = inputs
    ctx.save_for_backward(x, weight)


def _conv2d_gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
    grad_x = grad_weight = None
    if wants_x or wants_weight:
        grad_x, grad_weight = _conv2d_backward(grad, *ctx.saved_tensors, *ctx.geometry, [wants_x, wants_weight])
    return (
        grad_x if wants_x else None,
        grad_weight if wants_weight else None,
        grad.sum((0, 2, 3)) if wants_bias else None,
        *(None,) * 4,
    )


def _save_conv2d_backward(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: tuple) -> None:
    grad, x, weight, *ctx.geometry, ctx.wanted = inputs
    ctx.save_for_backward(grad, x, weight)


def _conv2d_backward_gradient(ctx: torch.autograd.function.FunctionCtx, grad_x: Tensor, grad_weight: Tensor) -> tuple:
    """A convolution is linear in x and in weight, so its backward's gradients are convolutions and backwards again."""
    grad, x, weight = ctx.saved_tensors
    through_grad = through_x = through_weight = None
    if ctx.wanted[0]:
        through_grad = _conv2d(grad_x, weight, None, *ctx.geometry)
        through_weight = _conv2d_backward(grad, grad_x, weight, *ctx.geometry, [False, True])[1]
    if ctx.wanted[1]:
        from_weight = _conv2d(x, grad_weight, None, *ctx.geometry)
        through_grad = from_weight if through_grad is None else through_grad + from_weight
        through_x = _conv2d_backward(grad, x, grad_weight, *ctx.geometry, [True, False])[0]
    return through_grad, through_x, through_weight, *(None,) * 5


_conv2d.register_autograd(_conv2d_gradient, setup_context=_save_conv2d)
_conv2d_backward.register_autograd(_conv2d_backward_gradient, setup_context=_save_conv2d_backward)


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    pad: Pair = 0,
    hole: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolution with hole, by the original's own arithmetic: engine CAFFE (layers/conv_layer.cpp).

    Images are taken one by one, so besides its result it holds the columns of ONE image, forward and backward:
    ``C * kernel_h * kernel_w * OH * OW`` elements. A 1x1 kernel with stride 1 and pad 0 needs none.

    Args:
        x: (N, C, H, W) float32 or float64, any strides, on the CPU or a CUDA device.
        weight: (O, C / groups, kernel_h, kernel_w).
        bias: O numbers in any shape, e.g. Caffe's (1, 1, 1, O); or None.
        stride: one number, or (height, width); so the rest.
        pad: zeros around the input.
        hole: pixels between taps.
        groups: Caffe's ``group``.

    Returns:
        (N, O, OH, OW), contiguous; sizes by :func:`conv_output_size`. Differentiable, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together, an argument out of its range, a kernel that does
            not fit.
    """
    bias = None if bias is None else bias.reshape(-1)
    return call(_conv2d, x, weight, bias, *pairs(stride=stride, pad=pad, hole=hole), groups)
