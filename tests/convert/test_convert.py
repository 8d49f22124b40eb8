from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.convert import convert, load_tensors, read_tensors, save_safetensors, save_state_dict, tensors_of
from deeplab_caffe.errors import ConversionError, NetError
from deeplab_caffe.net.weights import load_weights, save_weights
from deeplab_caffe.proto import CaffeModel, format_message
from deeplab_caffe.zoo import CAMVID_MODEL
from tests.nets import SMALL, build, conv, inputs, layer, parse


@pytest.fixture
def caffemodel(tmp_path: Path) -> Path:
    """Weights of the small net, among them all kinds of numbers a float32 can be."""
    net = build(SMALL)
    with torch.no_grad():
        odd = torch.tensor([0x7FC12345, 0x7F800001, 0xFF800000 - 2**32, 1, 0x80000000 - 2**32, 0x3F800001])
        net.layers[0].weight.view(-1)[:6] = odd.to(torch.int32).view(torch.float32)
    path = tmp_path / "net.caffemodel"
    save_weights(net, path)
    return path


def bits(path: Path) -> dict[str, list[tuple[tuple[int, ...], bytes]]]:
    """Return layers' numbers as float32: those of a caffemodel in half precision are exact in it."""
    layers = CaffeModel(path).layers
    return {
        one.name: [(blob.shape, np.asarray(blob.data, np.float32).tobytes()) for blob in one.blobs] for one in layers
    }


@pytest.mark.parametrize("to", ["safetensors", "state_dict", "caffemodel"])
def test_there_and_back_bit_for_bit(to: str, caffemodel: Path, tmp_path: Path) -> None:
    if to == "safetensors":
        pytest.importorskip("safetensors", reason="the package safetensors is not installed")
    middle, back, again = tmp_path / "middle", tmp_path / "back.caffemodel", tmp_path / "again"
    assert convert(caffemodel, build(SMALL, seed=2), middle, to) == to
    assert convert(middle, build(SMALL, seed=3), back) == "caffemodel"
    assert bits(back) == bits(caffemodel)
    assert back.read_bytes() == caffemodel.read_bytes()
    convert(back, build(SMALL, seed=4), again, to)
    assert again.read_bytes() == middle.read_bytes()


def test_the_embedded_weights_there_and_back(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the package safetensors is not installed")
    convert(CAMVID_MODEL.weights, dc.Net(CAMVID_MODEL.deploy), tmp_path / "w.safetensors")
    convert(tmp_path / "w.safetensors", dc.Net(CAMVID_MODEL.deploy), tmp_path / "w.caffemodel")
    original = bits(CAMVID_MODEL.weights)
    assert {name: blobs for name, blobs in bits(tmp_path / "w.caffemodel").items() if blobs} == {
        name: blobs for name, blobs in original.items() if blobs
    }


def test_names_and_shapes_are_torchs(caffemodel: Path, tmp_path: Path) -> None:
    convert(caffemodel, build(SMALL), tmp_path / "net.pth")
    found = torch.load(tmp_path / "net.pth", weights_only=True)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "conv1.weight": (4, 3, 3, 3),
        "conv1.bias": (4,),
        "fc.weight": (6, 4, 3, 3),
        "fc.bias": (6,),
        "score.weight": (5, 6, 1, 1),
        "score.bias": (5,),
    }


def test_the_suffix_gives_the_format(caffemodel: Path, tmp_path: Path) -> None:
    assert convert(caffemodel, build(SMALL), tmp_path / "a.pt") == "state_dict"
    with pytest.raises(ConversionError, match="cannot tell the format"):
        convert(caffemodel, build(SMALL), tmp_path / "a.bin")


def test_shared_parameters_must_agree() -> None:
    twins = inputs(data=(1, 3, 5, 5)) + "".join(
        conv(name, "data", out=3, more='param: "w" param: "b"') for name in ("one", "two")
    )
    net = build(twins)
    tensors = {name: blob.clone() for name, blob in tensors_of(net).items()}
    assert len(tensors) == 4
    load_tensors(build(twins, seed=5), tensors)
    tensors["two.weight"] += 1
    with pytest.raises(ConversionError, match=r"'one.weight' and 'two.weight' are one parameter"):
        load_tensors(net, tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("fc.bias"), "has no 'fc.bias' of net"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has 'extra', which are none of net"),
        (lambda tensors: tensors.update({"fc.bias": torch.zeros(7)}), r"'fc.bias' needs shape \(6,\), got \(7,\)"),
        (lambda tensors: tensors.update({"fc.bias": torch.zeros(6).double()}), "cannot hold torch.float64 exactly"),
        (lambda tensors: tensors.update({"fc.bias": torch.zeros(6).to_sparse()}), "needs plain numbers, got a tensor"),
        (lambda tensors: tensors.update({"fc.bias": torch.zeros(6, device="meta")}), "needs plain numbers, got a"),
    ],
)
def test_what_does_not_fit_changes_nothing(change, message: str) -> None:
    net = build(SMALL)
    before = {name: blob.clone() for name, blob in tensors_of(net).items()}
    tensors = {name: blob + 1 for name, blob in before.items()}
    change(tensors)
    with pytest.raises(ConversionError, match=message):
        load_tensors(net, tensors)
    assert all(torch.equal(blob, before[name]) for name, blob in tensors_of(net).items())


def test_a_caffemodel_in_float16(caffemodel: Path, tmp_path: Path) -> None:
    half, back = tmp_path / "half.caffemodel", tmp_path / "back.pth"
    assert convert(caffemodel, build(SMALL), half, dtype="float16") == "caffemodel"
    convert(half, build(SMALL, seed=3), back)
    weights, found = tensors_of(dc.Net(build(SMALL).param, caffemodel)), torch.load(back, weights_only=True)
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        expected = value.half().float() if name.endswith("weight") else value
        assert torch.equal(torch.nan_to_num(found[name]), torch.nan_to_num(expected))
    assert half.stat().st_size < 0.7 * caffemodel.stat().st_size
    for suffix in (".safetensors", ".pth", ".h5", ".onnx"):
        with pytest.raises(ConversionError, match="dtype float16 is for caffemodels: as "):
            convert(caffemodel, build(SMALL), tmp_path / f"x{suffix}", dtype="float16")


def test_half_precision_is_widened() -> None:
    net = build(SMALL)
    tensors = {name: blob.half() for name, blob in tensors_of(net).items()}
    load_tensors(net, tensors)
    assert torch.equal(tensors_of(net)["fc.weight"], tensors["fc.weight"].float())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04 no zip", "cannot be read"),
        ((20).to_bytes(8, "little") + b'{"broken": json}    ', "cannot be read"),
    ],
)
def test_broken_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the package safetensors is not installed")
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=f"{path}.*{message}"):
        read_tensors(path)


def test_what_a_file_is_called_does_not_matter(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="the package safetensors is not installed")
    net = build(SMALL)
    save_state_dict(net, tmp_path / "a.safetensors")
    save_safetensors(net, tmp_path / "b.pth")
    for name in ("a.safetensors", "b.pth"):
        found = read_tensors(tmp_path / name)
        assert found is not None
        assert all(torch.equal(found[key], blob) for key, blob in tensors_of(net).items())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's, of a damaged number
@pytest.mark.parametrize("old", [False, True])
def test_damaged_state_dicts(old: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a.weight": torch.ones(2, 3)}, path, _use_new_zipfile_serialization=not old)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for i in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged if i % 2 else whole[: rng.integers(9, len(whole))])
        try:
            read_tensors(path)
        except ConversionError as error:
            refused += "\n" not in str(error) and len(str(error)) < 400
    # Bits that nobody reads do no harm; what was cut off is always noticed.
    assert refused >= 150


def test_a_state_dict_that_unpacks_to_more_than_its_size(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 18)}, tmp_path / "x.pth")
    path = tmp_path / "packed.pth"
    with zipfile.ZipFile(tmp_path / "x.pth") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    with pytest.raises(ConversionError, match="its parts are compressed"):
        read_tensors(path)


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConversionError, match="expected a dict of tensors"):
        read_tensors(tmp_path / "list.pth")
    with pytest.raises(ConversionError, match="cannot be read: No such file"):
        read_tensors(tmp_path / "nowhere.pth")


def test_a_caffemodel_of_another_network_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="no weights for any layer"):
        convert(CAMVID_MODEL.weights, build(SMALL), tmp_path / "out.pth")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot be written"):
        save_state_dict(build(SMALL), tmp_path / "nowhere" / "out.pth")


def test_the_command(run, caffemodel: Path, tmp_path: Path) -> None:
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(format_message(parse(SMALL)))
    outcome = run("convert", caffemodel, "--model", deploy, "--to", "state_dict", "--out", tmp_path / "net.pth")
    assert outcome.out.startswith(f"{tmp_path / 'net.pth'}: state_dict, 369 parameters")
    assert run("convert", tmp_path / "net.pth", "--model", deploy, "--out", tmp_path / "b.caffemodel").status == 0
    assert (tmp_path / "b.caffemodel").read_bytes() == caffemodel.read_bytes()
    deploy.write_text(format_message(parse(inputs(data=(1, 3, 4, 4)) + layer("RELU", "r", "data", "r"))))
    assert run("convert", tmp_path / "net.pth", "--model", deploy, "--out", tmp_path / "c.pth").status == 1


def test_a_compressed_pth_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as whole,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in whole.namelist():
            packed.writestr(part, whole.read(part))
    assert (tmp_path / "b.pth").stat().st_size < 10_000
    with pytest.raises(ConversionError, match=r"b\.pth: cannot be read: its parts are compressed"):
        read_tensors(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: {"state_dict": own, "epoch": 3}, "a checkpoint whose 'state_dict' is one; save that by itself"),
        (lambda own: {"epoch": 3, "lr": 0.1}, "expected a dict of tensors, as .* gives, got 'epoch', 'lr'"),
        (
            lambda own: {f"module.{name}": blob for name, blob in own.items()},
            "DataParallel wrote 'module.' before each",
        ),
        (
            lambda own: {f"base.{name}": blob for name, blob in own.items()},
            "another program's names: deeplab-caffe convert reads torchvision's .* deeplab-pytorch's DeepLab v2",
        ),
        (lambda own: {f"_orig_mod.{name}": blob for name, blob in own.items()}, "torch.compile wrote '_orig_mod.'"),
        (lambda own: {**own, "extra.weight": own["fc.weight"]}, r"none of net '\w*'$"),
    ],
)
def test_checkpoints_of_training_scripts(change, message: str, tmp_path: Path) -> None:
    net = build(SMALL)
    torch.save(change(net.state_dict()), tmp_path / "x.pth")
    with pytest.raises(ConversionError, match=message):
        load_weights(net, tmp_path / "x.pth")


def test_names_of_pruned_and_parametrized_weights() -> None:
    for change in (
        lambda layer: torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5),
        lambda layer: torch.nn.utils.parametrizations.weight_norm(layer, "weight"),
    ):
        net = build(SMALL)
        change(next(layer for layer in net.layers if layer.name == "fc"))
        with pytest.raises(ConversionError, match="pruned or parametrized weights: make them plain by torch's remove"):
            load_tensors(build(SMALL), net.state_dict())


def test_a_whole_module_is_not_unpickled(tmp_path: Path) -> None:
    torch.save(torch.nn.ReLU(), tmp_path / "x.pth")
    with pytest.raises(
        ConversionError, match="holds Python objects, which could run any code, not just tensors"
    ) as error:
        read_tensors(tmp_path / "x.pth")
    assert "x1b" not in str(error.value)
