"""The confusion matrix and the metrics from it: SEG_ACCURACY's three numbers and PASCAL VOC's mean IoU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np

from deeplab_caffe.arrays import is_torch, to_numpy
from deeplab_caffe.errors import EvaluationError

Absent = Literal["one", "zero", "skip", "nan"]


class ConfusionMatrix:
    """Counts of pixels by true class (row) and predicted class (column).

    Args:
        num_classes: K.
        ignore_labels: true labels that are not counted, 255 in VOC.

    Attributes:
        matrix: int64 ``(K, K)``.
    """

    def __init__(self, num_classes: int, ignore_labels: Iterable[int] = ()) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, got {num_classes}")
        self.num_classes = num_classes
        self.ignore_labels = frozenset(int(label) for label in ignore_labels)
        self.matrix = np.zeros((num_classes, num_classes), np.int64)

    def reset(self) -> None:
        """Reset all counts to 0."""
        self.matrix[:] = 0

    def update(self, preds: Any, target: Any) -> None:
        """Count pixels like :meth:`accumulate`, with the arguments of a torchmetrics metric.

        Args:
            preds: predicted labels of any shape, or scores with an additional class axis, (N, C, ...), whose largest
                one wins, the first on ties; numpy's, or torch's on any device.
            target: true labels.

        Raises:
            EvaluationError: as :meth:`accumulate`.
        """
        arrays = (array.cpu() if is_torch(array) else array for array in (preds, target))
        predicted, actual = (to_numpy(array, "labels", EvaluationError) for array in arrays)
        if predicted.ndim == actual.ndim + 1:
            predicted = predicted.argmax(1)
        self.accumulate(actual, predicted)

    def compute(self) -> float:
        """Return the mean IoU like torchmetrics' multiclass ``JaccardIndex`` (``average="macro"``).

        It is :meth:`mean_iou` without classes that are ignored as true labels.
        """
        iou = self.iou()
        iou[[label for label in self.ignore_labels if 0 <= label < self.num_classes]] = np.nan
        return _mean(iou, "skip")

    def accumulate(self, actual: np.ndarray, predicted: np.ndarray) -> None:
        """Count pixels.

        Args:
            actual: true labels of any shape; fractions are truncated, as by Caffe's ``static_cast<int>``.
            predicted: predicted labels in the same shape; ignored where ``actual`` is ignored.

        Raises:
            EvaluationError: the shapes differ, or a label that counts is not from 0 to ``num_classes - 1``.
        """
        actual, predicted = np.asarray(actual), np.asarray(predicted)
        if actual.shape != predicted.shape:
            raise EvaluationError(f"labels are {actual.shape}, predictions {predicted.shape}")
        actual, predicted = self._whole(actual, "label"), self._whole(predicted, "prediction")
        ignored = np.zeros(actual.shape, bool)
        for label in self.ignore_labels:
            ignored |= actual == label
        if ignored.any():
            counted = ~ignored
            actual, predicted = actual[counted], predicted[counted]
        for labels, what in ((actual, "label"), (predicted, "prediction")):
            if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
                wrong = labels[(labels < 0) | (labels >= self.num_classes)][0]
                raise EvaluationError(f"unexpected {what} {wrong}: expected 0 to {self.num_classes - 1}", what)
        pairs = actual.astype(np.intp) * self.num_classes + predicted.astype(np.intp)
        self.add(np.bincount(pairs, minlength=self.num_classes**2).reshape(self.matrix.shape))

    def add(self, counts: np.ndarray) -> None:
        """Add the counts ``(K, K)`` of another matrix, for example of another process.

        Raises:
            EvaluationError: the counts have another shape.
        """
        counts = np.asarray(counts)
        if counts.shape != self.matrix.shape:
            raise EvaluationError(f"expected counts {self.matrix.shape}, got {counts.shape}")
        self.matrix += counts.astype(np.int64)

    def pixel_accuracy(self) -> float:
        """Return the share of the counted pixels whose class is right; NaN if none is counted."""
        return _ratio(np.trace(self.matrix), self.matrix.sum())

    def recall(self) -> np.ndarray:
        """Return the share of every class's pixels that are found, float64 ``(K,)``; NaN for classes without pixels."""
        return _ratios(np.diag(self.matrix), self.matrix.sum(axis=1))

    def mean_recall(self, absent: Absent = "skip") -> float:
        """Return the mean of :meth:`recall`, by default over classes with pixels (avgRecall in confusion_matrix.cpp).

        Args:
            absent: how a class without true pixels counts, as for :meth:`mean_iou`.
        """
        return _mean(self.recall(), absent)

    def iou(self) -> np.ndarray:
        """Return intersection over union of every class, float64 ``(K,)``; NaN for those neither true nor predicted."""
        right = np.diag(self.matrix)
        return _ratios(right, self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - right)

    def mean_iou(self, absent: Absent = "skip") -> float:
        """Return the mean of :meth:`iou`.

        Args:
            absent: how a class counts that is neither true nor predicted anywhere. ``"one"``: as 1.0, as in
                SEG_ACCURACY (avgJaccard, util/confusion_matrix.cpp:263-312). ``"zero"``: as 0, as in DeepLab's MATLAB
                code (MyVOCevalseg.m). ``"skip"``: not at all. ``"nan"``: it makes the mean NaN, as 0/0 does in PASCAL
                VOC's own MATLAB code (VOCevalseg.m). On a whole data set no class is absent and all four agree.
        """
        return _mean(self.iou(), absent)

    @staticmethod
    def _whole(labels: np.ndarray, what: str) -> np.ndarray:
        labels = labels.reshape(-1)
        if np.issubdtype(labels.dtype, np.floating):
            # No class is beyond this limit, and the cast of larger values would be undefined.
            if not (np.abs(labels) < 2**31).all():
                raise EvaluationError(f"unexpected {what}: NaN or not a number of a class", what)
            return labels.astype(np.int64)
        return labels


def _ratio(part: np.integer, whole: np.integer) -> float:
    return float(part) / float(whole) if whole else float("nan")


def _ratios(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0))


def _mean(values: np.ndarray, absent: Absent) -> float:
    if absent not in get_args(Absent):
        raise ValueError(f"absent must be 'one', 'zero', 'skip' or 'nan', got {absent!r}")
    if absent in ("one", "zero"):
        values = np.nan_to_num(values, nan=1.0 if absent == "one" else 0.0)
    elif absent == "skip":
        values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
