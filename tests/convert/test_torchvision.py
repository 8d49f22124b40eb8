"""DeepLab v3 with torchvision's weights against torchvision itself, with random ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.convert import convert, load_tensors, tensors_of
from deeplab_caffe.convert.torchvision import to_caffe
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.proto import CaffeModel
from deeplab_caffe.zoo.paths import prototxt_path
from tests.torchvision_models import normalised, torchvisions

# Their largest differences are where the scores change: relative to what the scores are apart from their mean.
TOLERANCE = 1e-5


@cache
def model(depth: int = 50) -> nn.Module:
    return torchvisions(depth)


@cache
def net(depth: int = 50) -> dc.Net:
    found = dc.Net(prototxt_path(f"deeplab_v3_resnet{depth}"))
    load_tensors(found, to_caffe(model(depth).state_dict(), found, "x.pth"))
    return found


@cache
def optimized(depth: int = 50) -> dc.inference.OptimizedNet:
    return net(depth).optimize(size=65)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    patches = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.ascontiguousarray(patches.repeat(8, 0).repeat(8, 1)[:height, :width])


def blob_of(image: np.ndarray, found: dc.Net) -> Tensor:
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() - torch.tensor(
        found.mean_value
    ).view(1, 3, 1, 1)


def error(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / (expected - expected.mean((2, 3), keepdim=True)).norm())


def layer(found: dc.Net, name: str) -> dict[str, Tensor]:
    return {role: blob.detach() for role, blob in found.by_name[name].named_blobs.items()}


@pytest.mark.parametrize(
    ("depth", "size"), [(50, (65, 65)), (50, (72, 97)), (50, (70, 64)), (50, (33, 90)), (101, (66, 65))]
)
@torch.no_grad()
def test_scores_and_labels_are_torchvisions(depth: int, size: tuple[int, int]) -> None:
    image = photo(*size)
    expected = model(depth)(normalised(torch.from_numpy(image)[None]))["out"]
    blob = blob_of(image, net(depth))
    assert error(net(depth)(blob), expected) < TOLERANCE
    assert error(optimized(depth)(blob), expected) < TOLERANCE
    labels = expected[0].argmax(0).numpy()
    assert len(np.unique(labels)) > 1
    np.testing.assert_array_equal(dc.Segmenter(net(depth))(image), labels)
    # Of pixels whose two best scores are one float apart, as random weights make some, nobody knows the label.
    best, second = expected[0].topk(2, dim=0).values
    apart = (best - second > 2e-7).numpy()
    assert apart.mean() > 0.999
    np.testing.assert_array_equal(dc.Segmenter(optimized(depth))(image)[apart], labels[apart])
    for seg in (dc.Segmenter(net(depth)), dc.Segmenter(optimized(depth))):
        assert error(torch.from_numpy(seg.segment(image).scores)[None], expected) < TOLERANCE


def test_the_command_line_end_to_end(run, tmp_path: Path) -> None:
    torch.save(model().state_dict(), tmp_path / "deeplabv3_resnet50_coco.pth")
    deploy = prototxt_path("deeplab_v3_resnet50")
    outcome = run(
        "convert", tmp_path / "deeplabv3_resnet50_coco.pth", "--model", deploy, "--out", tmp_path / "v3.caffemodel"
    )
    assert outcome.status == 0, outcome.err
    blobs = {one.name: one.blobs for one in CaffeModel(tmp_path / "v3.caffemodel").layers}
    assert blobs["bn_conv1"][2].data.tolist() == [1]
    image = photo(40, 51)
    dc.data.save_image(tmp_path / "photo.png", image)
    outcome = run(
        *("segment", tmp_path / "photo.png", "--model", deploy, "--weights", tmp_path / "v3.caffemodel"),
        *("--out", tmp_path / "out"),
    )
    assert outcome.status == 0, outcome.err
    with torch.no_grad():
        expected = model()(normalised(torch.from_numpy(image)[None]))["out"][0].argmax(0)
    labels = dc.data.load_label(tmp_path / "out" / "photo_labels.png")
    np.testing.assert_array_equal(labels, expected.numpy())


def test_rules() -> None:
    state, found = model().state_dict(), net()
    weight = state["backbone.conv1.weight"].double()
    blue = weight[:, 2] / (255 * 0.225)
    torch.testing.assert_close(layer(found, "conv1")["weight"][:, 0], blue.float(), rtol=1e-7, atol=0)
    assert found.mean_value == tuple(torch.tensor([103.53, 116.28, 123.675]).tolist())
    for torchs, norm in (
        ("backbone.bn1", "_conv1"),
        ("backbone.layer3.1.bn2", "4b_branch2b"),
        ("classifier.2", "_head"),
    ):
        stored, affine = layer(found, f"bn{norm}"), layer(found, f"scale{norm}")
        assert torch.equal(stored["mean"], state[f"{torchs}.running_mean"])
        assert torch.equal(stored["variance"], state[f"{torchs}.running_var"])
        assert stored["factor"].tolist() == [1]
        assert torch.equal(affine["weight"], state[f"{torchs}.weight"])
        assert torch.equal(affine["bias"], state[f"{torchs}.bias"])
    assert torch.equal(layer(found, "res3a_branch1")["weight"], state["backbone.layer2.0.downsample.0.weight"])
    assert torch.equal(layer(found, "aspp_24")["weight"], state["classifier.0.convs.2.0.weight"])
    assert torch.equal(layer(found, "fc1_voc12")["bias"], state["classifier.4.bias"])


def training_net(phase: str = "TEST", batch: int = 1) -> dc.Net:
    """The train net with inputs in place of its data layer."""
    values = {"EXP": "voc12", "NET_ID": "n", "DATA_ROOT": "/", "TRAIN_SET": "t", "NUM_LABELS": "21"}
    text = proto.read_net(prototxt_path("deeplab_v3_resnet50", "train"), values)
    for name, channels in (("data", 3), ("label", 1)):
        text.input.append(name)
        text.input_shape.add(dim=[batch, channels, 65, 73])
    del text.layer[0]
    return dc.Net(text, None, phase, seed=1)


@torch.no_grad()
def test_the_aux_head_and_the_sums_of_training() -> None:
    found = training_net()
    learned = [blob for layer in found.layers for blob in layer.blobs if layer.TYPE != "BatchNorm"]
    assert sum(blob.numel() for blob in learned) == 42_004_074
    load_tensors(found, to_caffe(model().state_dict(), found, "x.pth"))
    stored, mean = layer(found, "bn_aux"), model().state_dict()["aux_classifier.1.running_mean"]
    assert stored["factor"].tolist() == [pytest.approx(10)]
    torch.testing.assert_close(stored["mean"] / stored["factor"], mean)
    image = photo(65, 73)
    label = torch.randint(0, 22, (1, 65, 73), generator=torch.Generator().manual_seed(1))
    label[label == 21] = 255
    scores = model()(normalised(torch.from_numpy(image)[None]))
    tops = found(blob_of(image, found), label[:, None].float())
    for top, name in (("loss", "out"), ("loss_aux", "aux")):
        expected = F.cross_entropy(scores[name], label, ignore_index=255)
        assert float(tops[top]) == pytest.approx(float(expected), rel=1e-5)
    assert [weight for step in found.steps for weight in step.loss_weights if weight] == [1, 0.5]


def test_training_goes_on_as_torchs() -> None:
    found, torchs = training_net("TRAIN", 2), torchvisions(50)
    load_tensors(found, to_caffe(torchs.state_dict(), found, "x.pth"))
    images = np.stack([photo(65, 73, seed) for seed in (1, 2)])
    blob = torch.cat([blob_of(image, net()) for image in images])
    tops = found(blob, torch.zeros(2, 1, 65, 73))
    (tops["loss"] + 0.5 * tops["loss_aux"]).backward()
    assert all(blob.grad is not None for blob in found.parameters() if blob.requires_grad)
    before = torchs.backbone.bn1.running_mean.clone()
    with torch.no_grad():
        torchs.train()(normalised(torch.from_numpy(images)))
    for own, norm in (("bn_conv1", torchs.backbone.bn1), ("bn3a_branch2b", torchs.backbone.layer2[0].bn2)):
        mean, variance = found.by_name[own].statistics()
        torch.testing.assert_close(mean, norm.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(variance, norm.running_var, rtol=1e-4, atol=1e-5)
    assert (torchs.backbone.bn1.running_mean - before).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("backbone.layer3.1.bn2.running_var"), "has no 'backbone.layer3.1.bn2.running_var'$"),
        (lambda state: state.pop("classifier.4.bias"), "has no 'classifier.4.bias'"),
        (lambda state: state.update({"backbone.fc.weight": torch.zeros(1)}), "has 'backbone.fc.weight', which it has"),
        (
            lambda state: state.update({"backbone.layer3.6.conv1.weight": torch.zeros(1)}),
            "has no 'backbone.layer3.6.bn",
        ),
        (
            lambda state: state.update({"classifier.4.weight": torch.zeros(2, 256, 1, 1)}),
            "'fc1_voc12.weight' needs sha",
        ),
        (lambda state: state.update({"backbone.conv1.weight": torch.zeros(64, 1, 7, 7)}), "'conv1.weight' needs shape"),
        (
            lambda state: state.update({"backbone.bn1.bias": torch.zeros(64, dtype=torch.int64)}),
            "needs plain float32",
        ),
    ],
)
def test_files_that_do_not_fit(change, message: str) -> None:
    state, found = dict(model().state_dict()), net()
    change(state)
    before = {name: blob.clone() for name, blob in tensors_of(found).items()}
    with pytest.raises(ConversionError, match=f"x.pth: .*{message}"):
        load_tensors(found, to_caffe(state, found, "x.pth"), "x.pth")
    assert all(torch.equal(blob, before[name]) for name, blob in tensors_of(found).items())


def test_nets_that_do_not_fit(tmp_path: Path) -> None:
    torch.save(model().state_dict(), tmp_path / "x.pth")
    with torch.device("meta"):
        larger = dc.Net(prototxt_path("deeplab_v3_resnet101"))
        other = dc.Net(prototxt_path("deeplab_largefov"))
    with pytest.raises(
        ConversionError, match=r"x.pth: has no 'res3b1_branch2a.weight'.* of net 'deeplab_v3_resnet101'"
    ):
        convert(tmp_path / "x.pth", larger, tmp_path / "out.caffemodel")
    with pytest.raises(ConversionError, match=r"but net '\w+' has no layer fc1_...: give the prototxt of deeplab_v3"):
        convert(tmp_path / "x.pth", other, tmp_path / "out.caffemodel")
