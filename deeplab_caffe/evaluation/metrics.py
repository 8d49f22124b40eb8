"""The numbers that DeepLab's MATLAB scripts print for a confusion matrix, in per cent and to the last digit.

Facts about the scripts, from public copies of them: MyVOCevalseg.m counts a class that is neither true nor predicted as
0 in both means. MyVOCevalsegBoundary.m, for trimaps, leaves classes without true pixels out of the mean class accuracy;
such a class makes the mean IoU NaN (0/0) if it is never predicted, as in PASCAL VOC's own VOCevalseg.m.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.errors import EvaluationError

Rule = Literal["original", "zero", "skip", "nan", "one"]
RULES: tuple[Rule, ...] = get_args(Rule)


@dataclass(frozen=True)
class Metrics:
    """The metrics of one confusion matrix, all in per cent.

    Attributes:
        pixel_accuracy: share of the counted pixels whose class is right; NaN if no pixel is counted.
        mean_class_accuracy: mean of ``class_accuracy``.
        mean_iou: mean of ``iou``.
        class_accuracy: share of each class's pixels that are found, float64 ``(K,)``; NaN for classes without pixels.
        iou: intersection over union of each class, float64 ``(K,)``; NaN for classes neither true nor predicted.
        pixels: true pixels of every class, int64 ``(K,)``.
    """

    pixel_accuracy: float
    mean_class_accuracy: float
    mean_iou: float
    class_accuracy: np.ndarray
    iou: np.ndarray
    pixels: np.ndarray

    @property
    def absent(self) -> list[int]:
        """Return the classes that are neither true nor predicted."""
        return np.flatnonzero(np.isnan(self.iou)).tolist()


def measure(
    confusion: ConfusionMatrix, rule: Rule = "original", *, boundary: bool = False, only: Sequence[int] = ()
) -> Metrics:
    """Compute the scripts' metrics, in their order of operations.

    Args:
        confusion: the confusion counts of the whole data set.
        rule: how absent classes count in the means. ``"original"``: as in the script for whole images, or for trimaps.
            ``"zero"``, ``"skip"``, ``"nan"``, ``"one"``: see :meth:`ConfusionMatrix.mean_iou`; the mean class accuracy
            supports only ``"zero"`` and ``"skip"`` of these.
        boundary: whether the counts are those of a trimap.
        only: numbers of the classes that both means are over; empty: all. The pixels of all classes are counted.

    Raises:
        EvaluationError: there is no such rule.
    """
    if rule not in RULES:
        raise EvaluationError(f"absent classes: expected one of {', '.join(RULES)}, got {rule!r}")
    if rule == "original":
        iou_rule, class_rule = ("nan", "skip") if boundary else ("zero", "zero")
    else:
        iou_rule, class_rule = rule, "zero" if rule == "zero" else "skip"
    counts = confusion.matrix.astype(np.float64)
    right, true, found = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    class_accuracy, iou = _shares(right, true), _shares(right, true + found - right)
    total = counts.sum()
    meant = list(only) or slice(None)
    return Metrics(
        pixel_accuracy=float(100 * right.sum() / total) if total else float("nan"),
        mean_class_accuracy=_mean(class_accuracy[meant], class_rule),
        mean_iou=_mean(iou[meant], iou_rule),
        class_accuracy=class_accuracy,
        iou=iou,
        pixels=confusion.matrix.sum(axis=1),
    )


def _shares(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(100 * part, whole, out=np.full(part.shape, np.nan), where=whole != 0))


def _mean(values: Iterable[float], absent: str) -> float:
    if absent == "skip":
        values = [value for value in values if not np.isnan(value)]
    elif absent in ("zero", "one"):
        values = [{"zero": 0.0, "one": 100.0}[absent] if np.isnan(value) else value for value in values]
    values = list(values)
    # Sum one after the other, as MATLAB does for few numbers: numpy sums in pairs, which may change the last digit.
    return float(sum(values) / len(values)) if values else float("nan")
