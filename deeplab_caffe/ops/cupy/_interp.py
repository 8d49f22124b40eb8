"""Align-corners bilinear resizing on CuPy arrays, as DeepLab v1's INTERP layer does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops.cupy._arrays import library, stream_of, take_images, view
from deeplab_caffe.ops.sizes import interp_hw

if TYPE_CHECKING:
    import cupy


def interp(
    x: Any,
    *,
    height: int | None = None,
    width: int | None = None,
    zoom_factor: int | None = None,
    shrink_factor: int | None = None,
    pad_beg: int = 0,
    pad_end: int = 0,
) -> cupy.ndarray:
    """Resizes a blob bilinearly: :func:`deeplab_caffe.ops.interp.interp` on a CuPy array.

    Args:
        x: (N, C, H, W) float32 or float64, any strides.
        height: output height; needs ``width`` too.
        width: output width.
        zoom_factor: see :func:`deeplab_caffe.ops.sizes.interp_size`.
        shrink_factor: likewise.
        pad_beg: 0 or negative: rows and columns dropped at the top and left.
        pad_end: 0 or negative: rows and columns dropped at the bottom and right.

    Returns:
        (N, C, OH, OW), contiguous, of the input's dtype and device.

    Raises:
        ValueError: as there.
    """
    x = take_images("interp", "x", x)
    size = interp_hw(
        x.shape,
        height=height,
        width=width,
        zoom_factor=zoom_factor,
        shrink_factor=shrink_factor,
        pad_beg=pad_beg,
        pad_end=pad_end,
    )
    with stream_of(x) as stream:
        output = library().empty((*x.shape[:2], *size), x.dtype)
        _C.interp_forward(view(x), view(output), pad_beg, pad_end, stream)
    return output


def interp_backward(grad: Any, size: tuple[int, int], pad_beg: int = 0, pad_end: int = 0) -> cupy.ndarray:
    """The exact adjoint of :func:`interp`: the gradient of its input.

    Args:
        grad: the gradient of its output, (N, C, OH, OW).
        size: (H, W) of its input.
        pad_beg: as for :func:`interp`.
        pad_end: as for :func:`interp`.

    Returns:
        (N, C, H, W), contiguous. The sum has one order, so the bits do not vary.

    Raises:
        ValueError: a wrong shape or dtype, or padding that is positive or leaves nothing.
    """
    grad = take_images("interp backward", "grad", grad)
    cp = library()
    with stream_of(grad) as stream:
        grad = cp.ascontiguousarray(grad)
        grad_input = cp.empty((*grad.shape[:2], *size), grad.dtype)
        _C.interp_backward(view(grad), view(grad_input), pad_beg, pad_end, stream)
    return grad_input
