"""Depthwise convolution on the CPU: each channel has its own kernel.

torch computes it by oneDNN, whose backward pass is up to a thousand times slower than its arithmetic requires
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
    """Compute the gradients of x and weight; one that is not wanted is an empty array."""
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
        (kernel_h, kernel_w, C), contiguous: the weights of each tap are adjacent in memory.

    Raises:
        ValueError: the weight has another shape.
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
    """Convolve each channel with its own kernel, on the CPU, for inference.

    It is :func:`depthwise_conv2d` for channels-last memory, with the same bits if the numbers are finite: a sum begins
    with the bias and runs over the kernel's rows, then columns. Not differentiable.

    Args:
        x: (N, C, H, W) float32: torch's or NumPy's; copied unless channels-last.
        taps: the weight, from :func:`depthwise_taps`.
        bias: (C,), or None.
        stride: one number, or (height, width); so are the next arguments.
        pad: zeros around the input.
        dilation: distance between taps in pixels.
        relu: apply ReLU to the sum.
        ceiling: upper bound of a rectified result.

    Returns:
        (N, C, OH, OW), channels-last; sizes as for ``conv2d``.

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
    """Convolve each channel with its own kernel, on the CPU.

    A sum begins with the bias and runs over the kernel's rows, then columns; so does a sum of the input's gradient. The
    weight's gradient is summed over the images in order. So the bits do not depend on the run or the number of threads.

    Args:
        x: (N, C, H, W) float32 or float64, any strides: torch's or NumPy's; copied unless contiguous.
        weight: (C, 1, kernel_h, kernel_w).
        bias: (C,), or None.
        stride: one number, or (height, width); so are the next arguments.
        pad: zeros around the input.
        dilation: distance between taps in pixels, v1's ``hole``.

    Returns:
        (N, C, OH, OW), contiguous; sizes as for ``conv2d``. torch can differentiate it any number of times, and
        computes only the gradients that are needed.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, an array is not on the CPU, an argument is out of its
            range, or the kernel does not fit into the padded input.
    """
    result: ArrayT = _depthwise(x, weight, bias, *pairs(stride=stride, pad=pad, dilation=dilation), x.shape[1])
    return result


def depthwise_conv2d_backward(
    grad: ArrayT, x: ArrayT, weight: ArrayT, stride: Pair = 1, pad: Pair = 0, dilation: Pair = 1
) -> tuple[ArrayT, ArrayT, ArrayT]:
    """Return the gradients of :func:`depthwise_conv2d`.

    Args:
        grad: the gradient of the output, (N, C, OH, OW).
        x: (N, C, H, W), as for :func:`depthwise_conv2d`; so are the next arguments.
        weight: (C, 1, kernel_h, kernel_w).
        stride: one number, or (height, width).
        pad: zeros around the input.
        dilation: distance between taps in pixels.

    Returns:
        The gradients of x (N, C, H, W), weight (C, 1, kernel_h, kernel_w) and bias (C,).

    Raises:
        ValueError: as :func:`depthwise_conv2d`.
    """
    geometry = pairs(stride=stride, pad=pad, dilation=dilation)
    grad_x, grad_weight = _depthwise_backward(grad, x, weight, *geometry, x.shape[1], [True, True])
    with arrays_of(grad).scope():
        return grad_x, grad_weight, grad.sum((0, 2, 3))  # type: ignore[attr-defined]  # every library's arrays
