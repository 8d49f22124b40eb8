"""Write an evaluation as text, Markdown and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from deeplab_caffe.errors import printable
from deeplab_caffe.evaluation.evaluate import Evaluation
from deeplab_caffe.evaluation.metrics import Metrics

_VOC_VAL_IMAGES = 1449
_BEST_ON_VAL = 85


def text_report(evaluation: Evaluation) -> str:
    """Return the lines that MyVOCevalseg.m prints, with the same number of digits, and a line for each trimap."""
    metrics, names = evaluation.metrics, evaluation.classes.names
    rule = "-" * 25
    lines = [
        f"Percentage of pixels correctly labelled overall: {metrics.pixel_accuracy:6.3f}%",
        "Accuracy for each class (pixel accuracy)",
        *_class_lines(names, metrics.class_accuracy),
        rule,
        f"Mean Class Accuracy: {metrics.mean_class_accuracy:6.3f}%",
        "Accuracy for each class (intersection/union measure)",
        *_class_lines(names, metrics.iou),
        rule,
        f"Average accuracy: {metrics.mean_iou:6.3f}%",
    ]
    if evaluation.only:
        lines.append(scope(evaluation))
    curve = evaluation.curve()
    if curve:
        lines += ["", "Trimap   pixel accuracy   mean class accuracy   mean IoU"]
        lines += [
            f"{width:4d} px{one.pixel_accuracy:15.3f}%{one.mean_class_accuracy:21.3f}%{one.mean_iou:10.3f}%"
            for width, one in curve.items()
        ]
    # A list of classes may come from a stranger.
    return "\n".join(map(printable, lines))


def scope(evaluation: Evaluation) -> str:
    """Return a sentence that says which classes the means are over; "" if they are over all."""
    only = evaluation.only
    return f"The means are over {len(only)} classes: {_names(evaluation, only)}." if only else ""


def notes(evaluation: Evaluation) -> list[str]:
    """Return what a reader should know besides the metrics."""
    found = []
    if evaluation.missing:
        count = len(evaluation.missing)
        found.append(f"{count} images have no result and count nothing, the first is '{evaluation.missing[0]}'")
    # No DeepLab v1, v2 or v3 that was trained without VOC's val images comes near this number.
    if len(evaluation.images) == _VOC_VAL_IMAGES and evaluation.metrics.mean_iou > _BEST_ON_VAL:
        found.append(
            f"mean IoU over {_BEST_ON_VAL} % on a list as long as VOC's val: weights that were trained on val "
            "(train2_iter_*, trainval) score so; DeepLab's published numbers on val go up to 82.7"
        )
    true = np.flatnonzero(evaluation.confusion.matrix.sum(axis=1))
    if len(true) == 1 and len(evaluation.classes) > 1:
        found.append(
            f"the only true class is {evaluation.classes.names[true[0]]}: are the labels masks of 0 and 255? 255 does "
            "not count: save them as 0 and 1"
        )
    absent = [label for label in evaluation.metrics.absent if not evaluation.only or label in evaluation.only]
    if absent:
        treatment = {
            "original": "they count 0 % in the means (MyVOCevalseg.m)",
            "zero": "they count 0 % in the means",
            "skip": "they are left out of the means",
            "nan": "they make the mean IoU NaN",
            "one": "they count 100 % in the mean IoU",
        }[evaluation.rule]
        found.append(f"neither true nor predicted: {_names(evaluation, absent)}; {treatment}")
    return [printable(note) for note in found]


def markdown(evaluation: Evaluation, title: str = "Evaluation") -> str:
    """Return the evaluation as Markdown tables."""
    metrics, names = evaluation.metrics, evaluation.classes.names
    lines = [
        f"# {escape_markdown(title)}",
        "",
        f"{len(evaluation.images)} images, {int(metrics.pixels.sum()):,} pixels counted, all numbers in per cent. "
        f"{escape_markdown(scope(evaluation))}".rstrip(),
        "",
        "| mean IoU | pixel accuracy | mean class accuracy |",
        "| ---: | ---: | ---: |",
        f"| {cell(metrics.mean_iou)} | {cell(metrics.pixel_accuracy)} | {cell(metrics.mean_class_accuracy)} |",
        "",
        f"By the other rule, the mean of each image's own mean IoU: {cell(evaluation.mean_iou_of_images)}.",
        "",
        "| class | IoU | class accuracy | pixels |",
        "| :--- | ---: | ---: | ---: |",
    ]
    for label, name in enumerate(names):
        accuracy, iou = cell(metrics.class_accuracy[label]), cell(metrics.iou[label])
        lines.append(f"| {escape_markdown(name)} | {iou} | {accuracy} | {int(metrics.pixels[label]):,} |")
    curve = evaluation.curve()
    if curve:
        lines += [
            "",
            "| trimap width | mean IoU | pixel accuracy | mean class accuracy |",
            "| ---: | ---: | ---: | ---: |",
        ]
        for width, one in curve.items():
            cells = (one.mean_iou, one.pixel_accuracy, one.mean_class_accuracy)
            lines.append(f"| {width} px | {' | '.join(cell(value) for value in cells)} |")
    for note in notes(evaluation):
        lines += ["", f"Note: {escape_markdown(note)}."]
    return "\n".join(lines) + "\n"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return all metrics, the confusion counts and the images' results as values for JSON; NaN becomes None."""
    metrics = evaluation.metrics
    content: dict[str, Any] = {
        "unit": "per cent",
        "absent_classes": evaluation.rule,
        **({"means_over": [evaluation.classes.names[label] for label in evaluation.only]} if evaluation.only else {}),
        "images": len(evaluation.images),
        "missing": list(evaluation.missing),
        **_numbers(metrics),
        "mean_iou_of_images": _number(evaluation.mean_iou_of_images),
        "classes": {
            name: {
                "iou": _number(metrics.iou[label]),
                "class_accuracy": _number(metrics.class_accuracy[label]),
                "pixels": int(metrics.pixels[label]),
            }
            for label, name in enumerate(evaluation.classes.names)
        },
        "confusion": evaluation.confusion.matrix.tolist(),
        "per_image": {
            image.name: {"mean_iou": _number(image.mean_iou), "pixel_accuracy": _number(image.pixel_accuracy)}
            for image in evaluation.images
        },
    }
    curve = evaluation.curve()
    if curve:
        content["trimap"] = {str(width): _numbers(one) for width, one in curve.items()}
    return content


def json_text(evaluation: Evaluation) -> str:
    """Return :func:`as_json` as text."""
    return json.dumps(as_json(evaluation), indent=1, allow_nan=False) + "\n"


def cell(value: float) -> str:
    """Return a number with the scripts' three digits, or ``"-"`` for NaN."""
    return "-" if np.isnan(value) else f"{value:.3f}"


def escape_markdown(text: str) -> str:
    """Return a text as it shows in a Markdown line or table; white space and control characters become one space."""
    plain = escape(re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip(), quote=False)
    # Underscores inside of a word have no meaning in Markdown.
    return re.sub(r"([\\`*\[\]|#~]|\b_|_\b)", r"\\\1", plain)


def _names(evaluation: Evaluation, labels: Sequence[int]) -> str:
    return ", ".join(evaluation.classes.names[label] for label in labels)


def _class_lines(names: tuple[str, ...], values: np.ndarray) -> list[str]:
    # MyVOCevalseg.m prints 0 for an absent class, however it counts in the mean.
    return [
        f"  {name:>14}: {0.0 if np.isnan(value) else value:6.3f}%" for name, value in zip(names, values, strict=True)
    ]


def _numbers(metrics: Metrics) -> dict[str, float | None]:
    return {
        "mean_iou": _number(metrics.mean_iou),
        "pixel_accuracy": _number(metrics.pixel_accuracy),
        "mean_class_accuracy": _number(metrics.mean_class_accuracy),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
