"""Class probabilities of coarse CuPy scores at full size: INTERP and SOFTMAX in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops._window import Size, window
from deeplab_caffe.ops.cupy._arrays import SCORES, library, stream_of, take_images, view

if TYPE_CHECKING:
    import cupy


def interp_softmax(
    scores: Any, height: int, width: int, *, crop: Size | None = None, origin: Size = (0, 0)
) -> cupy.ndarray:
    """Probabilities at full size: :func:`deeplab_caffe.ops.interp_softmax.interp_softmax` on a CuPy array.

    Args:
        scores: (N, C, h, w) float32, float64 or float16 (widened to float32), any strides.
        height: height of the resized image, corners on corners with the coarse one.
        width: its width.
        crop: (height, width) of the part that is wanted; None: all from ``origin`` on.
        origin: row and column of the resized image where the part begins.

    Returns:
        (N, C, *crop) probabilities, float64 for float64 scores, else float32; contiguous.

    Raises:
        ValueError: as there.
    """
    scores = take_images("interp_softmax", "scores", scores, SCORES)
    top, left, rows, columns = window("interp_softmax", scores.shape, height, width, crop, origin)
    dtype = "float64" if scores.dtype.name == "float64" else "float32"
    with stream_of(scores) as stream:
        probabilities = library().empty((*scores.shape[:2], rows, columns), dtype)
        _C.interp_softmax(view(scores), view(probabilities), height, width, top, left, stream)
    return probabilities
