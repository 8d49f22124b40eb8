"""Create a folder in the format of PASCAL VOC2012, from CamVid or from drawn shapes, to try the VOC flow without VOC.

    python -m tools.make_voc_like --camvid ../shared/data/camvid --out /tmp/voc --images 20
    python -m tools.make_voc_like --synthetic --out /tmp/voc --images 4

JPEGImages/*.jpg, SegmentationClass/*.png (21 classes, a void line of 255 along each boundary), SegmentationClassAug
(the same), ImageSets/Segmentation and list/ with train, train_aug, val, trainval, trainval_aug and test. Its test set
has labels, unlike VOC's. Numbers on it say nothing about VOC.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from deeplab_caffe.data import load_image, load_label, save_image, save_labels_png
from deeplab_caffe.viz import CAMVID_CLASSES, VOC_CLASSES, VOC_COLORMAP

# Classes of both data sets; all others are background.
SHARED = {"Car": "car", "Pedestrian": "person", "Bicyclist": "bicycle"}


def with_void_line(labels: np.ndarray, width: int = 2) -> np.ndarray:
    """Return labels with 255 within ``width`` pixels (chessboard distance) of class boundaries; uint8 ``(H, W)``."""
    from scipy.ndimage import binary_dilation

    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    if width > 1:
        edge = binary_dilation(edge, np.ones((2 * width - 1,) * 2, bool))
    return np.where(edge, 255, labels).astype(np.uint8)


def from_camvid(root: Path, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield names, images and labels of evenly chosen images."""
    table = np.zeros(256, np.uint8)
    table[255] = 255
    for camvid, voc in SHARED.items():
        table[CAMVID_CLASSES.index(camvid)] = VOC_CLASSES.index(voc)
    photos = sorted((root / "JPEGImages").glob("*.jpg"))
    for index in np.unique(np.linspace(0, len(photos) - 1, count).astype(int)):
        photo = photos[index]
        yield photo.stem, load_image(photo), table[load_label(root / "SegmentationClass" / f"{photo.stem}.png")]


def drawn(count: int, seed: int = 0, size: tuple[int, int] = (61, 53)) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield names, images and labels of ellipses and boxes on noise; ``size`` is ``(height, width)``."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        picture = Image.new("L", size[::-1])
        draw = ImageDraw.Draw(picture)
        for _ in range(3):
            label = int(rng.integers(1, len(VOC_CLASSES)))
            x, y = (int(rng.integers(0, side * 2 // 3)) for side in size[::-1])
            box = (x, y, x + int(rng.integers(9, 30)), y + int(rng.integers(9, 30)))
            (draw.ellipse if label % 2 else draw.rectangle)(box, fill=label)
        labels = np.asarray(picture)
        image = VOC_COLORMAP[labels].astype(int) + 60 + rng.integers(-25, 26, (*size, 3))
        yield f"2012_{number:06d}", image.clip(0, 255).astype(np.uint8), labels


def write(items: Iterator[tuple[str, np.ndarray, np.ndarray]], out: Path) -> dict[str, list[str]]:
    """Write all files; return the ids of each list. Of four images two are for train, one for val, one for test."""
    names = []
    for name, image, labels in items:
        names.append(name)
        save_image(out / "JPEGImages" / f"{name}.jpg", image)
        for folder in ("SegmentationClass", "SegmentationClassAug"):
            save_labels_png(out / folder / f"{name}.png", with_void_line(labels), VOC_COLORMAP)
    sets = {"train": names[0::4] + names[1::4], "val": names[2::4], "test": names[3::4]}
    sets["trainval"] = sets["train"] + sets["val"]
    for kind in ("train", "trainval"):
        sets[f"{kind}_aug"] = sets[kind]
    for folder in ("ImageSets/Segmentation", "list"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for kind, ids in sets.items():
        (out / "ImageSets" / "Segmentation" / f"{kind}.txt").write_text("".join(f"{name}\n" for name in ids))
        lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in ids]
        if kind == "test":
            lines = [line.split()[0] for line in lines]
        (out / "list" / f"{kind}.txt").write_text("".join(f"{line}\n" for line in lines))
        (out / "list" / f"{kind}_id.txt").write_text("".join(f"{name}\n" for name in ids))
    return sets


def main(words: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--camvid", type=Path, help="folder with JPEGImages and SegmentationClass")
    source.add_argument("--synthetic", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=20)
    given = parser.parse_args(words)
    items = drawn(given.images) if given.synthetic else from_camvid(given.camvid, given.images)
    for kind, ids in write(items, given.out).items():
        print(f"{kind}: {len(ids)}")


if __name__ == "__main__":
    main()
