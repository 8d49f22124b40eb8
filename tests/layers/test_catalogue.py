"""What holds for every layer type of the original's catalogue."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from deeplab_caffe.layers import LAYERS, Layer
from deeplab_caffe.proto.schema.names import v1_names
from tests.layers.build import make
from tests.layers.catalogue import EXAMPLES

# They read or write files, take no bottoms or run somebody's code: test_data.py, test_channel.py, test_python.py.
FILES = {
    "ChannelAggregator",
    "Data",
    "DummyData",
    "HDF5Data",
    "HDF5Output",
    "ImageData",
    "ImageSegData",
    "MatRead",
    "MatWrite",
    "MemoryData",
    "Python",
    "WindowData",
}


def example(kind: str, dtype: torch.dtype = torch.float64) -> tuple[Layer, list[Tensor]]:
    params, bottoms, tops = EXAMPLES[kind]
    blobs = bottoms(dtype)
    return make(kind, params, [tuple(blob.shape) for blob in blobs], tops=tops).to(dtype), blobs


def test_every_type_of_the_enum_is_there() -> None:
    assert set(v1_names()) - {"SoftmaxLoss"} <= set(LAYERS)
    assert set(LAYERS) - FILES == set(EXAMPLES)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_tops_are_as_promised_and_bottoms_stay(kind: str) -> None:
    layer, blobs = example(kind)
    before = [blob.clone() for blob in blobs]
    tops = layer(*blobs)
    assert [tuple(top.shape) for top in tops] == layer.top_shapes([tuple(blob.shape) for blob in blobs])
    assert all(torch.equal(a, b) for a, b in zip(blobs, before, strict=True))
    assert all(top.dtype in (torch.float64, torch.float32) for top in tops)


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if LAYERS[kind].differentiable and EXAMPLES[kind].tops])
def test_gradient(kind: str) -> None:
    layer, blobs = example(kind)
    parameters = dict(layer.named_parameters())
    names = list(parameters)
    scores = [blob.requires_grad_() for i, blob in enumerate(blobs) if i not in layer.label_bottoms]

    def tops(*tensors: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(names, tensors[len(scores) :], strict=True))
        bottoms = iter(tensors)
        bottoms = [blob if i in layer.label_bottoms else next(bottoms) for i, blob in enumerate(blobs)]
        return functional_call(layer, given, tuple(bottoms))

    assert torch.autograd.gradcheck(tops, [*scores, *parameters.values()])


@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if not LAYERS[kind].differentiable])
def test_no_gradient_flows_through(kind: str) -> None:
    layer, blobs = example(kind)
    assert not any(top.requires_grad for top in layer(*(blob.requires_grad_() for blob in blobs)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.usefixtures("no_tf32")
@pytest.mark.parametrize("kind", EXAMPLES)
def test_cuda_gives_what_the_cpu_gives(kind: str) -> None:
    layer, blobs = example(kind, torch.float32)
    runs = []
    for device in ("cpu", "cuda"):
        layer = layer.to(device)
        bottoms = [
            blob.detach().to(device).requires_grad_(i not in layer.label_bottoms) for i, blob in enumerate(blobs)
        ]
        tops = layer(*bottoms)
        assert all(top.device.type == device for top in tops)
        if LAYERS[kind].differentiable and tops:
            sum((top * top).sum() for top in tops).backward()
        runs.append([*(top.detach().cpu() for top in tops), *(b.grad.cpu() for b in bottoms if b.grad is not None)])
    for cpu, cuda in zip(*runs, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-4, atol=1e-5)
