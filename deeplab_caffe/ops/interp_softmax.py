"""Class probabilities of coarse scores at full size: INTERP and SOFTMAX fused (layers/interp_layer.cpp)."""

from __future__ import annotations

from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import SCORES, Size, check_blob, interp_window


def _probabilities(
    xp: Arrays, scores: Any, height: int, width: int, top: int, left: int, rows: int, columns: int, *_: bool
) -> Any:
    check_blob(xp, "interp_softmax", "scores", scores, SCORES)
    dtype = "float64" if xp.dtype(scores) == "float64" else "float32"
    return xp.empty((*scores.shape[:2], rows, columns), dtype)


@operator(
    "interp_softmax(Tensor scores, SymInt height, SymInt width, SymInt top, SymInt left, SymInt rows, SymInt columns,"
    " bool align_corners=True) -> Tensor",
    result=_probabilities,
)
def _interp_softmax(
    xp: Arrays,
    output: Any,
    scores: Any,
    height: int,
    width: int,
    top: int,
    left: int,
    rows: int,
    columns: int,
    align_corners: bool = True,
) -> None:
    _C.interp_softmax(xp.view(scores), xp.view(output), height, width, top, left, xp.stream, align_corners)


def interp_softmax(
    scores: ArrayT,
    height: int,
    width: int,
    *,
    crop: Size | None = None,
    origin: Size = (0, 0),
    align_corners: bool = True,
) -> ArrayT:
    """Return class probabilities at full size from coarse scores, without the scores at full size.

    The result is ``torch.softmax(interp(scores, height=height, width=width), 1)``, up to 4e-7 in float32, cropped to
    ``crop``. As in torch, a pixel with a NaN or +inf among its scores is NaN in all channels. Small probabilities are
    kept down to the smallest float.

    The dense CRF takes the scores and not their softmax: see :func:`deeplab_caffe.crf.dense_crf`.

    Args:
        scores: (N, C, h, w) float32, float64, float16 or bfloat16 (the last two widened to float32), any strides:
            torch's, CuPy's or NumPy's.
        height: height of the resized image.
        width: width of the resized image.
        crop: (height, width) of the wanted part, for example the image without its padding; None: everything from
            ``origin`` on.
        origin: (row, column) of the resized image where the crop begins.
        align_corners: as for :func:`deeplab_caffe.ops.interp.interp`.

    Returns:
        (N, C, *crop) probabilities, float64 for float64 scores, else float32; contiguous. Not differentiable. The bits
        do not depend on the number of threads; float32 gives the same bits on the CPU and on CUDA.

    Raises:
        ValueError: the shape or dtype is wrong, or the crop is not within the resized image.
    """
    part = interp_window("interp_softmax", scores.shape, height, width, crop, origin)
    result: ArrayT = _interp_softmax(scores, height, width, *part, align_corners)
    return result
