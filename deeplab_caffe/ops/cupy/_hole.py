"""Convolution with hole on CuPy arrays by the original's own arithmetic, im2col and GEMM (layers/conv_layer.cpp)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops.cupy._arrays import library, stream_of, take, take_images, view
from deeplab_caffe.ops.sizes import Pair, check_weight, output_hw, pairs

if TYPE_CHECKING:
    import cupy


class _Images:
    """A convolution taken image by image: one image's columns at a time, in one buffer, as the original has it."""

    def __init__(
        self, x: cupy.ndarray, weight: cupy.ndarray, geometry: Sequence[Sequence[int]], groups: int, stream: int
    ) -> None:
        cp = library()
        self.geometry = geometry
        self.groups = groups
        self.stream = stream
        self.size = output_hw(x.shape, *geometry)
        self.pixels = self.size[0] * self.size[1]
        self.taps = weight.shape[1] * weight.shape[2] * weight.shape[3]
        self.weight = cp.ascontiguousarray(weight).reshape(groups, weight.shape[0] // groups, self.taps)
        # A 1x1 convolution's columns are the image itself (layers/conv_layer.cpp:61-65).
        self.direct = [list(given) for given in geometry[:3]] == [[1, 1], [1, 1], [0, 0]]
        self.x = cp.ascontiguousarray(x) if self.direct else x
        self.buffer = None if self.direct else cp.empty((1, groups * self.taps, *self.size), x.dtype)

    def columns(self, n: int) -> cupy.ndarray:
        """The columns of image n as (groups, C / groups * kernel_h * kernel_w, OH * OW)."""
        if self.direct:
            return self.split(self.x[n])
        _C.im2col(view(self.x[n : n + 1]), view(self.buffer), *self.geometry, self.stream)
        return self.split(self.buffer)

    def split(self, image: cupy.ndarray) -> cupy.ndarray:
        """One image's channels and pixels as (groups, channels / groups, pixels)."""
        return image.reshape(self.groups, image.shape[-3] // self.groups, self.pixels)

    def add_to_image(self, grad: cupy.ndarray, target: cupy.ndarray) -> None:
        """Writes the gradient of one image, (1, C, H, W), from that of its output, (groups, O / groups, OH * OW)."""
        columns = self.split(target if self.direct else self.buffer)
        library().matmul(self.weight.transpose(0, 2, 1), grad, out=columns)
        if not self.direct:
            _C.col2im(view(self.buffer), view(target), *self.geometry, self.stream)


def _taken(x: Any, weight: Any, groups: int) -> tuple[cupy.ndarray, cupy.ndarray]:
    x, weight = take_images("convolution", "x", x), take("convolution", "weight", weight)
    check_weight(x.shape, weight.shape, groups, least_outputs=1)
    _check_same("weight", x, weight)
    return x, weight


def _check_same(name: str, x: cupy.ndarray, array: cupy.ndarray) -> None:
    if (array.dtype, array.device.id) != (x.dtype, x.device.id):
        raise ValueError(
            f"convolution: the input is {x.dtype} on cuda:{x.device.id}, "
            f"but the {name} is {array.dtype} on cuda:{array.device.id}"
        )


def _geometry(weight: cupy.ndarray, stride: Pair, pad: Pair, hole: Pair) -> list[list[int]]:
    return [list(weight.shape[2:]), *pairs(stride=stride, pad=pad, hole=hole)]


def conv2d(
    x: Any,
    weight: Any,
    bias: Any | None = None,
    stride: Pair = 1,
    pad: Pair = 0,
    hole: Pair = 1,
    groups: int = 1,
) -> cupy.ndarray:
    """Convolution with hole: :func:`deeplab_caffe.ops.hole.conv2d` on CuPy arrays, engine CAFFE.

    Args:
        x: (N, C, H, W) float32 or float64, any strides.
        weight: (O, C / groups, kernel_h, kernel_w).
        bias: O numbers in any shape, e.g. Caffe's (1, 1, 1, O); or None.
        stride: one number, or (height, width); so the rest.
        pad: zeros around the input.
        hole: pixels between taps.
        groups: Caffe's ``group``.

    Returns:
        (N, O, OH, OW), contiguous. Besides it, memory for the columns of one image is taken.

    Raises:
        ValueError: as there.
    """
    x, weight = _taken(x, weight, groups)
    if bias is not None:
        bias = take("convolution", "bias", bias)
        _check_same("bias", x, bias)
        if bias.size != weight.shape[0]:
            raise ValueError(f"convolution: expected {weight.shape[0]} biases, got shape {bias.shape}")
    geometry = _geometry(weight, stride, pad, hole)
    cp = library()
    with stream_of(x) as cuda_stream:
        images = _Images(x, weight, geometry, groups, cuda_stream)
        output = cp.empty((x.shape[0], weight.shape[0], *images.size), x.dtype)
        for n in range(x.shape[0]):
            cp.matmul(images.weight, images.columns(n), out=images.split(output[n]))
        if bias is not None:
            output += bias.reshape(-1, 1, 1)
    return output


def conv2d_backward(
    grad: Any,
    x: Any,
    weight: Any,
    stride: Pair = 1,
    pad: Pair = 0,
    hole: Pair = 1,
    groups: int = 1,
) -> tuple[cupy.ndarray, cupy.ndarray, cupy.ndarray]:
    """The gradients of :func:`conv2d`.

    Args:
        grad: the gradient of its output, (N, O, OH, OW).
        x: as for :func:`conv2d`; so the rest.
        weight: (O, C / groups, kernel_h, kernel_w).
        stride: one number, or (height, width).
        pad: zeros around the input.
        hole: pixels between taps.
        groups: Caffe's ``group``.

    Returns:
        The gradients of x (N, C, H, W), weight (O, C / groups, kernel_h, kernel_w) and bias (O,).

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    x, weight = _taken(x, weight, groups)
    grad = take_images("convolution", "grad", grad)
    _check_same("grad", x, grad)
    geometry = _geometry(weight, stride, pad, hole)
    expected = (x.shape[0], weight.shape[0], *output_hw(x.shape, *geometry))
    if grad.shape != expected:
        raise ValueError(f"convolution: expected grad {expected}, got shape {grad.shape}")
    cp = library()
    with stream_of(x) as cuda_stream:
        grad = cp.ascontiguousarray(grad)
        images = _Images(x, weight, geometry, groups, cuda_stream)
        grad_x = cp.empty(x.shape, x.dtype)
        grad_weight = cp.zeros(weight.shape, weight.dtype)
        sums = grad_weight.reshape(images.weight.shape)
        for n in range(x.shape[0]):
            image_grad = images.split(grad[n])
            # The columns are made again, not kept from the forward pass: they are kernel_h * kernel_w times the input.
            sums += cp.matmul(image_grad, images.columns(n).transpose(0, 2, 1))
            images.add_to_image(image_grad, grad_x[n : n + 1])
        return grad_x, grad_weight, grad.sum(axis=(0, 2, 3))
