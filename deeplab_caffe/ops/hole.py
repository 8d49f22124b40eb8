"""Dilated convolution by im2col and GEMM, as in the original (layers/conv_layer.cpp): engine CAFFE."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT, arrays_of
from deeplab_caffe.ops.im2col import Sizes, col2im, im2col
from deeplab_caffe.ops.operator import Operator, is_batched, operator
from deeplab_caffe.ops.sizes import Pair, check_blob, check_like, check_weight, conv_output_size, output_hw, pairs

__all__ = ["col2im", "conv2d", "conv2d_backward", "conv_output_size", "im2col"]


class _Images:
    """A convolution computed image by image: the columns of one image at a time, in one buffer, as in the original."""

    def __init__(self, xp: Arrays, x: Any, weight: Any, geometry: Sequence[Sizes], groups: int) -> None:
        self.xp = xp
        self.groups = groups
        stride, pad, dilation = (list(given) for given in geometry)
        self.geometry = list(weight.shape[2:]), stride, pad, dilation
        size = output_hw(x.shape, *self.geometry)
        self.pixels = size[0] * size[1]
        taps = weight.shape[1] * weight.shape[2] * weight.shape[3]
        self.weight = xp.contiguous(weight).reshape(groups, weight.shape[0] // groups, taps)
        # A 1x1 convolution's columns are the image itself (layers/conv_layer.cpp:61-65).
        self.direct = self.geometry[:3] == ([1, 1], [1, 1], [0, 0])
        self.x = xp.contiguous(x) if self.direct else x
        self.buffer = None if self.direct else xp.empty((1, groups * taps, *size), x.dtype)

    def columns(self, n: int) -> Any:
        """Return the columns of image n as (groups, C / groups * kernel_h * kernel_w, OH * OW)."""
        if self.direct:
            return self.split(self.x[n])
        _C.im2col(self.xp.view(self.x[n : n + 1]), self.xp.view(self.buffer), *self.geometry, self.xp.stream)
        return self.split(self.buffer)

    def split(self, image: Any) -> Any:
        """Return one image's channels and pixels as (groups, channels / groups, pixels)."""
        return image.reshape(self.groups, image.shape[-3] // self.groups, self.pixels)

    def add_to_image(self, grad: Any, target: Any) -> None:
        """Compute the gradient of one image, (1, C, H, W), from its output's, (groups, O / groups, OH * OW)."""
        columns = self.split(target if self.direct else self.buffer)
        self.xp.matmul(self.xp.permute(self.weight, (0, 2, 1)), grad, columns)
        if not self.direct:
            _C.col2im(self.xp.view(self.buffer), self.xp.view(target), *self.geometry, self.xp.stream)


def _check(xp: Arrays, x: Any, weight: Any, groups: int, **others: Any) -> None:
    check_blob(xp, "convolution", "x", x)
    check_weight(x.shape, weight.shape, groups)
    check_like(xp, "convolution", x, weight=weight, **others)


def output_of(
    xp: Arrays, x: Any, weight: Any, bias: Any, stride: Sizes, pad: Sizes, dilation: Sizes, groups: int
) -> Any:
    """Check a convolution's arguments and return an array for its result.

    Raises:
        ValueError: shapes do not fit.
    """
    _check(xp, x, weight, groups, bias=bias)
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"convolution: expected {weight.shape[0]} biases, got shape {tuple(bias.shape)}")
    size = output_hw(x.shape, weight.shape[2:], stride, pad, dilation)
    return xp.empty((x.shape[0], weight.shape[0], *size), x.dtype)


@operator(
    "conv2d(Tensor x, Tensor weight, Tensor? bias, SymInt[] stride, SymInt[] pad, SymInt[] dilation, SymInt groups)"
    " -> Tensor",
    result=output_of,
)
def _conv2d(xp: Arrays, output: Any, x: Any, weight: Any, bias: Any, *arguments: Any) -> None:
    *geometry, groups = arguments
    images = _Images(xp, x, weight, geometry, groups)
    for n in range(x.shape[0]):
        xp.matmul(images.weight, images.columns(n), images.split(output[n]))
    if bias is not None:
        output += bias.reshape(-1, 1, 1)


def gradients_of(xp: Arrays, grad: Any, x: Any, weight: Any, *arguments: Any) -> tuple[Any, Any]:
    """Check the arguments and return arrays for the gradients of x and weight; one that is not wanted is empty.

    Raises:
        ValueError: shapes do not fit.
    """
    *geometry, groups, wanted = arguments
    _check(xp, x, weight, groups, grad=grad)
    expected = (x.shape[0], weight.shape[0], *output_hw(x.shape, weight.shape[2:], *geometry))
    if tuple(grad.shape) != expected:
        raise ValueError(f"convolution: expected grad {expected}, got shape {tuple(grad.shape)}")
    return (
        xp.empty(x.shape if wanted[0] else (0,), x.dtype),
        xp.zeros(weight.shape if wanted[1] else (0,), weight.dtype),
    )


@operator(
    "conv2d_backward(Tensor grad, Tensor x, Tensor weight, SymInt[] stride, SymInt[] pad, SymInt[] dilation,"
    " SymInt groups, bool[] wanted) -> (Tensor, Tensor)",
    result=gradients_of,
)
def _conv2d_backward(xp: Arrays, gradients: tuple[Any, Any], grad: Any, x: Any, weight: Any, *arguments: Any) -> None:
    """Compute the gradients of x and weight; one that is not wanted is an empty array."""
    *geometry, groups, wanted = arguments
    grad_x, grad_weight = gradients
    grad = xp.contiguous(grad)
    images = _Images(xp, x, weight, geometry, groups)
    for n in range(x.shape[0]):
        image_grad = images.split(grad[n])
        if wanted[1]:
            # Recompute the columns instead of storing them: they are kernel_h * kernel_w times as large as the input.
            columns = xp.permute(images.columns(n), (0, 2, 1))
            xp.matmul(image_grad, columns, grad_weight.reshape(images.weight.shape), add=True)
        if wanted[0]:
            images.add_to_image(image_grad, grad_x[n : n + 1])


def differentiate(forward: Operator, backward: Operator) -> None:
    """Register the gradients of a convolution and of its backward; they can be differentiated any number of times."""

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, _, *ctx.geometry = inputs
        ctx.save_for_backward(x, weight)

    def gradient(ctx: Any, grad: Any) -> tuple[Any, ...]:
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        if is_batched(grad):  # a batched gradient has no memory that the extension can read: use torch's own
            (x, weight), (*geometry, groups) = ctx.saved_tensors, ctx.geometry
            rest = (grad.shape[1:2], *geometry, False, [0, 0], groups, list(ctx.needs_input_grad[:3]))
            several = sys.modules["torch"].ops.aten.convolution_backward(grad, x, weight, *rest)
            return (*several, *(None,) * 4)
        grad_x = grad_weight = None
        if wants_x or wants_weight:
            grad_x, grad_weight = backward(grad, *ctx.saved_tensors, *ctx.geometry, [wants_x, wants_weight])
        return (
            grad_x if wants_x else None,
            grad_weight if wants_weight else None,
            grad.sum((0, 2, 3)) if wants_bias else None,
            *(None,) * 4,
        )

    def save_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        grad, x, weight, *ctx.geometry, ctx.wanted = inputs
        ctx.save_for_backward(grad, x, weight)

    def second_gradient(ctx: Any, grad_x: Any, grad_weight: Any) -> tuple[Any, ...]:
        # A convolution is linear in x and in weight, so its second derivatives are convolutions and backward passes.
        grad, x, weight = ctx.saved_tensors
        through_grad = through_x = through_weight = None
        if ctx.wanted[0]:
            through_grad = forward(grad_x, weight, None, *ctx.geometry)
            through_weight = backward(grad, grad_x, weight, *ctx.geometry, [False, True])[1]
        if ctx.wanted[1]:
            from_weight = forward(x, grad_weight, None, *ctx.geometry)
            through_grad = from_weight if through_grad is None else through_grad + from_weight
            through_x = backward(grad, x, grad_weight, *ctx.geometry, [True, False])[0]
        return through_grad, through_x, through_weight, *(None,) * 5

    forward.differentiate(save, gradient)
    backward.differentiate(save_backward, second_gradient)


differentiate(_conv2d, _conv2d_backward)


def conv2d(
    x: ArrayT,
    weight: ArrayT,
    bias: ArrayT | None = None,
    stride: Pair = 1,
    pad: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> ArrayT:
    """Convolve with dilation, by im2col and GEMM as in the original: engine CAFFE (layers/conv_layer.cpp).

    Images are computed one by one, so besides the result only the columns of ONE image are in memory, forward and
    backward: ``C * kernel_h * kernel_w * OH * OW`` elements. A 1x1 kernel with stride 1 and pad 0 needs no columns.

    Args:
        x: (N, C, H, W) float32 or float64, any strides: torch's, CuPy's or NumPy's.
        weight: (O, C / groups, kernel_h, kernel_w).
        bias: O numbers in any shape, e.g. Caffe's (1, 1, 1, O); or None.
        stride: one number, or (height, width); so are the next arguments.
        pad: zeros around the input.
        dilation: distance between taps in pixels, v1's ``hole``.
        groups: Caffe's ``group``.

    Returns:
        (N, O, OH, OW), contiguous; sizes by :func:`conv_output_size`. torch can differentiate it any number of times.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, an argument is out of its range, or the kernel does
            not fit into the padded input.
    """
    flat: Any = None if bias is None else bias.reshape(-1)  # type: ignore[attr-defined]  # every library's arrays
    result: ArrayT = _conv2d(x, weight, flat, *pairs(stride=stride, pad=pad, dilation=dilation), groups)
    return result


def conv2d_backward(
    grad: ArrayT,
    x: ArrayT,
    weight: ArrayT,
    stride: Pair = 1,
    pad: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> tuple[ArrayT, ArrayT, ArrayT]:
    """Return the gradients of :func:`conv2d`.

    Args:
        grad: the gradient of the output, (N, O, OH, OW).
        x: (N, C, H, W), as for :func:`conv2d`; so are the next arguments.
        weight: (O, C / groups, kernel_h, kernel_w).
        stride: one number, or (height, width).
        pad: zeros around the input.
        dilation: distance between taps in pixels.
        groups: Caffe's ``group``.

    Returns:
        The gradients of x (N, C, H, W), weight (O, C / groups, kernel_h, kernel_w) and bias (O,).

    Raises:
        ValueError: shapes, dtypes or devices do not fit together.
    """
    geometry = pairs(stride=stride, pad=pad, dilation=dilation)
    grad_x, grad_weight = _conv2d_backward(grad, x, weight, *geometry, groups, [True, True])
    with arrays_of(grad).scope():
        return grad_x, grad_weight, grad.sum((0, 2, 3))  # type: ignore[attr-defined]  # every library's arrays
