"""A small VOC-like task with strong and weak labels, from CamVid: crops around objects; the rest is background."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data import load_image, load_label, read_id_list, save_image, save_labels_png
from deeplab_caffe.data.boxes import Box, label_map_boxes, rectangles
from deeplab_caffe.viz import CAMVID_CLASSES, VOC_COLORMAP
from deeplab_caffe.weak.boxes import segment_boxes

CLASSES = ("background", "car", "pedestrian", "bicyclist", "sign")
OBJECTS = {"Car": 1, "Pedestrian": 2, "Bicyclist": 3, "SignSymbol": 4}
# Side of a crop; the networks take all of it when they are tested, and a random part of it in training.
SIDE = 113
# Smaller objects are seldom recognisable; the smaller pieces of one in a crop are neither labelled nor counted.
MIN_OBJECT = {"Car": 300, "Pedestrian": 200, "Bicyclist": 300, "SignSymbol": 120}
MIN_PIECE = 0.006
# A crop's side, in sides of its object.
SMALLEST, LARGEST = 1.2, 1.8
MAX_PER_OBJECT = 3
# Best of a few on 60 crops of val, as the paper chooses them; for crops this small VOC's bboxErode20 is far too strong.
CRF = CRFParams(pos_w=3, pos_xy_std=3, bi_w=3, bi_xy_std=10, bi_rgb_std=5)
CENTRE = 0.5
FOLDERS = {
    "strong": "SegmentationClass",
    "image_objects": "ImageLabelsObjects",
    "image_all": "ImageLabelsAll",
    "rect": "Bbox",
    "seg": "BboxCrf",
}

Item = tuple[str, np.ndarray, np.ndarray]


def object_table() -> np.ndarray:
    """Return CamVid's labels as the task's: uint8 ``(256,)``."""
    table = np.zeros(256, np.uint8)
    table[255] = 255
    for name, label in OBJECTS.items():
        table[CAMVID_CLASSES.index(name)] = label
    return table


def window(box: Box, shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return a square around a box, somewhat larger than it, inside the image: left, top, right, bottom."""
    longest = max(box.right - box.left, box.bottom - box.top)
    side = int(min(max(longest * rng.uniform(SMALLEST, LARGEST), 48), *shape))
    corner = []
    for low, high, size in ((box.left, box.right, shape[1]), (box.top, box.bottom, shape[0])):
        first, last = sorted((high - side, low))
        corner.append(int(np.clip(rng.integers(first, last + 1), 0, size - side)))
    return (*corner, corner[0] + side, corner[1] + side)


def cut(image: np.ndarray, labels: np.ndarray, place: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the square at the side that crops have; pieces of objects too small to tell become 255."""
    photo = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=place)
    found = np.asarray(Image.fromarray(labels).crop(place).resize((SIDE, SIDE), Image.Resampling.NEAREST)).copy()
    kept = np.zeros(found.shape, bool)
    for box in label_map_boxes(found, min_area=int(MIN_PIECE * SIDE * SIDE)):
        kept[box.place] |= found[box.place] == box.label
    found[(found > 0) & ~kept] = 255
    return np.asarray(photo), found


def camvid_crops(root: Path, subset: str, per_class: int, seed: int) -> Iterator[Item]:
    """Return crops around objects of each class, as many of each as there are objects for, up to ``per_class``."""
    rng = np.random.default_rng(seed)
    table = object_table()
    found: dict[int, list[tuple[str, Box]]] = {label: [] for label in OBJECTS.values()}
    for name in read_id_list(root / "list" / f"{subset}_id.txt"):
        labels = table[load_label(root / "SegmentationClass" / f"{name}.png")]
        for camvid, label in OBJECTS.items():
            boxes = label_map_boxes(np.where(labels == label, labels, 0), min_area=MIN_OBJECT[camvid])
            found[label] += [(name, box) for box in boxes]
    for label, objects in found.items():
        if not objects:
            continue
        chosen = [objects[i] for i in np.concatenate([rng.permutation(len(objects)) for _ in range(MAX_PER_OBJECT)])]
        for number, (name, box) in enumerate(chosen[:per_class]):
            image = load_image(root / "JPEGImages" / f"{name}.jpg")
            labels = table[load_label(root / "SegmentationClass" / f"{name}.png")]
            photo, truth = cut(image, labels, window(box, labels.shape, rng))
            if (truth == label).any():
                yield f"{CLASSES[label]}_{number:04d}", photo, truth


def image_label_map(labels: np.ndarray, *, background: bool, rng: np.random.Generator) -> np.ndarray:
    """Return image-level labels as a label map: every pixel has one of the image's labels, drawn at random.

    The mean of the loss over such maps is that of a pixel that has all the image's labels at once, so this is what it
    means to take the image-level labels for the truth at every pixel.
    """
    own = sorted(set(np.unique(labels).tolist()) - {0, 255})
    choices = [0, *own] if background or not own else own
    return rng.choice(np.array(choices, np.uint8), labels.shape)


def write_split(items: Iterator[Item], out: Path, subset: str, seed: int) -> dict[str, list[int]]:
    """Write images, true labels and all kinds of weak labels, and the lists.

    Returns:
        The classes of each crop.
    """
    rng = np.random.default_rng(seed)
    classes = {}
    for name, image, truth in items:
        stem = f"{subset}_{name}"
        boxes = label_map_boxes(truth)
        maps = {
            "strong": truth,
            "image_objects": image_label_map(truth, background=False, rng=rng),
            "image_all": image_label_map(truth, background=True, rng=rng),
            "rect": rectangles(boxes, truth.shape),
            "seg": segment_boxes(boxes, image, CRF, centre=CENTRE),
        }
        save_image(out / "JPEGImages" / f"{stem}.png", image)
        for kind, labels in maps.items():
            save_labels_png(out / FOLDERS[kind] / f"{stem}.png", labels, VOC_COLORMAP)
        classes[stem] = sorted(set(np.unique(truth).tolist()) - {0, 255})
    (out / "list").mkdir(exist_ok=True)
    for kind, folder in FOLDERS.items():
        lines = "".join(f"/JPEGImages/{stem}.png /{folder}/{stem}.png\n" for stem in classes)
        (out / "list" / f"{subset}_{kind}.txt").write_text(lines)
    (out / "list" / f"{subset}_id.txt").write_text("".join(f"{stem}\n" for stem in classes))
    return classes
