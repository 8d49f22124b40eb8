"""Names of classes: those of a data set, or one in each line of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_caffe.errors import EvaluationError
from deeplab_caffe.viz.colormap import CAMVID_CLASSES, CAMVID_COLORMAP, VOC_CLASSES, VOC_COLORMAP


@dataclass(frozen=True)
class Classes:
    """Names of labels 0, 1, 2, ... and their colours, uint8 RGB ``(K or more, 3)``."""

    names: tuple[str, ...]
    colormap: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


KNOWN = {"voc12": Classes(VOC_CLASSES, VOC_COLORMAP), "camvid": Classes(CAMVID_CLASSES, CAMVID_COLORMAP)}


def find_classes(name: str) -> Classes:
    """Return the classes of a data set by its name, or those that a text file lists, which get PASCAL VOC's colours.

    Raises:
        EvaluationError: neither a known name nor a file with 1 to 255 names.
    """
    if name in KNOWN:
        return KNOWN[name]
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as exc:
        known = ", ".join(KNOWN)
        raise EvaluationError(f"classes: expected {known} or a file with a name in each line, got '{name}'") from exc
    names = tuple(line.strip() for line in lines if line.strip())
    if not 1 <= len(names) <= 255:
        raise EvaluationError(f"{name}: expected 1 to 255 names of classes, one in each line, got {len(names)}")
    return Classes(names, VOC_COLORMAP)
