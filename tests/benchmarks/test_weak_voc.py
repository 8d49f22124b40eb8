from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from deeplab_caffe import Net, proto
from deeplab_caffe.data import load_label, save_image, save_labels_png
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.viz import VOC_CLASSES, VOC_COLORMAP
from deeplab_caffe.zoo.paths import prototxt_path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import weak_voc
from weak_voc_task import CELLS, CHANNELS, CLASSES, IDS, KINDS, SIDE, TRUNK, choose_pictures, own_labels, trunk


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures with a rectangle each: seven of the classes to learn, one of a chair."""
    root = tmp_path_factory.mktemp("animals")
    rng = np.random.default_rng(0)
    (root / "list").mkdir()
    names = [*CLASSES[1:], "chair", "cat"]
    for subset, count in (("train_aug", 8), ("val", 2)):
        ids = [f"{subset}{number}" for number in range(count)]
        (root / "list" / f"{subset}_id.txt").write_text("\n".join(ids) + "\n")
        for number, name in enumerate(ids):
            labels = np.zeros((50, 60 + number), np.uint8)
            labels[10:40, 15:45] = VOC_CLASSES.index(names[number])
            labels[:2] = 255
            image = VOC_COLORMAP[labels % 21].astype(int) + rng.integers(-20, 21, (*labels.shape, 3))
            save_image(root / "JPEGImages" / f"{name}.jpg", image.clip(0, 255).astype(np.uint8))
            save_labels_png(root / "SegmentationClassAug" / f"{name}.png", labels, VOC_COLORMAP)
    return root


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("init") / "init.caffemodel"
    save_weights(Net(proto.read_net(prototxt_path(TRUNK)), None, "TEST", seed=1), path)
    return path


@pytest.fixture(scope="module")
def ran(animals: Path, init: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weak_voc")
    run(animals, init, folder)
    return folder


def run(animals: Path, init: Path, folder: Path, *more: str) -> None:
    counts = [
        "--train",
        "5",
        "--choosing",
        "2",
        "--few",
        "2",
        "--batch",
        "2",
        "--iterations",
        "2",
        "--warm",
        "1",
        "--seeds",
        "1",
    ]
    places = ["--data-root", str(animals), "--init", str(init), "--work", str(folder / "work")]
    out = ["--out", str(folder / "out.json"), "--markdown", str(folder / "out.md")]
    weak_voc.main([*places, *counts, *out, *more])


def test_runs_every_method(ran: Path) -> None:
    found = json.loads((ran / "out.json").read_text())
    assert [run["method"] for run in found["runs"]] == [method.key for method in weak_voc.METHODS]
    assert all(0 <= run["mean_iou"] <= 100 and len(run["iou"]) == len(CLASSES) for run in found["runs"])
    assert found["pictures"] == {"train": 5, "choosing": 2, "val": 2}
    assert len(found["claims"]) == len(weak_voc.CLAIMS)
    assert len((ran / "out.md").read_text().splitlines()) == 2 + len(weak_voc.METHODS)


def test_goes_on_after_the_last_run(ran: Path, animals: Path, init: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = json.loads((ran / "out.json").read_text())["runs"]
    monkeypatch.setattr(weak_voc, "ProcessPoolExecutor", _NoMoreWork)
    run(animals, init, ran)
    assert json.loads((ran / "out.json").read_text())["runs"] == before


class _NoMoreWork:
    """A pool that is given nothing to do."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> _NoMoreWork:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_items_hold_what_the_recipes_read(ran: Path, animals: Path) -> None:
    paths = sorted((ran / "work" / "items").iterdir())
    assert len(paths) == 5
    for path in paths:
        truth = own_labels(load_label(animals / "SegmentationClassAug" / f"{path.stem}.png"))
        with h5py.File(path) as file:
            assert file["data"].shape == file["data_weak"].shape == (1, CHANNELS, CELLS, CELLS)
            maps = {kind: file[f"label_{kind}"][0, 0] for kind in KINDS}
            assert (file["label_bbox"][0, 0] == maps["rect"]).all()
        assert maps["strong"].shape == (SIDE, SIDE)
        assert set(np.unique(maps["strong"])) == set(np.unique(truth))
        assert (maps["rect"][np.isin(maps["strong"], range(1, 7))] > 0).all()
        assert not maps["seg"][maps["rect"] == 0].any()


def test_pictures_with_other_classes_are_left_out(animals: Path) -> None:
    assert set(choose_pictures(animals, 100, 0)) == {f"train_aug{number}" for number in (0, 1, 2, 3, 4, 5, 7)}


def test_labels_of_the_task() -> None:
    assert own_labels(np.array([*IDS, 9, 255])).tolist() == [*range(7), 255, 255]


def test_trunk_ends_at_stride_16(init: Path) -> None:
    net = trunk(init)
    assert net.infer_shapes(data=(1, 3, SIDE, SIDE))["block15_project"] == (1, CHANNELS, CELLS, CELLS)


@pytest.mark.parametrize("method", weak_voc.METHODS, ids=lambda method: method.key)
def test_recipes_keep_their_labels_and_losses(method: weak_voc.Method, ran: Path) -> None:
    path = ran / "list.txt"
    path.write_text(f"{next((ran / 'work' / 'items').iterdir())}\n")
    released = proto.read_net(prototxt_path(method.recipe, "train"), weak_voc.variables(weak_voc.EXP, len(CLASSES)))
    param = weak_voc.training_net(method, {x.name: path for x in released.layer if x.type == "ImageSegData"}, 2)
    kept = {layer.name: layer.type for layer in released.layer if layer.type not in ("ImageSegData", "Pooling")}
    own = {layer.name: layer.type for layer in param.layer}
    assert own.pop("fc8_zoom") == "Interp"
    assert {name for name in own if not name.startswith("data")} <= set(kept) | {"data"}
    assert {name for name in kept if name.startswith(("label", "loss", "fc8", "accuracy"))} <= set(own)
    shapes = Net(param, None, "TRAIN", seed=1).infer_shapes()
    assert shapes[f"fc8_{weak_voc.EXP}"] == (2, len(CLASSES), 41, 41)
