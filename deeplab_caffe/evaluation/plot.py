"""Draw an evaluation: the IoU of each class and, with trimaps, the curves of the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_caffe.files.text import shown_text
from deeplab_caffe.viz.figure import new_figure

if TYPE_CHECKING:
    from deeplab_caffe.evaluation.evaluate import Evaluation
    from deeplab_caffe.evaluation.metrics import Metrics


def draw_evaluation(evaluation: Evaluation) -> Any:
    """Draw a matplotlib figure: a bar per class and a line for the mean; below, accuracy over the trimap's width.

    Raises:
        DeepLabCaffeError: matplotlib is not installed.
    """
    curve = evaluation.curve()
    figure = new_figure((max(6.0, 0.42 * len(evaluation.classes) + 2), 8 if curve else 4.2))
    axes = figure.subplots(2 if curve else 1, 1, squeeze=False)[:, 0]
    metrics, names = evaluation.metrics, evaluation.classes.names
    colours = evaluation.classes.colormap[: len(names)] / 255
    axes[0].bar(range(len(names)), np.nan_to_num(metrics.iou), color=colours, edgecolor="black", linewidth=0.6)
    axes[0].set_xticks(range(len(names)), list(map(shown_text, names)), rotation=60, ha="right")
    axes[0].set_ylabel("IoU, %")
    axes[0].set_ylim(0, 100)
    if not np.isnan(metrics.mean_iou):
        axes[0].axhline(metrics.mean_iou, color="black", linestyle="--", linewidth=1)
        axes[0].set_title(f"mean IoU {metrics.mean_iou:.2f} %, pixel accuracy {metrics.pixel_accuracy:.2f} %")
    if curve:
        draw_curves(axes[1], {"mean IoU": curve}, "mean_iou")
        draw_curves(axes[1], {"pixel accuracy": curve}, "pixel_accuracy")
        axes[1].set_ylabel("%")
    return figure


def draw_curves(axes: Any, curves: Mapping[str, Mapping[int, Metrics]], number: str) -> None:
    """Draw one field of :class:`Metrics` over the width of the trimap, with a line per name."""
    for name, curve in curves.items():
        axes.plot(list(curve), [getattr(one, number) for one in curve.values()], marker=".", label=name)
    axes.set_xlabel("trimap width, pixels")
    axes.grid(alpha=0.3)
    axes.legend()
