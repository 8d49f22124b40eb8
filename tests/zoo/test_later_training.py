"""The networks of DeepLab v2 and after it take a training step: narrow, on tiny images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeplab_caffe import proto
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.solver import Solver
from deeplab_caffe.zoo.paths import prototxt_path
from tests.zoo.exper import enter_exper
from tests.zoo.test_later_networks import RECIPES, THREE_SCALES

NARROWER = 32


@pytest.fixture
def exper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the run script works in, with a list of two images of three classes each."""
    return enter_exper(tmp_path, monkeypatch, height=36, lists=["train_aug"])


def reduced(name: str, variables: dict[str, str]) -> caffe_pb2.NetParameter:
    """The train net with a 32nd of the filters, crops of 33, batches of 1, and weights to begin with."""
    param = proto.read_net(prototxt_path(name, "train"), variables)
    for layer in param.layer:
        if layer.type == "ImageSegData":
            layer.image_data_param.batch_size = 1
            layer.transform_param.crop_size = 33
        conv = layer.convolution_param
        if conv.num_output > 4:
            conv.num_output //= NARROWER
        if layer.type == "Convolution":
            conv.weight_filler.CopyFrom(caffe_pb2.FillerParameter(type="msra"))
            if conv.bias_term:
                conv.bias_filler.CopyFrom(caffe_pb2.FillerParameter(type="constant", value=0.2))
        if layer.type == "Scale":
            # Blocks that add little to what they are given.
            layer.scale_param.filler.CopyFrom(caffe_pb2.FillerParameter(type="constant", value=0.5))
    return param


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_step_moves_what_has_a_rate(name: str, exper: Path) -> None:
    values = {"EXP": "voc12", "NET_ID": "net", "TRAIN_SET": "train_aug", "NUM_LABELS": "4"}
    values["DATA_ROOT"] = str(exper.parent)
    filled = exper / "voc12" / "config" / "net"
    filled.mkdir(parents=True)
    (filled / "train_train_aug.prototxt").write_text(proto.format_message(reduced(name, values)))
    config = proto.read_solver(prototxt_path(name, "solver"), values)
    config.snapshot = 0
    config.snapshot_after_train = False
    config.iter_size = 2
    config.base_lr = 0.01
    solver = Solver(config, device="cpu", default_seed=1)
    norms = [layer for layer in solver.net.layers if layer.TYPE == "BatchNorm"]
    for layer in norms:
        layer.blobs[1].data.fill_(1)
        layer.blobs[2].data.fill_(1)
    before = {key: value.detach().clone() for key, value in solver.net.named_parameters()}
    solver.step(1)

    owners = {id(value): key for key, value in solver.net.named_parameters()}
    still = set()
    for layer in solver.net.layers:
        for blob, spec in zip(layer.blobs, layer.param.param, strict=True):
            assert torch.isfinite(blob).all()
            same = torch.equal(blob.detach(), before[owners[id(blob)]])
            assert same or spec.lr_mult > 0
            if same and spec.lr_mult > 0:
                still.add(owners[id(blob)])
    # All convolutions of a full net learn; in one so narrow a few may be cut off by dead units.
    assert len(still) <= len(before) // 10
    losses = 4 if name in THREE_SCALES else 1
    assert len(solver.net.losses) == losses
