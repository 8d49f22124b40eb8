"""Summarise the evaluations of an experiment: a table, and the trimap curves of the paper's Figure 5."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DataError
from deeplab_caffe.viz.figure import new_figure

# Widths of trimaps, in pixels, that have a column in the table.
_WIDTHS = ("1", "5", "10", "20", "40")
_HEADS = ("mean IoU %", "pixel accuracy %", "mean class accuracy %")
_NUMBERS = ("mean_iou", "pixel_accuracy", "mean_class_accuracy")


def read_evaluations(files: Iterable[tuple[str, Path]]) -> dict[str, dict[str, Any]]:
    """Return the contents of ``eval``'s JSON files by their given names; missing files are skipped.

    Raises:
        DataError: a file cannot be read, is damaged or another one.
    """
    return {name: _evaluation(path) for name, path in files if path.is_file()}


def _evaluation(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
        widths = found.get("trimap", {})
        sound = all(str(int(width)) == width for width in widths)
        for one in (found, *widths.values()):
            # `float` refuses a number that no float can hold, as JSON may have.
            sound &= all(one[number] is None or math.isfinite(float(one[number])) for number in _NUMBERS)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        sound = False
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path) from error
    if not sound:
        raise DataError(
            "expected the numbers that eval --json writes: remove the file, and run the step eval again", path
        )
    return dict(found)


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a Markdown table with a row per evaluation; with trimaps also a table of the mean IoU within them."""
    lines = _rows(_HEADS, {name: [one[number] for number in _NUMBERS] for name, one in found.items()})
    widths = [width for width in _WIDTHS if any(width in one.get("trimap", {}) for one in found.values())]
    if widths:
        heads = [f"mean IoU % within {width} px" for width in widths]
        bands = {name: one.get("trimap", {}) for name, one in found.items()}
        rows = {name: [band.get(width, {}).get("mean_iou") for width in widths] for name, band in bands.items()}
        lines += ["", *_rows(heads, rows)]
    return "\n".join(lines) + "\n"


def _rows(heads: Iterable[str], rows: Mapping[str, Iterable[float | None]]) -> list[str]:
    heads = list(heads)
    lines = [f"| set | {' | '.join(heads)} |", f"| :--- |{' ---: |' * len(heads)}"]
    for name, numbers in rows.items():
        lines.append(f"| {name} | {' | '.join('-' if one is None else f'{one:.3f}' for one in numbers)} |")
    return lines


def draw_trimaps(found: Mapping[str, Mapping[str, Any]], path: Path) -> bool:
    """Write a picture of the accuracy over the trimap's width, with a line per evaluation.

    Returns:
        Whether it was written: without trimaps or matplotlib there is no picture.
    """
    curves = {name: one["trimap"] for name, one in found.items() if len(one.get("trimap", {})) > 1}
    if not curves or importlib.util.find_spec("matplotlib") is None:
        return False
    figure = new_figure((10, 4.8))
    for axes, number, title in zip(figure.subplots(1, 2), _NUMBERS, _HEADS, strict=False):
        for name, curve in curves.items():
            axes.plot([int(width) for width in curve], [one[number] for one in curve.values()], label=name)
        axes.set(xlabel="trimap width, pixels", ylabel=title)
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
    return True
