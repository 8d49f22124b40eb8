"""Measure how much of a label map each class covers, and find its regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deeplab_caffe.data.boxes import connected_regions
from deeplab_caffe.data.classes import class_name


@dataclass(frozen=True)
class Area:
    """The area of a label map that one class covers.

    Attributes:
        label: the class's number.
        name: the class's name.
        pixels: number of pixels of the class.
        share: share of the pixels whose label counts, from 0 to 1.
        boxes: ``(x, y, width, height)`` in pixels around each of the class's larger connected regions, largest first.
    """

    label: int
    name: str
    pixels: int
    share: float
    boxes: tuple[tuple[int, int, int, int], ...] = ()


def class_areas(
    labels: np.ndarray,
    names: Sequence[str] = (),
    *,
    ignore_label: int | None = 255,
    min_share: float | None = None,
) -> list[Area]:
    """Return the area of each class that occurs in a label map, the largest first.

    Args:
        labels: whole numbers ``(H, W)`` from 0 to 255.
        names: names of labels 0, 1, 2, ...; labels from ``len(names)`` on are called, for example, ``class 7``.
        ignore_label: the label whose pixels do not count; None: no such label.
        min_share: connected regions (8 neighbours) with at least this share of the counted pixels, from 0 to 1, get a
            box. None: compute no boxes, which saves time.

    Raises:
        ValueError: ``min_share`` is not from 0 to 1.
    """
    if min_share is not None and not 0 <= min_share <= 1:
        raise ValueError(f"min_share must be from 0 to 1, got {min_share}")
    labels = np.asarray(labels)
    counts = np.bincount(labels.ravel(), minlength=256)
    if ignore_label is not None:
        counts[ignore_label] = 0
    total = int(counts.sum())
    order = [int(label) for label in np.argsort(-counts, kind="stable") if counts[label]]
    least = None if min_share is None else min_share * total
    return [
        Area(
            label,
            class_name(names, label),
            int(counts[label]),
            int(counts[label]) / total,
            () if least is None else _boxes(labels == label, least),
        )
        for label in order
    ]


def _boxes(mask: np.ndarray, least: float) -> tuple[tuple[int, int, int, int], ...]:
    regions = sorted(connected_regions(mask), key=lambda region: -region.pixels)
    return tuple(
        (region.columns.start, region.rows.start, _length(region.columns), _length(region.rows))
        for region in regions
        if region.pixels >= least
    )


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def percent(share: float) -> str:
    """Return a share, from 0 to 1, in per cent for display: ``"41 %"``, ``"0.3 %"``, ``"< 0.1 %"``."""
    if share >= 0.0095:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"
