"""Small made-up scenes: photograph, true labels, and scores that are right but noisy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeplab_caffe.data import save_image, save_labels_png, write_blob_mat
from deeplab_caffe.viz import VOC_COLORMAP

CLASSES = 3


def scene(seed: int, size: tuple[int, int] = (18, 22)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image (H, W, 3), labels (H, W), scores (C, H, W): a disc and a bar on a ground, coloured by class."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, np.uint8)
    labels[(y - size[0] / 2) ** 2 + (x - rng.integers(size[1])) ** 2 < 25] = 1
    labels[: rng.integers(1, 1 + size[0] // 3)] = 2
    colours = rng.integers(0, 200, (CLASSES, 3))
    image = (colours[labels] + rng.integers(0, 12, (*size, 3))).astype(np.uint8)
    scores = np.where(np.arange(CLASSES)[:, None, None] == labels, 1.0, 0.0) + rng.normal(0, 0.8, (CLASSES, *size))
    return image, labels, scores.astype(np.float32)


def write_scenes(folder: Path, names: tuple[str, ...], kind: str = "mat") -> None:
    """Scenes by their numbers in scores/, images/ and labels/; every other score file is padded."""
    (folder / "scores").mkdir(exist_ok=True)
    for number, name in enumerate(names):
        image, labels, scores = scene(number, (18 + number, 22))
        labels = labels.copy()
        labels[-1] = 255
        padded = np.pad(scores, ((0, 0), (0, 3), (0, 2))) if number % 2 else scores
        save_image(folder / "images" / f"{name}.png", image)
        save_labels_png(folder / "labels" / f"{name}.png", labels, VOC_COLORMAP)
        if kind == "mat":
            write_blob_mat(folder / "scores" / f"{name}_blob_0.mat", padded[None])
        else:
            np.save(folder / "scores" / f"{name}.npy", padded[None] if number % 3 else padded)
