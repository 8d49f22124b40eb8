"""Every network and recipe takes a training step, as the run script would: narrow, on tiny images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver import Solver
from deeplab_caffe.zoo.paths import NETWORKS, prototxt_path
from tests.zoo import FIRST_BASES as BASES
from tests.zoo.exper import enter_exper

NARROWER = 32
VARIABLES = {
    "EXP": "voc12",
    "NET_ID": "net",
    "TRAIN_SET": "train_aug",
    "TRAIN_SET_STRONG": "train_aug",
    "TRAIN_SET_WEAK": "weak",
    "NUM_LABELS": "4",
    "BG_BIAS": "1",
    "FG_BIAS": "2",
}
WITH_OWN_TRAINING = [name for name in (*NETWORKS, *BASES) if prototxt_path(name, "train").parent.name == name]


@pytest.fixture
def exper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the run script works in, with two lists of two images of three classes each."""
    return enter_exper(tmp_path, monkeypatch, height=30, lists=["train_aug", "weak"])


def reduced(name: str, data_root: Path) -> caffe_pb2.NetParameter:
    """The recipe with a 32nd of the filters, crops of 4 x 4 scores and an edge, and batches of 2."""
    param = proto.read_net(prototxt_path(name, "train"), VARIABLES | {"DATA_ROOT": str(data_root)})
    for layer in param.layer:
        if layer.type == "ImageSegData":
            layer.image_data_param.batch_size = 2
            # The 4x4 network's fc6 has its taps 4 places from the centre: it needs 9 of them.
            layer.transform_param.crop_size = {"deeplab": 34, "deeplab_4x4": 65}.get(name, 33)
        conv = layer.convolution_param
        if conv.num_output > 4:
            conv.num_output //= NARROWER
        if layer.type == "Convolution":
            # Most layers have no filler, as VGG's weights are to come; the biases keep so narrow a net's ReLUs alive.
            conv.weight_filler.CopyFrom(caffe_pb2.FillerParameter(type="xavier"))
            conv.bias_filler.CopyFrom(caffe_pb2.FillerParameter(type="constant", value=0.2))
    return param


@pytest.mark.parametrize("name", WITH_OWN_TRAINING)
def test_a_training_step_moves_what_has_a_rate(name: str, exper: Path) -> None:
    param = reduced(name, exper.parent)
    filled = exper / "voc12" / "config" / "net"
    filled.mkdir(parents=True)
    (filled / "train_train_aug.prototxt").write_text(proto.format_message(param))
    config = proto.read_solver(prototxt_path(name, "solver"), VARIABLES)
    config.snapshot = 0
    config.snapshot_after_train = False
    config.base_lr = 0.1  # One step of the recipes' 0.001 is less than float32 can add to some weights.
    solver = Solver(config, device="cpu", default_seed=1)
    before = {key: value.detach().clone() for key, value in solver.net.named_parameters()}

    found = solver.net.forward(blobs=list(solver.net.losses))
    assert torch.isfinite(solver.net.loss(found))
    solver.step(2)

    moved = 0
    for layer in solver.net.layers:
        for blob, rate in zip(layer.blobs, [spec.lr_mult for spec in layer.param.param], strict=True):
            key = next(key for key, value in solver.net.named_parameters() if value is blob)
            assert torch.isfinite(blob).all()
            same = torch.equal(blob.detach(), before[key])
            assert same or rate > 0
            moved += not same
    # All of LargeFOV's 16 layers; of the MSc networks the scores and their five branches.
    assert moved >= 2 * 12


@pytest.mark.parametrize(
    ("name", "losses"),
    [
        ("deeplab_weak_em_adapt", {"(automatic)": 1.0}),
        ("deeplab_bbox_em_fixed", {"(automatic)": 1.0}),
        ("deeplab_semi_bbox_em_fixed", {"loss_strong": 0.5, "loss_bbox": 0.5}),
        ("deeplab_semi_em_fixed", {"loss_strong": 0.5, "loss_weak": 0.5}),
    ],
)
def test_the_loss_takes_the_estimated_labels(name: str, losses: dict[str, float], exper: Path) -> None:
    net = dc.Net(reduced(name, exper.parent), None, "TRAIN", seed=1)
    assert net.losses == losses
    images = 4 if "semi" in name else 2
    weak = 2
    found = net.forward(blobs=["data", "label_estep", *net.losses])
    assert found["data"].shape == (images, 3, 33, 33)
    estimated = found["label_estep"]
    assert estimated.shape == (weak, 1, 5, 5)
    assert set(estimated.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    net.loss(found).backward()
    assert all(layer.weight.grad is not None for layer in net.layers if layer.TYPE == "Convolution")


def test_adapt_only_gives_labels_that_the_image_has(exper: Path) -> None:
    net = dc.Net(reduced("deeplab_weak_em_adapt", exper.parent), None, "TRAIN", seed=1)
    found = net.forward(blobs=["label_weak", "label_estep"])
    for weak, estimated in zip(found["label_weak"], found["label_estep"], strict=True):
        assert set(estimated.unique().tolist()) <= set(weak.flatten().tolist()) - {-1.0}
