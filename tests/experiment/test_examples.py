from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe import proto
from deeplab_caffe.proto.text.templates import fill_template

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "camvid" / "quarter"
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


def test_camvids_solver_writes_where_the_flow_looks() -> None:
    solver = proto.parse_solver(filled("solver"))
    assert solver.train_net == "camvid/config/quarter/train_train.prototxt"
    assert solver.snapshot_prefix == "camvid/model/quarter/train"
    names = [layer.name for layer in proto.parse_net(filled("test")).layer]
    assert names[-1] == "fc8_mat"
