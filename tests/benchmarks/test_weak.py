from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe import Net, proto
from deeplab_caffe.data import load_image, load_label, read_id_list, save_image, save_labels_png
from deeplab_caffe.data.boxes import Box
from deeplab_caffe.viz import CAMVID_CLASSES, CAMVID_COLORMAP
from deeplab_caffe.zoo.paths import prototxt_path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import weak
from weak_nets import BODY, EXP, Size, deploy_net, fill_start, training_net, variables
from weak_task import CLASSES, FOLDERS, SIDE, cut, image_label_map, object_table, window

TINY = Size(crop=33, batch=2, width=32, fc_channels=8, hole=2)


@pytest.fixture(scope="module")
def camvid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CamVid's folders with drawn scenes: sky above road, a car, a pedestrian, a cyclist and a sign."""
    root = tmp_path_factory.mktemp("camvid")
    places = {"Car": (90, 20, 130, 70), "Pedestrian": (80, 90, 120, 105), "Bicyclist": (70, 110, 110, 140)}
    places["SignSymbol"] = (10, 60, 40, 90)
    rng = np.random.default_rng(0)
    (root / "list").mkdir()
    for subset in ("train", "val", "test"):
        (root / "list" / f"{subset}_id.txt").write_text(f"{subset}0\n{subset}1\n")
        for number in range(2):
            labels = np.full((150, 170), CAMVID_CLASSES.index("Sky"), np.uint8)
            labels[75:] = CAMVID_CLASSES.index("Road")
            for name, (top, left, bottom, right) in places.items():
                labels[top + number : bottom, left:right] = CAMVID_CLASSES.index(name)
            labels[:4] = 255
            noise = rng.integers(-20, 21, (*labels.shape, 3))
            image = (CAMVID_COLORMAP[np.minimum(labels, 10)].astype(int) + noise).clip(0, 255).astype(np.uint8)
            save_image(root / "JPEGImages" / f"{subset}{number}.jpg", image)
            save_labels_png(root / "SegmentationClass" / f"{subset}{number}.png", labels, CAMVID_COLORMAP)
    return root


@pytest.fixture(scope="module")
def ran(camvid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weak")
    run(camvid, folder, "--seeds", "1", "2")
    return folder


def run(camvid: Path, folder: Path, *more: str) -> None:
    size = json.dumps({"crop": 33, "batch": 2, "width": 32, "fc_channels": 8, "hole": 2})
    counts = ["--iterations", "2", "--per-class", "4", "--few", "1", "--size", size]
    out = ["--out", str(folder / "out.json"), "--markdown", str(folder / "out.md"), "--work", str(folder / "work")]
    weak.main(["--data-root", str(camvid), *counts, *out, *more])


def test_runs_every_method_from_the_same_start(ran: Path) -> None:
    found = json.loads((ran / "out.json").read_text())
    keys = ["start", *(method.key for method in weak.METHODS)]
    assert [(run["method"], run["seed"]) for run in found["runs"]] == [(key, seed) for seed in (1, 2) for key in keys]
    assert all(0 <= run["mean_iou"] <= 100 for run in found["runs"])
    assert [item["claim"] for item in found["claims"]] == [f"{a} beats {b}" for a, b in weak.CLAIMS]
    assert all(len(item["differences"]) == 2 for item in found["claims"])
    assert found["evaluated_on"] == "test"
    assert found["task"]["train"]["crops"] >= 10
    lines = (ran / "out.md").read_text().splitlines()
    assert len(lines) == 2 + len(keys)
    assert all(line.count("|") == lines[0].count("|") for line in lines)
    assert "±" in lines[2]


def test_what_was_written_for_training(ran: Path) -> None:
    work = ran / "work"
    for name in read_id_list(work / "list" / "train_id.txt"):
        assert load_image(work / "JPEGImages" / f"{name}.png").shape == (SIDE, SIDE, 3)
        maps = {kind: load_label(work / folder / f"{name}.png") for kind, folder in FOLDERS.items()}
        objects = set(np.unique(maps["strong"])) - {0, 255}
        assert objects
        assert set(np.unique(maps["image_objects"])) == objects
        assert set(np.unique(maps["image_all"])) == objects | {0}
        assert set(np.unique(maps["rect"])) - {0} <= objects
        # A pixel of an object lies in its box, and outside all boxes the CRF finds no object.
        assert (maps["rect"][np.isin(maps["strong"], list(objects))] > 0).all()
        assert not maps["seg"][maps["rect"] == 0].any()


def test_choosing_tries_parameters_on_val(camvid: Path, tmp_path: Path) -> None:
    run(camvid, tmp_path, "--choose", "--methods", "em_fixed", "bbox_rect")
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["evaluated_on"] == "val"
    tried = [method["bias"] for method in found["methods"] if method["key"].startswith("em_fixed")]
    assert tried == [list(choice["bias"]) for choice in weak.CHOICES["em_fixed"]]
    assert {run["seed"] for run in found["runs"]} == {weak.CHOOSING_SEED}


def test_window_holds_its_object() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        box = Box(100, 3, 140, 23, 1)
        left, top, right, bottom = window(box, (90, 160), rng)
        assert right - left == bottom - top >= 40
        assert 0 <= left <= box.left < box.right <= right <= 160
        assert 0 <= top <= box.top < box.bottom <= bottom <= 90


def test_small_pieces_do_not_count() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[10:50, 10:50] = 2
    labels[80:83, 80:83] = 2
    labels[90:94, 90:94] = 3
    _, found = cut(np.zeros((SIDE, SIDE, 3), np.uint8), labels, (0, 0, SIDE, SIDE))
    assert (found[10:50, 10:50] == 2).all()
    assert (found[80:83, 80:83] == 255).all()
    assert (found[90:94, 90:94] == 255).all()
    assert (found == 255).sum() == 25


def test_image_labels_at_every_pixel() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[:2, :2], labels[2:4, :2], labels[5] = 3, 1, 255
    rng = np.random.default_rng(0)
    objects = image_label_map(labels, background=False, rng=rng)
    assert [(objects == label).mean() for label in (0, 1, 3, 255)] == pytest.approx([0, 0.5, 0.5, 0], abs=0.05)
    everything = image_label_map(labels, background=True, rng=rng)
    assert [(everything == label).mean() for label in (0, 1, 3)] == pytest.approx([1 / 3] * 3, abs=0.05)
    assert not image_label_map(np.zeros((3, 3), np.uint8), background=False, rng=rng).any()


def test_all_but_four_classes_are_background() -> None:
    table = object_table()
    assert table[CAMVID_CLASSES.index("Bicyclist")] == CLASSES.index("bicyclist")
    assert table[255] == 255
    assert (table[:11] > 0).sum() == 4


@pytest.mark.parametrize("method", weak.METHODS, ids=lambda method: method.key)
def test_every_recipe_is_the_same_network(method: weak.Method, ran: Path) -> None:
    """Only labels, E-step and loss differ: all fit one deploy net, and one start."""
    param = training_net(method.recipe, ran / "work", f"train_{method.labels}", TINY, bias=(3, 5), portions=(0.3, 0.1))
    net = Net(param, None, "TRAIN", seed=1)
    deploy = Net(deploy_net(TINY), None, "TEST", seed=1)
    shapes = {layer.param.name: [blob.shape for blob in layer.blobs] for layer in net.layers if layer.blobs}
    assert shapes == {layer.param.name: [blob.shape for blob in layer.blobs] for layer in deploy.layers if layer.blobs}
    assert deploy.infer_shapes(data=(1, 3, SIDE, SIDE))["fc8_interp"] == (1, 5, SIDE, SIDE)
    released = proto.read_net(prototxt_path(method.recipe, "train"), variables(EXP, 5))
    assert {x.name for x in released.layer} | {"pool5a"} == {x.name for x in param.layer}
    if method.key == "bbox_em_fixed":
        bias = next(x for x in param.layer if x.name == "fc8_biased").bias_channel_param
        assert (bias.bg_bias, bias.fg_bias) == (3, 5)
    if method.key == "em_adapt":
        bias = next(x for x in param.layer if x.name == "fc8_biased").adaptive_bias_channel_param
        assert (bias.bg_portion, bias.fg_portion) == pytest.approx((0.3, 0.1))


def test_scaled_to_the_data(ran: Path) -> None:
    net = Net(training_net(BODY, ran / "work", "train_strong", TINY), None, "TRAIN", seed=1)
    fill_start(net)
    for name in ("conv1_1", "conv4_2", "fc6"):
        layer = net.by_name[name]
        out = layer.forward(net.forward(blobs=[layer.param.bottom[0]])[layer.param.bottom[0]])[0]
        assert out.std().item() == pytest.approx(1, abs=0.5)
