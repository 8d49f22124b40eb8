from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe import proto
from deeplab_caffe.proto.text.templates import fill_template

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "camvid" / "quarter"
ANIMALS = ROOT / "examples" / "voc_animals"
RELEASED = ROOT / "prototxt" / "deeplab_largefov"
VALUES = {
    "EXP": "camvid",
    "NET_ID": "quarter",
    "DATA_ROOT": "/data",
    "NUM_LABELS": "11",
    "TRAIN_SET": "train",
    "TEST_SET": "val",
    "FEATURE_DIR": "camvid/features/quarter",
}


def filled(kind: str) -> str:
    path = FOLDER / f"{kind}.prototxt"
    return fill_template(path.read_text(), VALUES, path)


@pytest.mark.parametrize("kind", ["train", "test"])
def test_camvids_templates_are_the_examples_network(kind: str) -> None:
    net = proto.parse_net(filled(kind))
    example = proto.read_net(FOLDER / "alone" / f"{kind}.prototxt", {"DATA_ROOT": "/data", "SET": "val"})
    learned = [[layer for layer in one.layer if layer.HasField("convolution_param")] for one in (net, example)]
    assert len(learned[0]) == 16
    assert learned[0] == learned[1]


def test_class_weights_of_classes_that_do_not_occur(tmp_path: Path) -> None:
    program = runpy.run_path(str(ROOT / "examples" / "camvid" / "class_weights.py"))
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.txt").write_text("/a.png /a_labels.png\n")
    labels = np.array([[0] * 4, [0] * 4, [3, 3, 3, 3], [5, 255, 255, 255]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "a_labels.png")
    weights = program["class_weights"](tmp_path)
    # 8, 4 and 1 of 13 pixels: the median is 4 / 13.
    expected = np.full(11, 3.0)
    expected[[0, 3, 5]] = np.sqrt([0.5, 1, 4])
    np.testing.assert_allclose(weights, expected / (expected[[0, 3, 5]] @ [8, 4, 1] / 13))
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "a_labels.png")
    with pytest.raises(SystemExit, match="train.txt: no label map has a pixel of the classes 0 to 10"):
        program["class_weights"](tmp_path)


def test_camvids_solver_writes_where_the_flow_looks() -> None:
    solver = proto.parse_solver(filled("solver"))
    assert solver.train_net == "camvid/config/quarter/train_train.prototxt"
    assert solver.snapshot_prefix == "camvid/model/quarter/train"
    names = [layer.name for layer in proto.parse_net(filled("test")).layer]
    assert names[-1] == "fc8_mat"


def test_the_animals_network_is_the_released_one_without_its_crf() -> None:
    assert (ANIMALS / "largefov" / "train.prototxt").read_text() == (RELEASED / "train.prototxt").read_text()
    values = VALUES | {"EXP": "voc12", "NUM_LABELS": "21"}
    paths = [folder / "test.prototxt" for folder in (ANIMALS / "largefov", RELEASED)]
    ours, released = (proto.parse_net(fill_template(path.read_text(), values, path)).layer for path in paths)
    assert list(ours) == [layer for layer in released if layer.name not in ("crf", "crf_mat")]


def test_camvids_larger_network_is_that_of_prototxt() -> None:
    """Its layers between data and scores, and its solver's and weights' paths."""
    folder, net_of = ROOT / "examples" / "camvid" / "os8", ROOT / "prototxt" / "deeplab_v3_lite0_os8"
    for kind in ("train", "test"):
        paths = [one / f"{kind}.prototxt" for one in (folder, net_of)]
        ours, theirs = (proto.parse_net(fill_template(path.read_text(), VALUES, path)).layer for path in paths)
        names = [layer.name for layer in ours]
        assert names[names.index("fc1_camvid") + 1] == "fc1_interp"
        assert ours[1 : names.index("fc1_interp")] == theirs[1 : names.index("fc1_interp")]
        if kind == "train":
            assert ours[-2].infogain_loss_param.source == "camvid/list/weights.binaryproto"
        else:
            assert names[-1] == "fc1_mat"
    assert np.count_nonzero(proto.read_blob(folder / "weights.binaryproto").data) == 11
    solver = proto.parse_solver(fill_template((folder / "solver.prototxt").read_text(), VALUES, folder))
    assert solver.snapshot_prefix == "camvid/model/quarter/train"


@pytest.mark.parametrize("file", ["largefov/solver", "largefov/solver_step", "lite0/solver"])
def test_the_animals_solvers_write_where_the_flow_looks(file: str) -> None:
    path, name = ANIMALS / f"{file}.prototxt", file.partition("/")[0]
    solver = proto.parse_solver(fill_template(path.read_text(), VALUES | {"EXP": "voc12", "NET_ID": name}, path))
    assert solver.train_net == f"voc12/config/{name}/train_train.prototxt"
    assert solver.snapshot_prefix == f"voc12/model/{name}/train"


def test_the_animals_lists_hold_no_picture_twice() -> None:
    search, reported = ((ANIMALS / f"{name}.txt").read_text().splitlines() for name in ("search", "val_quarter"))
    assert (len(set(search)), len(set(reported))) == (100, 112)
    assert not set(search) & set(reported)
