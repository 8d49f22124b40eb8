"""Evaluate a folder of results against a folder of labels."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.data.io.folders import is_image
from deeplab_caffe.data.io.images import load_label
from deeplab_caffe.data.io.lists import ListEntry, read_image_list
from deeplab_caffe.data.workers import worker_pool
from deeplab_caffe.errors import DataError, EvaluationError, warn
from deeplab_caffe.evaluation.metrics import Metrics, Rule, measure
from deeplab_caffe.evaluation.predictions import SUFFIXES, Kind, read_classes
from deeplab_caffe.evaluation.trimap import Trimap
from deeplab_caffe.files.names import is_file


@dataclass(frozen=True)
class ImagePair:
    """One image's files: its id, its result and its true labels."""

    name: str
    prediction: Path
    label: Path


@dataclass(frozen=True)
class ImageResult:
    """The accuracy of one image, in per cent; NaN if no pixel counts.

    Attributes:
        name: the image's id.
        pixel_accuracy: share of the counted pixels that are right.
        mean_iou: mean IoU over the classes that are true or predicted in the image.
    """

    name: str
    pixel_accuracy: float
    mean_iou: float


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        classes: names and colours of the classes.
        confusion: confusion counts of all images together.
        trimap: confusion counts by distance from the boundaries, or None.
        images: results of the images in the order of the list.
        missing: ids without a result, which are not counted.
        rule: how absent classes count, see :func:`measure`.
        only: numbers of the classes that the means are over; empty: all classes.
    """

    classes: Classes
    confusion: ConfusionMatrix
    trimap: Trimap | None
    images: tuple[ImageResult, ...]
    missing: tuple[str, ...] = ()
    rule: Rule = "original"
    only: tuple[int, ...] = ()

    @property
    def metrics(self) -> Metrics:
        """Return the metrics of whole images."""
        return measure(self.confusion, self.rule, only=self.only)

    @property
    def mean_iou_of_images(self) -> float:
        """Return the mean over the images of :attr:`ImageResult.mean_iou`, in per cent.

        Some programs report it as mean IoU. It is not comparable with the data set's mean IoU, and usually higher.
        """
        ious = [image.mean_iou for image in self.images if not math.isnan(image.mean_iou)]
        return sum(ious) / len(ious) if ious else math.nan

    def curve(self) -> dict[int, Metrics]:
        """Return the metrics by width of the trimap; empty without trimaps."""
        if self.trimap is None:
            return {}
        return {
            width: measure(self.trimap.band(width), self.rule, boundary=True, only=self.only)
            for width in self.trimap.widths
        }

    def worst(self, count: int) -> list[ImageResult]:
        """Return the images with the lowest mean IoU of their own, the lowest first."""
        counted = [image for image in self.images if not np.isnan(image.mean_iou)]
        return sorted(counted, key=lambda image: image.mean_iou)[:count]


def read_ids(path: str | os.PathLike[str]) -> list[str]:
    """Read the ids of a list: bare ids (``val_id.txt``), or image names (``val.txt``) without folder and ending.

    Bare ids may have folders, as in Cityscapes: ``aachen/aachen_000000_000019_leftImg8bit``.

    Raises:
        DataError: the list cannot be read, is empty, or has an id twice.
    """
    names: dict[str, int] = {}
    for entry in read_image_list(path):
        name = _id_of(entry)
        if name in names:
            raise DataError(f"'{name}' is in line {names[name]} already{entry.hint}", path, entry.line)
        if entry.hint and not names and not entry.label.lstrip("-").isdecimal():
            warn(f"{path}:{entry.line}: the id is '{name}'{entry.hint}")
        names[name] = entry.line
    return list(names)


def _id_of(entry: ListEntry) -> str:
    path = PurePosixPath(entry.image)
    # A path that leads out of a folder is not an id, because results are written to paths made from ids.
    leads_out = path.is_absolute() or ".." in path.parts
    if entry.label or leads_out or ("/" in entry.image and is_image(path)):
        return path.stem
    return entry.image if "/" not in entry.image else str(path)


def find_pairs(
    predictions: str | os.PathLike[str],
    labels: str | os.PathLike[str] | Mapping[str, Path],
    ids: Sequence[str],
    kind: Kind,
    *,
    skip_missing: bool = False,
) -> tuple[list[ImagePair], list[str]]:
    """Pair results and labels.

    Args:
        predictions: folder of the results.
        labels: folder of ``<id>.png``, or the label file of each id.
        ids: ids of the images to evaluate.
        kind: format of the results.
        skip_missing: skip images without a result instead of failing, as MyVOCevalseg.m does with a warning.

    Returns:
        The pairs, and the ids without a result.

    Raises:
        DataError: a result or label is missing, or all results are.
    """
    pairs, missing = [], []
    for name in ids:
        label = Path(labels[name]) if isinstance(labels, Mapping) else Path(labels) / f"{name}.png"
        pair = ImagePair(name, Path(predictions) / (name + SUFFIXES[kind]), label)
        if not is_file(pair.prediction):
            missing.append(name)
        elif not is_file(pair.label):
            jpeg = any(is_file(pair.label.with_suffix(suffix)) for suffix in (".jpg", ".jpeg", ".JPG"))
            raise DataError(f"the labels are missing{': JPEG changes labels, save PNG' if jpeg else ''}", pair.label)
        else:
            pairs.append(pair)
    if missing and (not skip_missing or not pairs):
        others = f" and of {len(missing) - 1} others" if len(missing) > 1 else ""
        raise DataError(f"holds no result of '{missing[0]}' ({missing[0]}{SUFFIXES[kind]}){others}", predictions)
    return pairs, missing


def evaluate(
    pairs: Sequence[ImagePair],
    classes: Classes,
    kind: Kind,
    *,
    widths: Sequence[int] = (),
    ignore_label: int = 255,
    rule: Rule = "original",
    only: Sequence[str] = (),
    missing: Sequence[str] = (),
    jobs: int = 0,
    advance: Callable[[], object] = lambda: None,
    hint: str = "",
) -> Evaluation:
    """Evaluate images in parallel; the numbers do not depend on how many run at a time.

    Args:
        pairs: the images, from :func:`find_pairs`.
        classes: the K classes.
        kind: format of the results.
        widths: widths of trimaps, in pixels; empty: no trimaps.
        ignore_label: the true label that does not count: a class number, also if label maps have the data set's ids.
        rule: how absent classes count, see :func:`measure`.
        only: names of the classes that the means are over; empty: all classes.
        missing: ids without a result, for the report.
        jobs: number of images at a time; 0: the number of cores.
        advance: function that is called after each image.
        hint: text to append to the error about a label that is not a class.

    Raises:
        DataError: a file cannot be read, does not fit the other file of its pair, or has a class that does not exist.
        EvaluationError: there is nothing to evaluate, or ``only`` has a name that is not a class, or a name twice.
    """
    if not pairs:
        raise EvaluationError("there is nothing to evaluate: the list holds no id")
    meant = _numbers_of(only, classes)
    # An id that is not a class becomes 255, which must be ignored too.
    ignored = [ignore_label] if classes.ids is None else [ignore_label, 255]
    total = ConfusionMatrix(len(classes), ignored)
    trimap = Trimap(len(classes), widths, ignored) if widths else None
    images = []

    def work(pair: ImagePair) -> tuple[ConfusionMatrix, Trimap | None]:
        return _count(pair, classes, kind, widths, ignored, hint)

    with worker_pool(jobs, "eval") as pool:
        for pair, (counts, bands) in zip(pairs, pool.map(work, pairs), strict=True):
            total.add(counts.matrix)
            if trimap is not None and bands is not None:
                trimap.counts += bands.counts
            own = measure(counts, "skip", only=meant)
            images.append(ImageResult(pair.name, own.pixel_accuracy, own.mean_iou))
            advance()
    return Evaluation(classes, total, trimap, tuple(images), tuple(missing), rule, meant)


def _numbers_of(names: Sequence[str], classes: Classes) -> tuple[int, ...]:
    for name in names:
        if classes.names.count(name) != 1 or names.count(name) != 1:
            raise EvaluationError(
                f"means over chosen classes: expected each once of {', '.join(classes.names)}, got {', '.join(names)}"
            )
    return tuple(classes.names.index(name) for name in names)


def _count(
    pair: ImagePair, classes: Classes, kind: Kind, widths: Sequence[int], ignored: Sequence[int], hint: str
) -> tuple[ConfusionMatrix, Trimap | None]:
    labels = classes.from_file(load_label(pair.label))
    predicted = read_classes(pair.prediction, kind, labels.shape, classes)
    confusion = ConfusionMatrix(len(classes), ignored)
    try:
        confusion.accumulate(labels, predicted)
    except EvaluationError as exc:
        raise DataError(f"{exc}{hint}", pair.prediction if exc.what == "prediction" else pair.label) from exc
    if not widths:
        return confusion, None
    trimap = Trimap(len(classes), widths, ignored)
    trimap.accumulate(labels, predicted)
    return confusion, trimap
