"""Initial models of VGG-16 and ResNet as others store them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.convert import image_part, initial_model, tensors_of, unit_outputs
from deeplab_caffe.convert.decimate import decimate
from deeplab_caffe.convert.sources.vgg16 import CONVS, WIDTHS
from deeplab_caffe.convert.torchvision import to_caffe
from deeplab_caffe.errors import CaffeModelError, ConversionError, NetError
from deeplab_caffe.proto import CaffeModel, caffe_pb2, write_caffemodel
from deeplab_caffe.zoo.paths import BASES, LATER_NETWORKS, NETWORKS, OWN_NETWORKS, prototxt_path
from tests.nets import build, conv, inputs, noise, relu
from tests.torchvision_models import torchvisions

VALUES = {"EXP": "voc12", "NET_ID": "n", "DATA_ROOT": "", "TRAIN_SET": "t", "NUM_LABELS": "21"}
VALUES |= {"TRAIN_SET_STRONG": "t", "TRAIN_SET_WEAK": "t", "BG_BIAS": "0", "FG_BIAS": "0"}
PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
PLACES_BN = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40)
# A thin one; fc6 reads 512 channels, as its sources have it.
THIN = (*[4] * 12, 512)
TORCH_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
TORCH_STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def thin_vgg(fc6: str = "kernel_size: 3 pad: 12 hole: 12 num_output: 2", fc7: int = 2, mean: float = 0) -> dc.Net:
    """A VGG-16 without pooling; fc6 and fc7 as small as they may be."""
    text, bottom = inputs(data=(1, 3, 17, 19)), "data"
    for name, width in zip(CONVS, THIN, strict=True):
        text += conv(name, bottom, out=width) + relu(f"relu_{name}", name)
        bottom = name
    text += f'layers {{ name: "fc6" type: CONVOLUTION bottom: "{bottom}" top: "fc6" convolution_param {{ {fc6} }} }}'
    text += conv("fc7", "fc6", out=fc7, kernel=1) + conv("fc8_voc12", "fc7", out=3, kernel=1)
    parsed = proto.parse_net(text)
    parsed.mean_value.extend([mean] * 3)
    return dc.Net(parsed, seed=1)


def thin_state() -> dict[str, Tensor]:
    """torchvision's names for that: fc6 of 8 filters and 7x7, fc7 of 8."""
    state, channels = {}, 3
    for place, width in zip(PLACES, THIN, strict=True):
        state[f"features.{place}.weight"] = noise(width, channels, 3, 3, seed=place) / 3
        state[f"features.{place}.bias"] = noise(width, seed=place + 100)
        channels = width
    state |= {"classifier.0.weight": noise(8, 512 * 7 * 7, seed=1), "classifier.0.bias": torch.arange(8.0)}
    state |= {"classifier.3.weight": noise(8, 8, seed=2), "classifier.3.bias": torch.arange(8.0)}
    return state | {"classifier.6.weight": noise(5, 8), "classifier.6.bias": noise(5)}


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save(state, folder / "x.pth")
    return folder / "x.pth"


def weight(net: dc.Net, name: str, role: str = "weight") -> Tensor:
    return net.by_name[name].named_blobs[role].detach()


def test_decimation_by_hand() -> None:
    fc6 = torch.arange(2 * 1 * 7 * 7.0).view(2, 1, 7, 7)
    found = decimate(fc6, (1, 1, 3, 3))
    assert found is not None
    # Rows 0, 3, 6 and columns 0, 3, 6 of the first filter.
    assert found.values.tolist() == [[[[0, 3, 6], [21, 24, 27], [42, 45, 48]]]]
    assert found.note == "kept 1 of 2 filters, rows 0 3 6, columns 0 3 6"
    found = decimate(fc6, (2, 1, 4, 4))
    assert found is not None
    assert found.values[0, 0, 1].tolist() == [14, 16, 18, 20]
    # One of an odd number is the middle one; an even number has none.
    found = decimate(fc6, (2, 1, 1, 1))
    assert found is not None
    assert found.values.flatten().tolist() == [24, 49 + 24]
    assert found.note == "kept rows 3, columns 3"
    assert decimate(torch.zeros(1, 1, 6, 7), (1, 1, 1, 1)) is None
    fc7 = torch.arange(16.0).view(4, 4, 1, 1)
    found = decimate(fc7, (2, 2, 1, 1))
    assert found is not None
    assert found.values.flatten().tolist() == [0, 2, 8, 10]
    bias = decimate(torch.arange(4.0), (2,))
    assert bias is not None
    assert bias.values.tolist() == [0, 2]
    assert decimate(fc6, (2, 1, 5, 5)) is None
    assert decimate(fc7, (3, 4, 1, 1)) is None
    assert decimate(fc7, (4, 4)) is None


def test_torchvisions_vgg16(tmp_path: Path) -> None:
    state, net = thin_state(), thin_vgg()
    initial = initial_model(saved(state, tmp_path), net)
    assert initial.source == "torchvision's VGG-16"
    assert torch.equal(weight(net, "conv3_2"), state["features.12.weight"])
    assert torch.equal(weight(net, "conv5_3", "bias"), state["features.28.bias"])
    assert torch.equal(weight(net, "fc6"), state["classifier.0.weight"].view(8, 512, 7, 7)[::4, :, ::3, ::3])
    assert torch.equal(weight(net, "fc7"), state["classifier.3.weight"][::4, ::4, None, None])
    assert weight(net, "fc6", "bias").tolist() == weight(net, "fc7", "bias").tolist() == [0, 4]
    lines = "\n".join(initial.lines)
    assert "conv1_2: from features.2, (4, 4, 3, 3)\n" in lines
    assert "conv1_1: from features.0, (4, 3, 3, 3); R, G, B to B, G, R; divided by the standard deviations" in lines
    assert (
        "the source subtracts 103.53, 116.28, 123.675, the net 0, 0, 0 (B, G, R); the difference is in its bias"
        in lines
    )
    assert (
        "fc6: from classifier.0, (8, 25088) to (2, 512, 3, 3); kept 1 of 4 filters, rows 0 3 6, columns 0 3 6" in lines
    )
    assert "fc8_voc12: the net's fillers, weight filler gaussian 0.3, bias filler uniform" in lines
    assert "not used: classifier.6" in lines
    image = torch.rand(1, 3, 17, 19, generator=torch.Generator().manual_seed(1)) * 255
    with torch.no_grad():
        found = net(image.flip(1), blobs=["conv1_1"])["conv1_1"]
    normalised = (image / 255 - TORCH_MEAN) / TORCH_STD
    expected = F.conv2d(normalised, state["features.0.weight"], state["features.0.bias"], padding=1).relu()
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)
    # The net's padding is its own mean, as said.
    assert (found - expected).abs().max() > 1e-2


def with_norms(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's names for that with a BatchNorm behind each convolution."""
    made = {name: value for name, value in state.items() if name.startswith("classifier.")}
    for place, (number, width) in zip(PLACES_BN, zip(PLACES, THIN, strict=True), strict=True):
        for role in ("weight", "bias"):
            made[f"features.{place}.{role}"] = state[f"features.{number}.{role}"]
            made[f"features.{place + 1}.{role}"] = 1 + noise(width, seed=place + len(role)) / 4
        made[f"features.{place + 1}.running_mean"] = noise(width, seed=place + 50)
        made[f"features.{place + 1}.running_var"] = 0.3 + noise(width, seed=place + 60).abs()
        made[f"features.{place + 1}.num_batches_tracked"] = torch.tensor(7)
    return made


def test_torchvisions_vgg16_with_batch_norm(tmp_path: Path) -> None:
    state, net = with_norms(thin_state()), thin_vgg()
    initial = initial_model(saved(state, tmp_path), net)
    assert initial.source == "torchvision's VGG-16 with BatchNorm"
    lines = "\n".join(initial.lines)
    assert "conv1_2: from features.3, (4, 4, 3, 3); features.4 folded in\n" in lines
    assert "not used: classifier.6" in initial.lines
    assert torch.equal(weight(net, "fc6"), state["classifier.0.weight"].view(8, 512, 7, 7)[::4, :, ::3, ::3])
    x = torch.rand(1, 3, 17, 19, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        # The second convolution on the first one's output: nothing is lost at the border.
        first = net(x.flip(1) * 255, blobs=["conv1_1", "conv1_2"])
        for place, bottom, found in (
            (0, (x - TORCH_MEAN) / TORCH_STD, first["conv1_1"][..., 1:-1, 1:-1]),
            (3, first["conv1_1"], first["conv1_2"]),
        ):
            norm = [state[f"features.{place + 1}.{role}"] for role in ("running_mean", "running_var", "weight", "bias")]
            own = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
            expected = F.batch_norm(F.conv2d(bottom, *own, padding=1), *norm, eps=1e-5).relu()
            torch.testing.assert_close(found, expected if place else expected[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)
    del state["features.41.running_var"]
    with pytest.raises(ConversionError, match=r"x.pth: holds none of the networks that training can start from"):
        initial_model(saved(state, tmp_path), net)


def test_nothing_but_what_is_known_is_written(tmp_path: Path) -> None:
    net = thin_vgg()
    initial_model(saved(thin_state(), tmp_path), net).save(tmp_path / "init.caffemodel")
    names = [layer.name for layer in CaffeModel(tmp_path / "init.caffemodel").layers]
    assert names == [*CONVS, "fc6", "fc7"]
    with pytest.raises(ConversionError, match="init.xyz: an initial model is written as caffemodel, .* got '.xyz'"):
        initial_model(tmp_path / "x.pth", net).save(tmp_path / "init.xyz")


def test_full_size_fc6_and_the_same_mean(tmp_path: Path) -> None:
    state = thin_state()
    net = thin_vgg("kernel_size: 7 pad: 3 num_output: 8", fc7=8)
    lines = initial_model(saved(state, tmp_path), net).lines
    assert torch.equal(weight(net, "fc6"), state["classifier.0.weight"].view(8, 512, 7, 7))
    assert "fc7: from classifier.3, (8, 8) to (8, 8, 1, 1)" in lines


def test_weights_without_fillers_are_filled_and_written(tmp_path: Path) -> None:
    state = {name: value for name, value in thin_state().items() if name.startswith("features")}
    net = thin_vgg()
    initial = initial_model(saved(state, tmp_path), net, seed=3)
    assert "fc6: msra, seed 3: without a filler it would be 0, and learn nothing" in initial.lines
    assert weight(net, "fc6").std() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.05)
    assert initial.layers == {*CONVS, "fc6"}
    again = thin_vgg()
    initial_model(tmp_path / "x.pth", again, seed=3)
    assert torch.equal(weight(net, "fc6"), weight(again, "fc6"))


def keras_arrays() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Kernels (kh, kw, in, out) and biases of VGG-16's convolutions, by Keras' names."""
    channels = 3
    for i, (name, width) in enumerate(zip(CONVS, WIDTHS, strict=True)):
        kernel = np.zeros((3, 3, channels, width), np.float32)
        kernel[0, 1, 2, 3] = i + 1
        yield f"block{name[4]}_conv{name[6]}", kernel, np.full(width, i, np.float32)
        channels = width


KERAS_LAYOUTS = {
    "keras 1": lambda i, name, role: f"{name}/{name}_{'Wb'[role]}_1:0",
    "keras 2": lambda i, name, role: f"{name}/{name}/{('kernel', 'bias')[role]}:0",
    "keras 2, whole": lambda i, name, role: f"model_weights/{name}/{name}/{('kernel', 'bias')[role]}:0",
    "keras 3": lambda i, name, role: f"layers/conv2d{f'_{i}' if i else ''}/vars/{role}",
}


@pytest.mark.parametrize("layout", KERAS_LAYOUTS)
def test_keras_vgg16(layout: str, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for i, (name, kernel, bias) in enumerate(keras_arrays()):
            for role, values in enumerate((kernel, bias)):
                file[KERAS_LAYOUTS[layout](i, name, role)] = values
    net = image_part(prototxt_path("deeplab_largefov", "train"), VALUES)
    initial = initial_model(tmp_path / "x.h5", net)
    assert initial.source == "Keras' VGG-16"
    for i, name in enumerate(CONVS):
        found = weight(net, name)
        # (kh, kw, in, out) = (0, 1, 2, 3); Keras' pixels are B, G, R already.
        assert found[3, 2, 0, 1] == i + 1
        assert found.count_nonzero() == 1
        if i:
            assert weight(net, name, "bias").unique().tolist() == [i]
    # Keras subtracts 123.68 from R where DeepLab subtracts 122.675.
    assert float(weight(net, "conv1_1", "bias")[3]) == pytest.approx(122.675 - 123.68, rel=1e-4)
    assert initial.lines[0].startswith("conv1_1: from ")
    assert "(3, 3, 3, 64) to (64, 3, 3, 3); the source subtracts 103.939, 116.779, 123.68" in initial.lines[0]


def test_dense_kernels_read_pixels_first() -> None:
    from deeplab_caffe.convert.sources.keras_vgg16 import _dense6, _dense7

    kernel = torch.arange(7 * 7 * 512 * 2.0).view(7, 7, 512, 2)
    assert torch.equal(_dense6(kernel.view(-1, 2))[1, 5, 2, 3], kernel[2, 3, 5, 1])
    assert _dense7(torch.tensor([[1.0, 2], [3, 4]])).flatten().tolist() == [1, 3, 2, 4]


@pytest.mark.parametrize("inner", [True, False])
def test_caffes_vgg16(inner: bool, tmp_path: Path) -> None:
    state = thin_state()
    blobs = {
        name: [state[f"features.{i}.weight"].numpy(), state[f"features.{i}.bias"].numpy().reshape(1, 1, 1, -1)]
        for name, i in zip(CONVS, PLACES, strict=True)
    }
    fc6, fc7 = state["classifier.0.weight"].numpy(), state["classifier.3.weight"].numpy()
    shapes = ((1, 1, 8, -1), (1, 1, 8, 8)) if inner else ((8, 512, 7, 7), (8, 8, 1, 1))
    for name, values, shape in zip(("fc6", "fc7", "fc8"), (fc6, fc7, fc7), (*shapes, (1, 1, 8, 8)), strict=True):
        blobs[name] = [values.reshape(shape), np.arange(8, dtype=np.float32).reshape(1, 1, 1, 8)]
    written = caffe_pb2.NetParameter(name="VGG_ILSVRC_16_layers", dialect="v1")
    for name in blobs:
        written.layer.add(name=name, type="Convolution" if not (inner and name.startswith("fc")) else "InnerProduct")
    write_caffemodel(tmp_path / "x.caffemodel", written, blobs)
    net = thin_vgg()
    initial = initial_model(tmp_path / "x.caffemodel", net)
    assert initial.source == "VGG-16 in Caffe"
    assert torch.equal(weight(net, "conv1_1"), state["features.0.weight"])
    assert torch.equal(weight(net, "fc6"), torch.from_numpy(fc6).view(8, 512, 7, 7)[::4, :, ::3, ::3])
    assert torch.equal(weight(net, "fc7")[..., 0, 0], torch.from_numpy(fc7)[::4, ::4])
    assert initial.lines[-1] == "not used: fc8"


def test_atrous_pyramids_have_fc6_in_every_branch() -> None:
    from deeplab_caffe.convert.sources.vgg16 import copied

    assert [copied(name) for name in ("fc6_1", "fc7_4", "fc6", "fc8_voc12_1", "conv1_1")] == [
        *("fc6", "fc7", "fc6"),
        *("fc8_voc12_1", "conv1_1"),
    ]


def test_torchvisions_resnet_and_deeplab(tmp_path: Path) -> None:
    state = torchvisions(50).state_dict()
    net = image_part(prototxt_path("deeplab_v3_resnet50", "train"), VALUES)
    initial = initial_model(saved(state, tmp_path), net)
    assert initial.source == "torchvision's DeepLab v3 on ResNet-50"
    assert "not used: classifier.4, aux_classifier.4" in initial.lines
    whole = to_caffe(state, net, "x.pth")
    for name, values in tensors_of(net).items():
        assert name.startswith("fc1_") or torch.equal(values, whole[name]), name
    alone = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")} | {
        "fc.weight": torch.zeros(1000, 2048),
        "fc.bias": torch.zeros(1000),
    }
    other = image_part(prototxt_path("deeplab_v3_resnet50", "train"), VALUES)
    initial = initial_model(saved(alone, tmp_path), other)
    assert initial.source == "torchvision's ResNet-50"
    assert torch.equal(weight(other, "res5c_branch2c"), weight(net, "res5c_branch2c"))
    assert "not used: fc" in initial.lines
    assert any(line.startswith("head: the net's fillers") for line in initial.lines)
    other.by_name["bn_conv1"].param.batch_norm_param.eps = 1e-3
    message = "its BatchNorm has eps 1e-05, layer 'bn_conv1' of net 'n' has 0.001: write eps: 1e-05 into the prototxt"
    with pytest.raises(ConversionError, match=message):
        initial_model(tmp_path / "x.pth", other)
    with torch.device("meta"):
        larger = image_part(prototxt_path("deeplab_v3_resnet101", "train"), VALUES)
        vgg = image_part(prototxt_path("deeplab_largefov", "train"), VALUES)
    for wrong, absent in ((larger, "res3b_branch2a"), (vgg, "conv1")):
        with pytest.raises(ConversionError, match=f"is torchvision's ResNet-50: net 'n' has no layer '{absent}'"):
            initial_model(tmp_path / "x.pth", wrong)


def test_caffes_resnet(tmp_path: Path) -> None:
    state = torchvisions(50).state_dict()
    net = dc.Net(prototxt_path("deeplab_v3_resnet50"))
    dc.convert.load_tensors(net, to_caffe(state, net, "x.pth"))
    # As a file in which the sums have a weight.
    for role in ("mean", "variance", "factor"):
        net.by_name["bn_conv1"].load_blob(role, weight(net, "bn_conv1", role) * 4)
    net.save(tmp_path / "x.caffemodel")
    other = image_part(prototxt_path("deeplab_v3_resnet50", "train"), VALUES)
    initial = initial_model(tmp_path / "x.caffemodel", other)
    assert initial.source == "ResNet-50 in Caffe"
    assert initial.lines[-1].startswith("The authors' networks stride in branch2a, this net in branch2b")
    first = next(line for line in initial.lines if line.startswith("conv1: "))
    assert "the difference is in the mean of bn_conv1" in first
    difference = torch.tensor([103.53 - 103.063, 116.28 - 115.903, 123.675 - 123.152])
    lost = (weight(net, "conv1").sum((2, 3)) * difference).sum(1)
    mean, variance = other.by_name["bn_conv1"].statistics()
    torch.testing.assert_close(mean, state["backbone.bn1.running_mean"] - lost, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(variance, state["backbone.bn1.running_var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("classifier.0.bias"), "seems to be torchvision's VGG-16, but has no 'classifier.0.bias'"),
        (lambda s: s.pop("features.28.bias"), "holds none of the networks that training can start from"),
        (
            lambda s: s.update({"features.7.weight": torch.zeros(4, 5, 3, 3)}),
            r"'features.7.weight' \(4, 5, 3, 3\) does not fit the weight \(4, 4, 3, 3\) of layer 'conv2_2' of net",
        ),
        (
            lambda s: s.update({"classifier.0.weight": torch.zeros(8, 100)}),
            r"'classifier.0.weight' has another shape than in torchvision's VGG-16: \(8, 100\)",
        ),
        (
            lambda s: s.update({"classifier.3.weight": torch.zeros(7, 8)}),
            r"'classifier.3.weight' \(7, 8\) does not fit the weight \(2, 2, 1, 1\) of layer 'fc7'",
        ),
        (lambda s: s.update({"features.0.bias": torch.zeros(4, dtype=torch.int64)}), "needs plain float32"),
    ],
)
def test_files_that_do_not_fit(change, message: str, tmp_path: Path) -> None:
    state, net = thin_state(), thin_vgg()
    change(state)
    before = {name: values.clone() for name, values in tensors_of(net).items()}
    with pytest.raises(ConversionError, match=f"x.pth: .*{message}"):
        initial_model(saved(state, tmp_path), net)
    assert all(torch.equal(values, before[name]) for name, values in tensors_of(net).items())


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_hostile_and_damaged_files(tmp_path: Path) -> None:
    torch.save({"features.0.weight": Touch(tmp_path / "ran")}, tmp_path / "hostile.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Touch(tmp_path / "ran"), 2))
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 9)
    (tmp_path / "text.caffemodel").write_text("<html>")
    for name in ("hostile.pth", "old.pth", "damaged.h5", "text.caffemodel", "missing.pth"):
        with pytest.raises((ConversionError, CaffeModelError), match=name):
            initial_model(tmp_path / name, thin_vgg())
    assert not (tmp_path / "ran").exists()


def test_unit_outputs(tmp_path: Path) -> None:
    net = build(
        inputs(data=(1, 3, 9, 9))
        + conv("a", "data")
        + relu("ra", "a")
        + conv("b", "a")
        + relu("rb", "b")
        + conv("c", "b")
    )
    rows = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), np.uint8)
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for path, row in zip(files, rows, strict=True):
        dc.data.save_image(path, row)
    blobs = torch.from_numpy(rows[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    blobs -= torch.tensor(net.mean_value).view(1, 3, 1, 1)
    before = net(blobs, blobs=["a", "b"])
    lines = unit_outputs(net, ["a", "b"], files)
    after = net(blobs, blobs=["a", "b"])
    for name in ("a", "b"):
        size = before[name].square().mean().sqrt()
        torch.testing.assert_close(after[name], before[name] / size, rtol=1e-4, atol=1e-5)
    assert lines[0].startswith("a: outputs of ")
    for names, images, message in (
        (["a", "c"], files, "expected layers one behind the other, got a, c"),
        (["x"], files, "is no layer of net"),
        (["a"], [], "got none"),
    ):
        with pytest.raises(NetError, match=message):
            unit_outputs(net, names, images)


@pytest.mark.parametrize("name", [*NETWORKS, *LATER_NETWORKS, *OWN_NETWORKS, *BASES])
def test_the_image_part_has_all_parameters(name: str) -> None:
    path = prototxt_path(name, "train")
    with torch.device("meta"):
        net = image_part(path, VALUES)
    whole = proto.filter_net(proto.read_net(path, VALUES), "TRAIN")
    learned = {layer.name for layer in whole.layer if layer.type in ("Convolution", "BatchNorm", "Scale")}
    assert learned == {layer.name for layer in net.layers if layer.blobs}


def test_data_layers_that_do_more(tmp_path: Path) -> None:
    text = prototxt_path("deeplab_largefov", "train").read_text()
    for more, message in (("scale: 0.017", "has scale 0.017"), ('mean_file: "m"', "has a mean_file")):
        (tmp_path / "train.prototxt").write_text(text.replace("mirror: true", f"mirror: true {more}"))
        with pytest.raises(NetError, match=f"{message}: expected mean_value alone"):
            image_part(tmp_path / "train.prototxt", VALUES)


def test_the_command_line(run, tmp_path: Path) -> None:
    state = saved(thin_state(), tmp_path)
    outcome = run("convert", state, "--init-for", "deeplab_largefov", "--out", tmp_path / "x.caffemodel")
    assert "'features.0.weight' (4, 3, 3, 3) does not fit the weight (64, 3, 3, 3) of layer 'conv1_1'" in outcome.err
    assert not (tmp_path / "x.caffemodel").exists()
    assert "no network 'deeplab_x' in the package" in run("convert", state, "--init-for", "deeplab_x").error_line()
    for words, message in (
        ((), "give either --model or --init-for"),
        (("--init-for", "deeplab", "--unit-outputs", "conv5_3"), "--unit-outputs and --images go together"),
        (("--model", "x.prototxt"), "Missing option '--out'"),
    ):
        assert message in run("convert", state, *words).err
