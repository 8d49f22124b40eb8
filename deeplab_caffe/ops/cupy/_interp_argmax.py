"""Label map of coarse CuPy scores: INTERP and ARGMAX in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops._ties import last_wins
from deeplab_caffe.ops._window import Size, window
from deeplab_caffe.ops.cupy._arrays import SCORES, library, stream_of, take_images, view

if TYPE_CHECKING:
    import cupy


def interp_argmax(
    scores: Any,
    height: int,
    width: int,
    *,
    crop: Size | None = None,
    ties: str = "last",
    origin: Size = (0, 0),
    dtype: str = "uint8",
) -> cupy.ndarray:
    """Labels at full size from coarse scores: :func:`deeplab_caffe.ops.interp_argmax.interp_argmax` on a CuPy array.

    Args:
        scores: (N, C, h, w) float32, float64 or float16 (widened to float32), any strides.
        height: height of the resized image, corners on corners with the coarse one.
        width: its width.
        crop: (height, width) of the part that is wanted; None: all from ``origin`` on.
        ties: which of equal channels wins: "last" or "first".
        origin: row and column of the resized image where the part begins.
        dtype: "uint8" (up to 256 channels) or "int64".

    Returns:
        (N, *crop) labels.

    Raises:
        ValueError: as there.
    """
    scores = take_images("interp_argmax", "scores", scores, SCORES)
    top, left, rows, columns = window("interp_argmax", scores.shape, height, width, crop, origin)
    last = last_wins("interp_argmax", ties)
    with stream_of(scores) as stream:
        labels = library().empty((scores.shape[0], rows, columns), dtype)
        _C.interp_argmax(view(scores), view(labels), height, width, top, left, last, stream)
    return labels
