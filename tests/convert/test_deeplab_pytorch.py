"""kazuto1011's deeplab-pytorch: its DeepLab v2 as ours, against a plain implementation of it."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import deeplab_caffe as dc
from deeplab_caffe.convert import convert, image_part, initial_model, tensors_of
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.proto import CaffeModel
from deeplab_caffe.zoo.paths import prototxt_path
from tests.nets import SMALL, build

VARIABLES = {"EXP": "voc12", "NET_ID": "n", "DATA_ROOT": "", "TRAIN_SET": "t", "NUM_LABELS": "21"}
# Layers 2 to 5: blocks, channels, stride, dilation.
LAYERS = ((3, 256, 1, 1), (4, 512, 2, 1), (23, 1024, 1, 2), (3, 2048, 1, 4))
ATROUS = (6, 12, 18, 24)


@cache
def state() -> dict[str, Tensor]:
    """A state_dict of its names and shapes, numbers of about the real ones' sizes."""
    numbers = torch.Generator().manual_seed(3)
    made: dict[str, Tensor] = {}

    def unit(name: str, out: int, channels: int, kernel: int, gain: float = 1) -> None:
        weight = torch.randn(out, channels, kernel, kernel, generator=numbers)
        made[f"base.{name}.conv.weight"] = weight.mul_(math.sqrt(2 / (channels * kernel**2)))
        for role, low, high in (
            *(("weight", 0.5 * gain, gain), ("bias", -0.3, 0.3)),
            *(("running_mean", -0.3, 0.3), ("running_var", 0.3, 2)),
        ):
            made[f"base.{name}.bn.{role}"] = torch.empty(out).uniform_(low, high, generator=numbers)
        made[f"base.{name}.bn.num_batches_tracked"] = torch.tensor(0)

    unit("layer1.conv1", 64, 3, 7, 0.02)
    channels = 64
    for layer, (blocks, out, _, _) in enumerate(LAYERS, 2):
        for block in range(1, blocks + 1):
            stem = f"layer{layer}.block{block}"
            unit(f"{stem}.reduce", out // 4, channels, 1)
            unit(f"{stem}.conv3x3", out // 4, out // 4, 3)
            unit(f"{stem}.increase", out, out // 4, 1, 0.2)
            if block == 1:
                unit(f"{stem}.shortcut", out, channels, 1)
            channels = out
    for i in range(4):
        made[f"base.aspp.c{i}.weight"] = torch.randn(21, 2048, 3, 3, generator=numbers) * 0.01
        made[f"base.aspp.c{i}.bias"] = torch.randn(21, generator=numbers)
    return made


def scores_of(x: Tensor) -> Tensor:
    """One tower: B, G, R minus the mean (N, 3, H, W) to scores (N, 21, h, w)."""
    own = state()

    def unit(x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = own[f"base.{name}.conv.weight"]
        padding = weight.shape[-1] // 2 * dilation
        norm = [own[f"base.{name}.bn.{role}"] for role in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(F.conv2d(x, weight, None, stride, padding, dilation), *norm, eps=1e-5)

    x = F.max_pool2d(unit(x, "layer1.conv1", 2).relu(), 3, 2, 1, ceil_mode=True)
    for layer, (blocks, _, stride, dilation) in enumerate(LAYERS, 2):
        for block in range(1, blocks + 1):
            stem, step = f"layer{layer}.block{block}", stride if block == 1 else 1
            inner = unit(unit(x, f"{stem}.reduce", step).relu(), f"{stem}.conv3x3", 1, dilation).relu()
            past = unit(x, f"{stem}.shortcut", step) if block == 1 else x
            x = (unit(inner, f"{stem}.increase") + past).relu()
    heads = [(own[f"base.aspp.c{i}.weight"], own[f"base.aspp.c{i}.bias"], rate) for i, rate in enumerate(ATROUS)]
    return torch.stack([F.conv2d(x, w, b, padding=rate, dilation=rate) for w, b, rate in heads]).sum(0)


def aligned(x: Tensor, size: int) -> Tensor:
    """Caffe's Interp: corners on corners."""
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=True)


@pytest.fixture(scope="module")
def pth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pth") / "deeplabv2_resnet101_msc-vocaug-20000.pth"
    torch.save(state(), path)
    return path


@torch.no_grad()
def test_all_three_towers(pth: Path, run) -> None:
    deploy, out = prototxt_path("deeplab_aspp_resnet101"), pth.parent / "v2.caffemodel"
    outcome = run("convert", pth, "--model", deploy, "--out", out)
    assert outcome.status == 0, outcome.err
    net = dc.Net(deploy, out)
    image = 100 * torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(1))
    blobs = [f"fc1_voc12{suffix}" for suffix in ("", "_res075", "_res05")]
    tops = net(image, blobs=[*blobs, "fc_fusion"])
    expected = [scores_of(aligned(image, size)) for size in (65, 49, 33)]
    for name, scores in zip(blobs, expected, strict=True):
        torch.testing.assert_close(tops[name], scores, rtol=1e-4, atol=1e-4 * float(scores.abs().max()))
    largest = torch.stack([aligned(scores, 9) for scores in expected]).amax(0)
    torch.testing.assert_close(tops["fc_fusion"], largest, rtol=1e-4, atol=1e-4 * float(largest.abs().max()))
    # The numbers themselves are unchanged, and in the file for each tower, as Caffe has it.
    stored = {layer.name: layer.blobs for layer in CaffeModel(out).layers}
    for name in ("bn4b22_branch2c", "bn4b22_branch2c_res05"):
        mean, variance, factor = (torch.from_numpy(blob.data.copy()) for blob in stored[name])
        assert torch.equal(mean.flatten(), state()["base.layer4.block23.increase.bn.running_mean"])
        assert torch.equal(variance.flatten(), state()["base.layer4.block23.increase.bn.running_var"])
        assert factor.tolist() == [1]


def test_initial_model(pth: Path, run) -> None:
    out = pth.parent / "init.caffemodel"
    outcome = run("convert", pth, "--init-for", "deeplab_aspp_resnet101", "--out", out)
    assert outcome.status == 0, outcome.err
    assert "deeplab-pytorch's ResNet-101" in outcome.out
    assert "conv1: from base.layer1.conv1.conv, (64, 3, 7, 7)\n" in outcome.out
    assert "fc1_voc12_c0: the net's fillers, weight filler gaussian 0.01" in outcome.out
    assert "not used: base.aspp.c0, base.aspp.c1, base.aspp.c2, base.aspp.c3" in outcome.out
    stored = {layer.name: layer.blobs for layer in CaffeModel(out).layers}
    found = torch.from_numpy(stored["res2a_branch1"][0].data.copy()).view(256, 64, 1, 1)
    assert torch.equal(found, state()["base.layer2.block1.shortcut.conv.weight"])
    assert "fc1_voc12_c0" not in stored


def test_another_net_that_strides_elsewhere(pth: Path) -> None:
    net = image_part(prototxt_path("deeplab_v3_resnet101", "train"), VARIABLES)
    lines = initial_model(pth, net).lines
    assert lines[-1].startswith("deeplab-pytorch's networks stride in branch2a, this net in branch2b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("base.layer3.block4.increase.bn.bias"), "has no 'base.layer3.block4.increase.bn.bias'$"),
        (lambda s: s.update({"base.fc.weight": torch.zeros(1)}), "has 'base.fc.weight', which it has not"),
        (lambda s: s.update({"base.aspp.c1.bias": torch.zeros(21, dtype=torch.int64)}), "needs plain float32 numbers"),
        (
            lambda s: s.update({"base.aspp.c1.weight": torch.zeros(182, 2048, 3, 3)}),
            r"'fc1_voc12_c1.weight' needs shape \(21, 2048, 3, 3\), got \(182",
        ),
    ],
)
def test_files_that_do_not_fit(change, message: str, pth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = dict(state())
    change(changed)
    monkeypatch.setattr("deeplab_caffe.convert.read_tensors", lambda _: changed)
    with torch.device("meta"):
        net = dc.Net(prototxt_path("deeplab_aspp_resnet101"))
    with pytest.raises(ConversionError, match=f"20000.pth: .*{message}"):
        convert(pth, net, pth.parent / "out.caffemodel")
    assert not (pth.parent / "out.caffemodel").exists()


def test_another_net(pth: Path) -> None:
    net = build(SMALL)
    before = {name: values.clone() for name, values in tensors_of(net).items()}
    with pytest.raises(
        ConversionError, match=r"has no layers fc1_..._c0 to fc1_..._c3: give the prototxt of deeplab_asp"
    ):
        convert(pth, net, pth.parent / "out.caffemodel")
    assert all(torch.equal(values, before[name]) for name, values in tensors_of(net).items())
