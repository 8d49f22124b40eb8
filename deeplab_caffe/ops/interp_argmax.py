"""Label map of coarse scores: INTERP and ARGMAX fused (layers/interp_layer.cpp, layers/argmax_layer.cpp)."""

from __future__ import annotations

from typing import Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT, arrays_of
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import SCORES, Size, check_blob, interp_window, last_wins


def _label_map(
    xp: Arrays, scores: Any, height: int, width: int, top: int, left: int, rows: int, columns: int, *others: Any
) -> Any:
    check_blob(xp, "interp_argmax", "scores", scores, SCORES)
    return xp.empty((scores.shape[0], rows, columns), others[1])


@operator(
    "interp_argmax(Tensor scores, SymInt height, SymInt width, SymInt top, SymInt left, SymInt rows, SymInt columns,"
    " bool last, ScalarType dtype, bool align_corners=True) -> Tensor",
    result=_label_map,
)
def _interp_argmax(
    xp: Arrays,
    labels: Any,
    scores: Any,
    height: int,
    width: int,
    top: int,
    left: int,
    rows: int,
    columns: int,
    last: bool,
    dtype: Any,
    align_corners: bool = True,
) -> None:
    _C.interp_argmax(xp.view(scores), xp.view(labels), height, width, top, left, last, xp.stream, align_corners)


def interp_argmax(
    scores: ArrayT,
    height: int,
    width: int,
    *,
    crop: Size | None = None,
    ties: str = "last",
    origin: Size = (0, 0),
    dtype: Any = "uint8",
    align_corners: bool = True,
) -> ArrayT:
    """Return labels at full size from coarse scores, without the scores at full size.

    The labels are those of ``argmax_labels(interp(scores, height=height, width=width), ties, dtype)``, cropped to
    ``crop``. Pixels outside of the crop are not computed. On the CPU the pixels between four coarse pixels are not
    interpolated if one class must win at all of them.

    Args:
        scores: (N, C, h, w) float32, float64, float16 or bfloat16 (the last two widened to float32), any strides:
            torch's, CuPy's or NumPy's.
        height: height of the resized image.
        width: width of the resized image.
        crop: (height, width) of the wanted part, for example the image without its padding; None: everything from
            ``origin`` on.
        ties: the channel that wins on ties: "last", as in the layers ARGMAX, SEG_ACCURACY and ACCURACY, or "first", as
            in the densecrf programs.
        origin: (row, column) of the resized image where the crop begins.
        dtype: "uint8" (up to 256 channels) or "int64", or the library's own dtype of that name.
        align_corners: as for :func:`deeplab_caffe.ops.interp.interp`.

    Returns:
        (N, *crop) labels. Not differentiable. They are the same for any number of threads, on the CPU and on CUDA.

    Raises:
        ValueError: the shape or dtype is wrong, ``ties`` is another word, there are too many channels for ``dtype``, or
            the crop is not within the resized image.
    """
    part = interp_window("interp_argmax", scores.shape, height, width, crop, origin)
    last = last_wins("interp_argmax", ties)
    dtype = arrays_of(scores).as_dtype(dtype)
    result: ArrayT = _interp_argmax(scores, height, width, *part, last, dtype, align_corners)
    return result
