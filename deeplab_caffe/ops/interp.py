"""Bilinear resizing as in the INTERP layer (layers/interp_layer.cpp, util/interp.cpp), or as in torch."""

from __future__ import annotations

from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import check_blob, interp_hw, interp_size

__all__ = ["interp", "interp_backward", "interp_size"]


def _resized(xp: Arrays, x: Any, height: int, width: int, *_: int) -> Any:
    check_blob(xp, "interp", "x", x)
    return xp.empty((*x.shape[:2], height, width), x.dtype)


@operator(
    "interp(Tensor x, SymInt height, SymInt width, SymInt pad_beg, SymInt pad_end, bool align_corners=True) -> Tensor",
    result=_resized,
)
def _interp(
    xp: Arrays, output: Any, x: Any, height: int, width: int, pad_beg: int, pad_end: int, align_corners: bool = True
) -> None:
    _C.interp_forward(xp.view(x), xp.view(output), pad_beg, pad_end, xp.stream, align_corners)


def _grad_input(xp: Arrays, grad: Any, height: int, width: int, *_: int) -> Any:
    check_blob(xp, "interp backward", "grad", grad)
    return xp.empty((*grad.shape[:2], height, width), grad.dtype)


@operator(
    "interp_backward(Tensor grad, SymInt height, SymInt width, SymInt pad_beg, SymInt pad_end,"
    " bool align_corners=True) -> Tensor",
    result=_grad_input,
)
def _interp_backward(
    xp: Arrays, output: Any, grad: Any, height: int, width: int, pad_beg: int, pad_end: int, align_corners: bool = True
) -> None:
    _C.interp_backward(xp.view(xp.contiguous(grad)), xp.view(output), pad_beg, pad_end, xp.stream, align_corners)


def _save_arguments(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, _, _, *rest = inputs
    ctx.arguments = (*x.shape[2:], *rest)


# The operation is linear and its backward the exact adjoint, so each is the other's gradient.
_interp.differentiate(
    _save_arguments, lambda ctx, grad: (_interp_backward(grad, *ctx.arguments), *(None,) * len(ctx.arguments))
)
_interp_backward.differentiate(
    _save_arguments, lambda ctx, grad: (_interp(grad, *ctx.arguments), *(None,) * len(ctx.arguments))
)


def interp(
    x: ArrayT,
    *,
    height: int | None = None,
    width: int | None = None,
    zoom_factor: int | None = None,
    shrink_factor: int | None = None,
    pad_beg: int = 0,
    pad_end: int = 0,
    align_corners: bool = True,
) -> ArrayT:
    """Resize a blob bilinearly after dropping ``-pad_beg`` / ``-pad_end`` border pixels.

    Args:
        x: (N, C, H, W) float32 or float64, any strides: torch's, CuPy's or NumPy's.
        height: output height; needs ``width`` too.
        width: output width.
        zoom_factor: see :func:`interp_size`.
        shrink_factor: see :func:`interp_size`.
        pad_beg: 0 or negative: rows and columns dropped at the top and left.
        pad_end: 0 or negative: rows and columns dropped at the bottom and right.
        align_corners: align the centres of the corner pixels, as in DeepLab; False: align the images' edges, as in
            ``torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)``.

    Returns:
        (N, C, OH, OW), contiguous, of the input's library, dtype and device. torch can differentiate it twice.

    Raises:
        ValueError: the output's size is not given in exactly one way, a padding is positive, nothing is left of the
            input, or the dtype or number of dimensions is wrong.
    """
    size = interp_hw(
        x.shape,
        height=height,
        width=width,
        zoom_factor=zoom_factor,
        shrink_factor=shrink_factor,
        pad_beg=pad_beg,
        pad_end=pad_end,
    )
    result: ArrayT = _interp(x, *size, pad_beg, pad_end, align_corners)
    return result


def interp_backward(
    grad: ArrayT, size: tuple[int, int], pad_beg: int = 0, pad_end: int = 0, align_corners: bool = True
) -> ArrayT:
    """Return the gradient of the input of :func:`interp`: the exact adjoint.

    Args:
        grad: the gradient of the output, (N, C, OH, OW).
        size: (H, W) of the input.
        pad_beg: as for :func:`interp`.
        pad_end: as for :func:`interp`.
        align_corners: as for :func:`interp`.

    Returns:
        (N, C, H, W), contiguous. The order of the sums is fixed, so the bits do not vary.

    Raises:
        ValueError: the shape or dtype is wrong, or the padding is positive or leaves nothing.
    """
    result: ArrayT = _interp_backward(grad, *size, pad_beg, pad_end, align_corners)
    return result
