"""ONNX models that read images, give labels and know the names of their classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.convert import convert, to_onnx
from deeplab_caffe.data import load_image
from deeplab_caffe.errors import ConversionError, EvaluationError
from deeplab_caffe.zoo import DEFAULT_MODEL, DEMO_PHOTOS
from tests.nets import INTERP, SMALL, build, conv, inputs, layer

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def result(path: Path, x: np.ndarray) -> np.ndarray:
    found = session(path)
    ((given,), (wanted,)) = found.get_inputs(), found.get_outputs()
    (came,) = found.run([wanted.name], {given.name: x})
    return np.asarray(came)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The default network with each combination of ends."""
    folder = tmp_path_factory.mktemp("onnx")
    net = dc.Net(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights)
    wanted = {"neither": {}, "image": {"image_input": True}, "labels": {"label_output": True}}
    wanted["both"] = {"image_input": True, "label_output": True}
    for name, ends in wanted.items():
        to_onnx(net, folder / f"{name}.onnx", classes="voc12", **ends)
    return {name: folder / f"{name}.onnx" for name in wanted}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """uint8 RGB (2, 97, 129, 3), a size that the network takes as it is."""
    return np.stack([load_image(path)[40:137, 100:229] for path in DEMO_PHOTOS])


def test_an_image_becomes_labels_bit_for_bit(models: dict[str, Path], images: np.ndarray) -> None:
    mean = np.array(dc.Net(DEFAULT_MODEL.deploy).mean_value, np.float32)
    blobs = np.ascontiguousarray((images[..., ::-1].astype(np.float32) - mean).transpose(0, 3, 1, 2))
    scores = result(models["neither"], blobs)
    np.testing.assert_array_equal(result(models["image"], images), scores)
    expected = scores.argmax(1)
    assert len(np.unique(expected)) > 1
    for name, given in (("labels", blobs), ("both", images)):
        labels = result(models[name], given)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected)
    seg = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu")
    # Its convolutions sum in another order: pixels of nearly equal scores may differ.
    assert np.mean(expected == np.stack([seg(image) for image in images])) > 0.9999


def test_what_the_model_says_of_itself(models: dict[str, Path]) -> None:
    found = session(models["both"])
    ((given,), (wanted,)) = found.get_inputs(), found.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(uint8)", ["batch", "height", "width", 3])
    assert (wanted.name, wanted.shape) == ("labels", ["batch", "labels_height", "labels_width"])
    known = found.get_modelmeta().custom_metadata_map
    assert json.loads(known["classes"])[8] == "cat"
    assert json.loads(known["mean_value"]) == list(dc.Net(DEFAULT_MODEL.deploy).mean_value)


def test_of_equal_scores_the_largest_class_wins(tmp_path: Path) -> None:
    net = build(inputs(data=(1, 3, 5, 5)) + conv("score", "data", out=3))
    with torch.no_grad():
        for blob in net.parameters():
            blob.zero_()
    to_onnx(net, tmp_path / "net.onnx", label_output=True)
    assert (result(tmp_path / "net.onnx", np.ones((1, 3, 5, 5), np.float32)) == 2).all()


def test_the_command_line(run, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    words = ("convert", DEFAULT_MODEL.weights, "--model", DEFAULT_MODEL.deploy, "--out")
    outcome = run(*words, out, "--image-input", "--label-output", "--classes", "voc12")
    assert outcome.status == 0, outcome.err
    assert session(out).get_outputs()[0].name == "labels"
    for more in (("--image-input",), ("--label-output",), ("--classes", "voc12")):
        assert "are for ONNX" in run(*words, tmp_path / "x.safetensors", *more).error_line()
        assert "are for ONNX" in run("convert", "x.pth", "--init-for", "deeplab", *more).err
    assert not (tmp_path / "x.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "ends", "message"),
    [
        (inputs(data=(1, 4, 9, 9)) + conv("s", "data"), {"image_input": True}, "one input of 3 channels"),
        (inputs(data=(1, 3, 9, 9)) + conv("s", "data", out=1), {"label_output": True}, "its output has one channel"),
        (
            SMALL + layer("ARGMAX", "a", "score", "a"),
            {"label_output": True},
            "its output has one channel, labels are the best of several",
        ),
        (SMALL + conv("t", "fc"), {"label_output": True}, "for one output of scores"),
        (SMALL + INTERP, {"classes": ["a", "b"]}, "2 names of classes are given, net '' has 5"),
    ],
)
def test_nets_that_have_no_such_ends(text: str, ends: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        to_onnx(build(text), tmp_path / "net.onnx", **ends)
    assert not list(tmp_path.iterdir())


def test_names_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="classes: expected voc12"):
        convert(DEFAULT_MODEL.weights, dc.Net(DEFAULT_MODEL.deploy), tmp_path / "x.onnx", classes="nothing")
    assert not list(tmp_path.iterdir())
