"""Draws docs/images/china_segmentation.jpg: the demo's photograph, the network's labels, and the CRF's.

Run from the checkout's root: ``python -m tools.readme_picture``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import deeplab_caffe as dc
from deeplab_caffe import viz
from deeplab_caffe.data import load_image, save_image
from deeplab_caffe.zoo import DEFAULT_MODEL, DEMO_PHOTO

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "china_segmentation.jpg"


def main() -> None:
    """Segment the photograph and writes the picture."""
    params: dict[str, Any] = dict(DEFAULT_MODEL.crf)  # numbers, one of them whole
    segmenter = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, crf=dc.CRFParams(**params), device="cpu")
    photo = load_image(DEMO_PHOTO)
    found = segmenter.segment(photo)
    # Of equal scores the last wins, as in ARGMAX.
    plain = found.scores.shape[0] - 1 - found.scores[::-1].argmax(axis=0)
    overlays = [viz.overlay(photo, labels, viz.CAMVID_COLORMAP) for labels in (plain, found.labels)]
    row = viz.beside([photo, *overlays])
    names = viz.legend(
        DEFAULT_MODEL.classes, viz.CAMVID_COLORMAP, width=row.shape[1], font_size=22, present=found.labels
    )
    save_image(PICTURE, np.concatenate([row, names]), quality=75)
    print(f"{PICTURE} ({PICTURE.stat().st_size / 1000:.0f} KB)")


if __name__ == "__main__":
    main()
