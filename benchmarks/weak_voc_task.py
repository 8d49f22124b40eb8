"""The task of weak_voc.py: pictures of animals, their weak labels, and a frozen Lite0's features of them."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from deeplab_caffe import Net, proto
from deeplab_caffe.data import atomic_write, load_image, load_label, read_id_list, resize_bilinear
from deeplab_caffe.evaluation import ConfusionMatrix, measure
from deeplab_caffe.viz import VOC_CLASSES
from deeplab_caffe.zoo.paths import prototxt_path

CLASSES = ("background", "cat", "cow", "dog", "horse", "person", "sheep")
# VOC's ids of these classes, in their order.
IDS = np.array([VOC_CLASSES.index(name) for name in CLASSES], np.uint8)
# Side that pictures are resized to, whatever their shape, so that nothing is padding, which image labels say nothing
# of: 16 k + 1; side of the features, and how many of them there are.
SIDE, CELLS, CHANNELS = 321, 21, 320
TRUNK = "deeplab_v3_lite0"
TRUNK_END = "block15_project"
# Smaller connected regions of a class get no box: they are mostly slivers that something in front has cut off.
MIN_AREA = 100
# Kinds of label maps, and how ``deeplab-caffe boxes`` makes them.
KINDS = {"strong": "", "rect": "rect", "seg": "crf"}
# What the tops of the recipes' data layers are called, beside data and label_<kind>.
LINKS = {
    "data_strong": "data",
    "data_weak": "data",
    "data_bbox": "data",
    "label_bbox": "label_rect",
    "label_weak_map": "label_strong",
}


def own_labels(labels: np.ndarray) -> np.ndarray:
    """Return VOC's ids as the task's labels 0 to 6, all others 255."""
    table = np.full(256, 255, np.uint8)
    table[IDS] = np.arange(len(IDS))
    return table[labels]


def choose_pictures(root: Path, wanted: int, seed: int) -> list[str]:
    """Return pictures of train_aug with objects of these classes only, each class in turn as long as there are any."""
    names = read_id_list(root / "list" / "train_aug_id.txt")
    order = np.random.default_rng(seed).permutation(len(names))
    having: dict[int, list[str]] = {label: [] for label in range(1, len(CLASSES))}
    for name in (names[place] for place in order):
        found = set(np.unique(load_label(root / "SegmentationClassAug" / f"{name}.png")).tolist()) - {255}
        if found <= set(IDS.tolist()):
            for label in having:
                if IDS[label] in found:
                    having[label].append(name)
    chosen: dict[str, None] = {}
    while len(chosen) < wanted and any(having.values()):
        for own in having.values():
            while own and own[0] in chosen:
                own.pop(0)
            if own:
                chosen[own.pop(0)] = None
    return list(chosen)[:wanted]


def trunk(init: Path) -> Net:
    """Return the convolutions before the head, with ImageNet's weights and statistics."""
    param = proto.read_net(prototxt_path(TRUNK, "deploy"))
    end = [layer.name for layer in param.layer].index(f"scale_{TRUNK_END}")
    del param.layer[end + 1 :]
    with warnings.catch_warnings():
        # The head's weights are not wanted.
        warnings.simplefilter("ignore")
        return Net(param, init, "TEST")


@torch.inference_mode()
def write_features(net: Net, root: Path, names: Iterable[str], out: Path) -> None:
    """Write ``out/<id>.npy``, float16 ``(320, 21, 21)``; those that are there stay."""
    for name in names:
        path = out / f"{name}.npy"
        if path.is_file():
            continue
        photo = load_image(root / "JPEGImages" / f"{name}.jpg", exif_orientation=False)
        square = resize_bilinear(photo, SIDE, SIDE)
        blob = torch.from_numpy(square[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32) - 127)
        found = net.forward(data=blob, blobs=[TRUNK_END])[TRUNK_END]
        with atomic_write(path) as stream:
            np.save(stream, found[0].numpy().astype(np.float16))


def write_boxes(root: Path, ids: Path, out: Path) -> None:
    """Make label maps of the boxes around the true objects, by ``deeplab-caffe boxes``; those there stay."""
    for kind, method in KINDS.items():
        if method:
            words = ["--labels", root / "SegmentationClassAug", "--images", root / "JPEGImages", "--list", ids]
            words += ["--method", method, "--min-area", str(MIN_AREA), "--out", out / kind]
            subprocess.run([sys.executable, "-m", "deeplab_caffe", "boxes", *map(str, words)], check=True)


def label_path(root: Path, work: Path, kind: str, name: str) -> Path:
    """Return where a picture's label map of a kind is."""
    return (work / kind if KINDS[kind] else root / "SegmentationClassAug") / f"{name}.png"


def write_item(root: Path, work: Path, name: str) -> None:
    """Write ``work/items/<id>.h5``: features, label maps of SIDE x SIDE, and the recipes' own names of them."""
    import h5py

    path = work / "items" / f"{name}.h5"
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    held = BytesIO()
    with h5py.File(held, "w") as file:
        file["data"] = np.load(work / "features" / f"{name}.npy")[None]
        for kind in KINDS:
            labels = own_labels(load_label(label_path(root, work, kind, name)))
            square = Image.fromarray(labels).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            file[f"label_{kind}"] = np.asarray(square)[None, None]
        for link, dataset in LINKS.items():
            file[link] = file[dataset]
    with atomic_write(path) as stream:
        stream.write(held.getvalue())


def labels_worth(root: Path, work: Path, kind: str, names: Sequence[str]) -> float:
    """Return mean IoU of label maps made from boxes to the true ones, at the pictures' own sizes."""
    confusion = ConfusionMatrix(len(CLASSES), [255])
    for name in names:
        truth = own_labels(load_label(label_path(root, work, "strong", name)))
        confusion.accumulate(truth, own_labels(load_label(label_path(root, work, kind, name))))
    return round(measure(confusion, "skip").mean_iou, 2)


def make_task(root: Path, init: Path, work: Path, train: int, choosing: int) -> dict[str, list[str]]:
    """Write features, label maps and items, as far as an earlier call has not; return the ids by subset."""
    chosen = choose_pictures(root, train + choosing, seed=0)
    subsets = {
        "train": chosen[:-choosing],
        "choosing": chosen[-choosing:],
        "val": read_id_list(root / "list" / "val_id.txt"),
    }
    (work / "features").mkdir(parents=True, exist_ok=True)
    (work / "train_id.txt").write_text("".join(f"{name}\n" for name in subsets["train"]))
    net = trunk(init)
    for names in subsets.values():
        write_features(net, root, names, work / "features")
    write_boxes(root, work / "train_id.txt", work)
    for name in subsets["train"]:
        write_item(root, work, name)
    return subsets
