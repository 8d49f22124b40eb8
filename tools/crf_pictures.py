"""Draw the effect of each parameter of the dense CRF, for docs/crf-parameters.md: ``python -m tools.crf_pictures``.

A strip of pictures for each parameter: the bundled network's labels of chelsea.jpg after the CRF, with four values of
the one parameter and the defaults of the others.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import deeplab_caffe as dc
from deeplab_caffe import viz
from deeplab_caffe.data import load_image, save_image
from deeplab_caffe.zoo import DEFAULT_MODEL, DEMO_PHOTOS

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
VALUES = {
    "pos_w": (0, 3, 10, 30),
    "pos_xy_std": (1, 3, 10, 30),
    "bi_w": (0, 2, 5, 20),
    "bi_xy_std": (5, 20, 50, 150),
    "bi_rgb_std": (2, 5, 10, 40),
    "iterations": (0, 1, 3, 10),
}
# The ear and the cheek, where the cat ends (x, y, x, y).
PART = (220, 20, 440, 250)
# The colour over the photograph outside of the cat.
BACKGROUND = np.array([40, 90, 220])
WIDTH, TITLE, GAP = 224, 20, 4


def panel(photo: np.ndarray, labels: np.ndarray, title: str) -> np.ndarray:
    """Return one picture of a strip, with a title above it: uint8 ``(h, WIDTH, 3)``."""
    mixed = np.where((labels == 0)[..., None], (photo * 0.4 + BACKGROUND * 0.6).astype(np.uint8), photo)
    part = Image.fromarray(viz.outlined(mixed, labels)).crop(PART)
    height = round(part.height * WIDTH / part.width)
    picture = Image.new("RGB", (WIDTH, TITLE + height), "white")
    picture.paste(part.resize((WIDTH, height), Image.Resampling.LANCZOS), (0, TITLE))
    font = ImageFont.load_default(size=14)
    ImageDraw.Draw(picture).text((WIDTH // 2, TITLE // 2), title, fill="black", font=font, anchor="mm")
    return np.asarray(picture)


def strip(photo: np.ndarray, scores: np.ndarray, parameter: str, values: Sequence[float]) -> np.ndarray:
    """Return the pictures of a parameter's values side by side; scores are ``(C, H, W)``."""
    panels = []
    for value in values:
        params = replace(dc.CRFParams(), **{parameter: value})  # type: ignore[arg-type]  # names are VALUES'
        labels = dc.dense_crf(scores, photo, params).argmax(0).astype(np.uint8)
        panels.append(panel(photo, labels, f"{parameter} = {value}"))
    return viz.beside(panels, GAP)


def main(arguments: list[str] | None = None) -> None:
    """Write ``crf_<parameter>.jpg`` for each parameter."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args(arguments)
    photo = load_image(DEMO_PHOTOS[0])
    scores = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu").segment(photo).scores
    for parameter, values in VALUES.items():
        path = options.out / f"crf_{parameter}.jpg"
        save_image(path, strip(photo, scores, parameter, values), quality=72)
        print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
