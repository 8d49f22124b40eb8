"""Accuracy in a narrow band around the objects' boundaries (Kraehenbuehl & Koltun 2011; DeepLab, ICLR 2015, Figure 5).

PASCAL VOC's label maps have a void line along each boundary. The band of width w has the pixels that a dilation of the
void label by a square of side 2 w + 1 adds to it: those within a chessboard distance of 1 to w
(MyVOCevalsegBoundary.m).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from deeplab_caffe.arguments import whole_number
from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.errors import EvaluationError, needed_for

# Pixels of the longest side of an image.
_LARGEST_WIDTH = 1 << 20


def void_distance(labels: np.ndarray, ignore_labels: Iterable[int] = (255,)) -> np.ndarray | None:
    """Return each pixel's chessboard distance to the nearest void pixel, int32 ``(H, W)``; None without void pixels."""
    with needed_for("trimaps"):
        from scipy.ndimage import distance_transform_cdt

    counted = ~np.isin(labels, list(ignore_labels))
    if counted.all():
        return None
    return np.asarray(distance_transform_cdt(counted, metric="chessboard"))


class Trimap:
    """Confusion counts by distance from the void label; the counts of a band are sums of them.

    Args:
        num_classes: K.
        widths: widths of the bands, in pixels.
        ignore_labels: the void labels: all labels that the confusion matrix does not count.

    Attributes:
        counts: int64 ``(W, K, K)``, the counts at distances 1 to W, where W is the largest width.

    Raises:
        EvaluationError: there is no width, or one is not positive, or too large.
    """

    def __init__(self, num_classes: int, widths: Sequence[int], ignore_labels: Iterable[int] = (255,)) -> None:
        if not widths:
            raise EvaluationError("trimap widths: expected one or more, got none")
        self.num_classes = num_classes
        pixels = {
            whole_number("trimap widths", width, EvaluationError, least=1, most=_LARGEST_WIDTH, unit="pixels")
            for width in widths
        }
        self.widths = tuple(sorted(pixels))
        self.ignore_labels = frozenset(int(label) for label in ignore_labels)
        self.counts = np.zeros((self.widths[-1], num_classes, num_classes), np.int64)

    def accumulate(self, labels: np.ndarray, predicted: np.ndarray) -> None:
        """Count the pixels of one image; both are whole numbers ``(H, W)``, validated by the confusion matrix."""
        distance = void_distance(labels, self.ignore_labels)
        if distance is None:
            return
        reach = min(self.widths[-1], int(distance.max()))
        near = (distance > 0) & (distance <= reach)
        pairs = (distance[near].astype(np.intp) - 1) * self.num_classes + labels[near]
        pairs = pairs * self.num_classes + predicted[near]
        counts = self.counts[:reach]
        counts += np.bincount(pairs, minlength=counts.size).reshape(counts.shape)

    def band(self, width: int) -> ConfusionMatrix:
        """Return the confusion of the pixels within ``width`` of the void label.

        Raises:
            EvaluationError: the width is none of :attr:`widths`.
        """
        if width not in self.widths:
            raise EvaluationError(f"no trimap of width {width}: there are {', '.join(map(str, self.widths))}")
        confusion = ConfusionMatrix(self.num_classes, self.ignore_labels)
        confusion.add(self.counts[:width].sum(axis=0))
        return confusion
