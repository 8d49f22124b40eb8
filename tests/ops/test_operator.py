from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from deeplab_caffe import reference
from deeplab_caffe.ops import operator
from deeplab_caffe.ops.argmax import argmax, argmax_labels
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.im2col import im2col
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax
from deeplab_caffe.ops.max_pool import max_pool
from deeplab_caffe.ops.softmax_loss import softmax_loss

SCRIPT = """
import sys, torch
from deeplab_caffe.ops.argmax import argmax, argmax_labels
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.im2col import im2col
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_argmax import interp_argmax
from deeplab_caffe.ops.interp_softmax import interp_softmax
from deeplab_caffe.ops.preprocess import preprocess
x = torch.ones(1, 2, 3, 3)
interp(x, zoom_factor=2), argmax(x), argmax_labels(x), im2col(x, 1), conv2d(x, x[:, :, :1, :1], None)
interp_argmax(x, 5, 5), interp_softmax(x, 5, 5), preprocess(torch.zeros(1, 2, 2, 3, dtype=torch.uint8), mean=1)
interp(torch.nn.Parameter(x, requires_grad=False), zoom_factor=2)
print("torch._dynamo" in sys.modules)
"""


def test_nothing_is_imported_for_a_mere_result() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each call that follows was direct."""
    found: list[bool] = []
    original = operator._unobserved
    monkeypatch.setattr(operator, "_unobserved", lambda args: found.append(original(args)) or found[-1])
    return found


def test_whoever_looks_is_served_by_the_dispatcher(calls: list[bool]) -> None:
    x = torch.ones(1, 2, 3, 3)
    leaf = x.clone().requires_grad_()
    interp(leaf, zoom_factor=2).sum().backward()
    assert leaf.grad.sum() == 50
    with torch.no_grad():
        interp(leaf, zoom_factor=2)
    assert torch.vmap(lambda one: interp(one, zoom_factor=2))(x[None]).shape == (1, 1, 2, 5, 5)
    with torch.profiler.profile() as profile:
        argmax_labels(x)
    assert any("argmax_labels" in event.key for event in profile.key_averages())
    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda one: interp(one, zoom_factor=2))(x)
    assert "deeplab_caffe.interp" in graph.code
    with torch._subclasses.FakeTensorMode() as mode:
        assert interp(mode.from_tensor(x), zoom_factor=2).shape == (1, 2, 5, 5)
    assert calls[:3] == [False, True, True]  # the second is the gradient's own
    assert not any(calls[3:])


def test_one_graph_for_torch_compile() -> None:
    x, weight = torch.randn(1, 3, 5, 5), torch.randn(4, 3, 3, 3)
    for operation in (
        lambda x: interp(x, zoom_factor=2),
        lambda x: argmax_labels(x, dtype=torch.int64),
        lambda x: argmax(x, 2),
        lambda x: conv2d(x, weight, None, pad=1, dilation=2),
        lambda x: im2col(x, 3),
        lambda x: max_pool(x, (2, 2), (1, 1), (0, 0), (4, 4)),
        lambda x: interp_argmax(x, 9, 9),
        lambda x: interp_softmax(x, 9, 9),
        lambda x: softmax_loss(x, torch.zeros(1, 5, 5), check_labels=False),
    ):
        torch._dynamo.reset()
        compiled = torch.compile(operation, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), operation(x))


def test_numpy_arrays_give_the_tensors_bits() -> None:
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    array = np.asfortranarray(x.numpy())
    labels = x.numpy().argmax(1)
    for operation in (
        lambda x: interp(x, zoom_factor=2),
        lambda x: argmax_labels(x),
        lambda x: argmax(x, 2, out_max_val=True),
        lambda x: im2col(x, 3, pad=1),
        lambda x: max_pool(x, (2, 2), (1, 1), (0, 0), (4, 5)),
        lambda x: interp_argmax(x, 9, 9),
        lambda x: interp_softmax(x, 9, 9),
    ):
        found = operation(array)
        assert isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, operation(x).numpy())
    found = softmax_loss(array, labels)
    leaf = x.clone().requires_grad_()
    loss = softmax_loss(leaf, torch.from_numpy(labels))
    loss.backward()
    assert found.loss == loss.item()
    np.testing.assert_array_equal(found.backward(), leaf.grad)
    weight = np.ones((2, 3, 3, 3), np.float32)
    np.testing.assert_allclose(conv2d(array, weight), reference.conv2d(x.numpy(), weight), rtol=1e-4, atol=1e-5)
