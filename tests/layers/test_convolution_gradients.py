"""Convolutions with gradients of our own, beside torch's of the same layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import deeplab_caffe as dc
from deeplab_caffe.layers import convolution
from deeplab_caffe.layers.convolution_gradients import DirectConvolution, WinogradConvolution
from deeplab_caffe.ops.packed_conv import bfloat16_is_fast
from deeplab_caffe.proto import parse_net
from tests.goldens import relative_error
from tests.layers.build import make, noise

DTYPES = [torch.float32]
if bfloat16_is_fast():
    DTYPES.append(torch.bfloat16)


def layers(params: str, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    fillers = 'weight_filler { type: "gaussian" std: 0.2 } bias_filler { value: 0.3 }'
    torch.manual_seed(0)
    layer = (
        make("Convolution", f"convolution_param {{ {params} {fillers} }}", [shape])
        .to(dtype)
        .to(memory_format=torch.channels_last)
    )
    return layer, make("ReLU", "", [shape])


def is_direct(y: Tensor, *, relu: bool) -> bool:
    """Whether one operation has computed a top, and rectified it too: it is kept for the gradient then."""
    node = y.grad_fn
    return isinstance(node, DirectConvolution._backward_cls) and len(node.saved_tensors) == 2 + relu


def gradients(y: Tensor, x: Tensor, layer: nn.Module) -> list[Tensor]:
    leaves = [x, *layer.parameters()]
    return [y, *torch.autograd.grad(y, leaves, noise(*y.shape, seed=5).to(y.dtype), retain_graph=True)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "params",
    [
        "num_output: 5 kernel_size: 3 pad: 1",
        "num_output: 6 kernel_size: 3 stride: 2 group: 2",
        "num_output: 3 kernel_size: 1 bias_term: false",
        "num_output: 4 kernel_size: 3 pad: 2 hole: 2",
    ],
)
def test_a_rectified_convolution_is_a_convolution_and_a_relu(params: str, dtype: torch.dtype) -> None:
    shape = (2, 4, 9, 8)
    layer, relu = layers(params, shape, dtype)
    x = noise(*shape).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    (y,) = layer.forward_fused(relu, x)
    assert is_direct(y, relu=True)
    (expected,) = relu(*layer(x))
    assert 0 < int((y > 0).sum()) < y.numel()
    for found, one in zip(gradients(y, x, layer), gradients(expected, x, layer), strict=True):
        assert torch.equal(found, one)
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.skipif(not bfloat16_is_fast(), reason="no bfloat16 here")
def test_a_rectified_convolution_under_autocast() -> None:
    shape = (2, 4, 9, 8)
    layer, relu = layers("num_output: 5 kernel_size: 3 pad: 1", shape, torch.float32)
    x = noise(*shape).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        (y,) = layer.forward_fused(relu, x)
        (expected,) = relu(*layer(x))
    assert y.dtype == torch.bfloat16
    assert is_direct(y, relu=True)
    for found, one in zip(gradients(y, x, layer), gradients(expected, x, layer), strict=True):
        assert found.dtype == one.dtype
        assert torch.equal(found, one)


HOLED = "num_output: 5 kernel_size: 3 pad: 7 hole: 7"


def torchs(layer: nn.Module, x: Tensor, *, relu: bool) -> Tensor:
    y = torch.nn.functional.conv2d(x, layer.weight, layer.bias, 1, 7, 7)
    return y.relu() if relu else y


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("autocast", [False, True] if bfloat16_is_fast() else [False])
def test_large_holes(relu: bool, autocast: bool) -> None:
    shape = (2, 4, 9, 8)
    layer, rectifier = layers(HOLED, shape, torch.float32)
    x = noise(*shape).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        (y,) = layer.forward_fused(rectifier, x) if relu else layer(x)
        expected = torchs(layer, x, relu=relu)
    assert is_direct(y, relu=relu)
    assert y.dtype == expected.dtype
    assert torch.equal(y, expected)
    for found, one in zip(gradients(y, x, layer), gradients(expected, x, layer), strict=True):
        assert found.dtype == one.dtype
        error = relative_error(found.detach().float().numpy(), one.detach().float().numpy())
        assert error < (5e-3 if autocast else 1e-6)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("frozen", ["weight", "bias", "x"])
def test_large_holes_with_a_part_frozen(relu: bool, frozen: str) -> None:
    shape = (2, 4, 9, 8)
    layer, rectifier = layers(HOLED, shape, torch.float32)
    x = noise(*shape).to(memory_format=torch.channels_last).requires_grad_(frozen != "x")
    if frozen != "x":
        getattr(layer, frozen).requires_grad_(False)
    (y,) = layer.forward_fused(rectifier, x) if relu else layer(x)
    expected = torchs(layer, x, relu=relu)
    leaves = [leaf for leaf in (x, layer.weight, layer.bias) if leaf.requires_grad]
    ours, torchs_own = (torch.autograd.grad(top, leaves, noise(*y.shape, seed=5)) for top in (y, expected))
    for found, one in zip(ours, torchs_own, strict=True):
        assert relative_error(found.numpy(), one.numpy()) < 1e-6


@pytest.mark.parametrize("relu", [False, True])
def test_second_derivatives_and_several_gradients_of_large_holes(relu: bool) -> None:
    shape = (1, 4, 9, 8)
    layer, rectifier = layers(HOLED, shape, torch.float32)

    def penalty(ours: bool) -> list[Tensor]:
        x = noise(*shape).to(memory_format=torch.channels_last).requires_grad_()
        (y,) = (layer.forward_fused(rectifier, x) if relu else layer(x)) if ours else (torchs(layer, x, relu=relu),)
        (slope,) = torch.autograd.grad(y.square().sum(), layer.weight, create_graph=True)
        at_once = noise(2, *y.shape, seed=1)
        (several,) = torch.autograd.grad(y, layer.weight, at_once, is_grads_batched=True, retain_graph=True)
        return [several, *torch.autograd.grad(slope.square().sum(), [x, *layer.parameters()])]

    for found, expected in zip(penalty(True), penalty(False), strict=True):
        assert relative_error(found.numpy(), expected.numpy()) < 1e-5


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_rectified_convolution_by_winograd(channels_last: bool) -> None:
    shape = (1, 32, 33, 34)
    layer, relu = layers("num_output: 32 kernel_size: 3 pad: 2 hole: 2", shape, torch.float32)
    x = noise(*shape)
    x = (x.to(memory_format=torch.channels_last) if channels_last else x).requires_grad_()
    (y,) = layer.forward_fused(relu, x)
    assert isinstance(y.grad_fn, WinogradConvolution._backward_cls)
    (expected,) = relu(*layer(x))
    assert 0 < int((y > 0).sum()) < y.numel()
    for found, one in zip(gradients(y, x, layer), gradients(expected, x, layer), strict=True):
        assert torch.equal(found, one)
        assert found.stride() == one.stride()


@pytest.mark.parametrize("channels", [4, 32])
def test_second_derivatives_of_a_rectified_convolution(channels: int) -> None:
    shape = (1, channels, 32, 32)
    layer, relu = layers(f"num_output: {channels} kernel_size: 3 pad: 1", shape, torch.float32)

    def penalty(fused: bool) -> list[Tensor]:
        x = noise(*shape).to(memory_format=torch.channels_last).requires_grad_()
        (y,) = layer.forward_fused(relu, x) if fused else relu(*layer(x))
        (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return list(torch.autograd.grad(slope.square().sum(), [x, *layer.parameters()]))

    for found, expected in zip(penalty(True), penalty(False), strict=True):
        assert relative_error(found.numpy(), expected.numpy()) < 1e-5


def test_several_gradients_of_a_rectified_convolution_at_once() -> None:
    layer, relu = layers("num_output: 5 kernel_size: 3", (1, 4, 8, 8), torch.float32)
    x = noise(1, 4, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    (y,) = layer.forward_fused(relu, x)
    several = noise(2, *y.shape, seed=1)
    (found,) = torch.autograd.grad(y, x, several, is_grads_batched=True, retain_graph=True)
    for number, one in enumerate(several):
        (expected,) = torch.autograd.grad(y, x, one, retain_graph=True)
        assert relative_error(found[number].numpy(), expected.numpy()) < 1e-5


@pytest.mark.parametrize(
    ("params", "dtype", "slope"),
    [
        ("num_output: 4 kernel_size: 3 engine: CAFFE", torch.float32, 0),
        ("num_output: 4 kernel_size: 3 group: 4", torch.float32, 0),
        ("num_output: 4 kernel_size: 3", torch.float64, 0),
        ("num_output: 4 kernel_size: 3", torch.float32, 0.1),
        ("num_output: 4 kernel_size: 3 pad: 3", torch.float32, 0),
    ],
)
def test_other_convolutions_have_a_relu_behind_them(
    params: str, dtype: torch.dtype, slope: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, _ = layers(params, (1, 4, 8, 8), dtype)
    relu = make("ReLU", f"relu_param {{ negative_slope: {slope} }}", [(1, 4, 8, 8)])
    x = noise(1, 4, 8, 8).to(dtype).to(memory_format=torch.channels_last).requires_grad_()
    for one in ("DirectConvolution", "WinogradConvolution"):
        monkeypatch.setattr(getattr(convolution, one), "apply", lambda *_: pytest.fail("one operation"))
    (y,) = layer.forward_fused(relu, x)
    assert torch.equal(y, relu(*layer(x))[0])


NET = """
name: "n" input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c"
         convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.5 } } }
layers { name: "r" type: RELU bottom: "c" top: "%s" }
layers { name: "s" type: CONVOLUTION bottom: "%s" top: "s"
         convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "gaussian" std: 0.5 } } }
"""


def test_a_net_rectifies_in_place_and_keeps_blobs_that_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = DirectConvolution.apply
    monkeypatch.setattr(convolution.DirectConvolution, "apply", lambda *args: calls.append(1) or whole(*args))
    found = []
    for top in ("c", "r"):
        net = dc.Net(parse_net(NET % (top, top)), phase="TRAIN", channels_last=True, seed=1)
        x = noise(2, 3, 9, 9)
        net(x).sum().backward()
        found.append([weight.grad for weight in net.parameters()])
    assert len(calls) == 1  # a top of its own is a blob, which holds what the convolution has put out
    for fused, plain in zip(*found, strict=True):
        assert torch.equal(fused, plain)
    assert set(dc.Net(parse_net(NET % ("r", "r")), phase="TRAIN")(x, blobs=["c"])) == {"c", "s"}
