"""Write the weights of CamVid's classes that InfogainLoss takes: the square root of median frequency balancing.

    python examples/camvid/class_weights.py DATA_ROOT weights.binaryproto

A class with the share f of the labelled training pixels gets sqrt(median / f) (the median of all shares), but from 0.4
to 3; then all are scaled so that a training pixel weighs 1 on average. The median is over the classes that occur; the
others get the largest weight.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from deeplab_caffe.data import load_label
from deeplab_caffe.proto import write_blob

CLASSES = 11
SMALLEST, LARGEST = 0.4, 3.0


def class_weights(root: Path) -> np.ndarray:
    """Return a weight for each class of the labels that list/train.txt names, float64 (11,)."""
    pixels = np.zeros(256)
    for line in (root / "list" / "train.txt").read_text(encoding="utf-8").splitlines():
        pixels += np.bincount(load_label(root / line.split()[1].lstrip("/")).ravel(), minlength=256)
    labelled = pixels[:CLASSES].sum()
    if not labelled:
        sys.exit(f"{root / 'list' / 'train.txt'}: no label map has a pixel of the classes 0 to {CLASSES - 1}")
    share = pixels[:CLASSES] / labelled
    occurs = share > 0
    weights = np.full(CLASSES, LARGEST)
    weights[occurs] = np.sqrt(np.median(share[occurs]) / share[occurs]).clip(SMALLEST, LARGEST)
    return weights / (share * weights).sum()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    weights = class_weights(Path(sys.argv[1]))
    # H of InfogainLoss: a row for each true class.
    write_blob(sys.argv[2], np.diag(weights).astype(np.float32))
    print(*(f"{weight:.3f}" for weight in weights))
