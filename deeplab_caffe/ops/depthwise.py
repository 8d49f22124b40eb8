"""Depthwise convolution on the CPU: each channel has a kernel of its own.

torch's convolution has these by oneDNN, whose backward pass takes up to a thousand times what the arithmetic needs
(``benchmarks/depthwise.py``).
"""

from __future__ import annotations

import math
from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT, arrays_of
from deeplab_caffe.ops.hole import differentiate, gradients_of, output_of
from deeplab_caffe.ops.im2col import Sizes
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import Pair, check_blob, check_like, check_on_cpu, output_hw, pairs

_GEOMETRY = "SymInt[] stride, SymInt[] pad, SymInt[] dilation, SymInt groups"


def _check(xp: Arrays, x: Any, weight: Any, groups: int) -> None:
    check_on_cpu(xp, "depthwise_conv2d", "x")
    if not groups == x.shape[1] == weight.shape[0]:
        raise ValueError(
            f"depthwise_conv2d: expected a kernel for each channel, got {groups} groups, "
            f"{x.shape[1]} input and {weight.shape[0]} output channels"
        )


@operator(f"depthwise_conv2d(Tensor x, Tensor weight, Tensor? bias, {_GEOMETRY}) -> Tensor", result=output_of)
def _depthwise(
    xp: Arrays,
    output: Any,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    pad: Sizes,
    dilation: Sizes,
    groups: int,
) -> None:
    _check(xp, x, weight, groups)
    summand = None if bias is None else xp.view(xp.contiguous(bias))
    given = xp.view(xp.contiguous(x)), xp.view(xp.contiguous(weight)), summand, xp.view(output)
    _C.depthwise_forward(*given, stride, pad, dilation)


@operator(
    f"depthwise_conv2d_backward(Tensor grad, Tensor x, Tensor weight, {_GEOMETRY}, bool[] wanted) -> (Tensor, Tensor)",
    result=gradients_of,
)
def _depthwise_backward(xp: Arrays, gradients: tuple[Any, Any], grad: Any, x: Any, weight: Any, *rest: Any) -> None:
    """Give the gradients of x and weight; an empty array for one that is not wanted."""
    *geometry, groups, wanted = rest
    _check(xp, x, weight, groups)
    given = (xp.view(xp.contiguous(array)) for array in (grad, x, weight))
    targets = (xp.view(target) if want else None for target, want in zip(gradients, wanted, strict=True))
    arguments: tuple[Any, ...] = (*given, *targets, *geometry)
    _C.depthwise_backward(*arguments)


differentiate(_depthwise, _depthwise_backward)


def _output_channels_last(xp: Arrays, x: Any, taps: Any, bias: Any, *rest: Any) -> Any:
    check_blob(xp, "depthwise_conv2d", "x", x, ("float32",))
    check_like(xp, "depthwise_conv2d", x, weight=taps, bias=bias)
    if len(taps.shape) != 3 or taps.shape[2] != x.shape[1]:
        raise ValueError(
            f"depthwise_conv2d: expected a weight from depthwise_taps for {x.shape[1]} channels, got one of shape "
            f"{tuple(taps.shape)}"
        )
    size = output_hw(x.shape, tuple(taps.shape[:2]), *rest[:3])
    return xp.empty((*x.shape[:2], *size), x.dtype, channels_last=True)


@operator(
    "depthwise_conv2d_channels_last(Tensor x, Tensor taps, Tensor? bias, SymInt[] stride, SymInt[] pad, "
    "SymInt[] dilation, bool relu, float ceiling) -> Tensor",
    result=_output_channels_last,
)
def _depthwise_channels_last(xp: Arrays, output: Any, x: Any, taps: Any, bias: Any, *rest: Any) -> None:
    """Fill the output; ``rest`` is stride, pad, dilation, relu and ceiling."""
    check_on_cpu(xp, "depthwise_conv2d", "x")
    summand = None if bias is None else xp.view(xp.contiguous(bias))
    given = xp.view(xp.contiguous(x, channels_last=True)), xp.view(xp.contiguous(taps)), summand, xp.view(output)
    _C.depthwise_forward_channels_last(*given, *rest)


def depthwise_taps(weight: ArrayT) -> ArrayT:
    """Return the weight of a depthwise convolution for :func:`depthwise_conv2d_channels_last`.

    Args:
        weight: (C, 1, kernel_h, kernel_w), torch's or NumPy's.

    Returns:
        (kernel_h, kernel_w, C), contiguous: each tap's weights lie side by side.

    Raises:
        ValueError: not such a weight.
    """
    given: Any = weight
    if len(given.shape) != 4 or given.shape[1] != 1:
        raise ValueError(f"depthwise_taps: expected a weight (C, 1, KH, KW), got shape {tuple(given.shape)}")
    xp = arrays_of(given)
    with xp.scope():
        result: ArrayT = xp.contiguous(given[:, 0].swapaxes(0, 1).swapaxes(1, 2))
        return result


def depthwise_conv2d_channels_last(
    x: ArrayT,
    taps: ArrayT,
    bias: ArrayT | None = None,
    stride: Pair = 1,
    pad: Pair = 0,
    dilation: Pair = 1,
    *,
    relu: bool = False,
    ceiling: float = math.inf,
) -> ArrayT:
    """Convolve each channel with a kernel of its own, on the CPU, for inference.

    :func:`depthwise_conv2d` where a pixel's channels lie side by side, and its bits where numbers are finite: a sum
    begins with the bias and runs over the kernel's rows, then columns. Not differentiable.

    Args:
        x: (N, C, H, W) float32: torch's or NumPy's; copied unless channels-last.
        taps: the weight, from :func:`depthwise_taps`.
        bias: (C,), or None.
        stride: one number, or (height, width); so the rest.
        pad: zeros around the input.
        dilation: pixels from tap to tap.
        relu: max(y, 0) of the sum.
        ceiling: of a rectified result, the largest number that stays.

    Returns:
        (N, C, OH, OW), channels-last; sizes as of ``conv2d``.

    Raises:
        ValueError: as :func:`depthwise_conv2d`.
    """
    result: ArrayT = _depthwise_channels_last(
        x, taps, bias, *pairs(stride=stride, pad=pad, dilation=dilation), relu, ceiling
    )
    return result


def depthwise_conv2d(
    x: ArrayT,
    weight: ArrayT,
    bias: ArrayT | None = None,
    stride: Pair = 1,
    pad: Pair = 0,
    dilation: Pair = 1,
) -> ArrayT:
    """Convolve each channel with a kernel of its own, on the CPU.

    A sum begins with the bias and runs over the kernel's rows, then columns, as does a gradient of the input; that of a
    weight adds up the images' in their order. So the bits vary neither from run to run nor with the number of threads.

    Args:
        x: (N, C, H, W) float32 or float64, any strides: torch's or NumPy's; copied unless contiguous.
        weight: (C, 1, kernel_h, kernel_w).
        bias: (C,), or None.
        stride: one number, or (height, width); so the rest.
        pad: zeros around the input.
        dilation: pixels from tap to tap, v1's ``hole``.

    Returns:
        (N, C, OH, OW), contiguous; sizes as of ``conv2d``. torch differentiates it any number of times, and computes
        the gradients alone that are needed.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together, an array that is not on the CPU, an argument out
            of its range, a kernel that does not fit.
    """
    result: ArrayT = _depthwise(x, weight, bias, *pairs(stride=stride, pad=pad, dilation=dilation), x.shape[1])
    return result


def depthwise_conv2d_backward(
    grad: ArrayT, x: ArrayT, weight: ArrayT, stride: Pair = 1, pad: Pair = 0, dilation: Pair = 1
) -> tuple[ArrayT, ArrayT, ArrayT]:
    """Return the gradients of :func:`depthwise_conv2d`.

    Args:
        grad: the gradient of its output, (N, C, OH, OW).
        x: as for it; so the rest.
        weight: (C, 1, kernel_h, kernel_w).
        stride: one number, or (height, width).
        pad: zeros around the input.
        dilation: pixels from tap to tap.

    Returns:
        Those of x (N, C, H, W), weight (C, 1, kernel_h, kernel_w) and bias (C,).

    Raises:
        ValueError: as :func:`depthwise_conv2d`.
    """
    geometry = pairs(stride=stride, pad=pad, dilation=dilation)
    grad_x, grad_weight = _depthwise_backward(grad, x, weight, *geometry, x.shape[1], [True, True])
    with arrays_of(grad).scope():
        return grad_x, grad_weight, grad.sum((0, 2, 3))  # type: ignore[attr-defined]  # every library's arrays
