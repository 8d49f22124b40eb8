"""Bbox-Seg: objects cut out of their bounding boxes by the dense CRF (Papandreou et al., ICCV 2015, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.data.boxes import Box, box_probabilities, rectangles


def segment_boxes(
    boxes: Sequence[Box],
    image: np.ndarray,
    params: CRFParams | None = None,
    *,
    centre: float = 0.2,
    occluder_bias: float = 0.1,
) -> np.ndarray:
    """Return the label map of boxes: box centres are objects, the outside is background, the CRF labels the rest.

    Args:
        boxes: inside the image.
        image: RGB ``(H, W, 3)``, uint8.
        params: parameters of the CRF; None: the authors' preset bboxErode20 (for VOC's image sizes).
        centre: share of a box's area that is certainly foreground.
        occluder_bias: see :func:`deeplab_caffe.data.boxes.box_probabilities`.

    Returns:
        uint8 ``(H, W)``.

    Raises:
        BoxError: a box reaches outside the image.
        CRFError: the image is not (H, W, 3).
    """
    shape = image.shape[:2]
    used = sorted({box.label for box in boxes})
    if not used:
        return rectangles(boxes, shape)
    # The CRF's time grows with the number of classes, so only the classes of the image are used.
    own = [Box(box.left, box.top, box.right, box.bottom, 1 + used.index(box.label)) for box in boxes]
    unary = box_probabilities(own, shape, 1 + len(used), centre=centre, occluder_bias=occluder_bias)
    params = CRFParams.for_model("bboxErode20") if params is None else params
    marginals = dense_crf(unary, image, params, kind="probabilities")
    labels: np.ndarray = np.array([0, *used], np.uint8)[marginals.argmax(axis=0)]
    return labels
