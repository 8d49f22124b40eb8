from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import ReceptiveWindow
from tests.goldens import relative_error
from tests.layers.build import image, make, noise


def deconv(params: str, *shapes: tuple[int, ...], **options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    fill = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { value: 0.3 }'
    params = f"convolution_param {{ {params} {'' if 'weight_filler' in params else fill} }}"
    return make("Deconvolution", params, list(shapes), layout="V2", **options)


@pytest.mark.parametrize("engine", ["CAFFE", "CUDNN"])
def test_by_hand(engine: str) -> None:
    layer = deconv("num_output: 1 kernel_size: 2 stride: 2", (1, 1, 1, 2), engine=engine)
    layer.weight.data[...] = torch.tensor([[1.0, 10], [100, 1000]])
    layer.bias.data[...] = 0.5
    (y,) = layer(image([1, 2]))
    assert y.tolist() == [[[[1.5, 10.5, 2.5, 20.5], [100.5, 1000.5, 200.5, 2000.5]]]]


@pytest.mark.parametrize(
    ("params", "group"),
    [
        ("kernel_size: 4 stride: 2 pad: 1", 1),
        ("kernel_size: 3 dilation: 2 pad: 1", 2),
        ("kernel_h: 2 kernel_w: 5 stride_h: 2 stride_w: 3 pad_h: 0 pad_w: 1", 4),
        ("kernel_size: 1", 1),
        ("kernel_size: 2 stride: 3", 2),
        ("kernel_size: 5 stride: 1 pad: 2", 4),
    ],
)
@pytest.mark.parametrize("batch", [0, 2])
def test_engines_agree(params: str, group: int, batch: int) -> None:
    x, results = noise(batch, 4, 5, 6), []
    for engine in ("CAFFE", "CUDNN"):
        layer = deconv(f"num_output: 8 group: {group} {params}", tuple(x.shape), engine=engine)
        inputs = x.clone().requires_grad_()
        (y,) = layer(inputs)
        assert tuple(y.shape) == layer.top_shapes([tuple(x.shape)])[0]
        (y * noise(*y.shape, seed=1)).sum().backward()
        results.append([y.detach(), inputs.grad, layer.weight.grad, layer.bias.grad])
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        assert relative_error(a.numpy(), b.numpy()) < 1e-5 or not batch


def test_a_bilinear_filler_interpolates() -> None:
    fill = 'bias_term: false weight_filler { type: "bilinear" }'
    layer = deconv(f"num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 {fill}", (1, 3, 5, 7))
    x = noise(1, 3, 5, 7)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    # At the border Caffe's pixels beyond are zeros.
    torch.testing.assert_close(layer(x)[0][:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])


def test_several_bottoms() -> None:
    layer = deconv("num_output: 2 kernel_size: 3", (1, 1, 4, 4), (1, 1, 6, 5), tops=2)
    blobs = noise(1, 1, 4, 4), noise(1, 1, 6, 5)
    for x, y in zip(blobs, layer(*blobs), strict=True):
        torch.testing.assert_close(y, F.conv_transpose2d(x, layer.weight, layer.bias))
    assert layer.multiply_adds([(1, 1, 4, 4)], [(1, 2, 6, 6)]) == 16 * 2 * 9


def test_receptive_window() -> None:
    """The pixels of the bottom that a pixel of the top depends on begin and end where the window says."""
    for params in (
        "kernel_size: 4 stride: 2 pad: 1",
        "kernel_size: 3 stride: 1 dilation: 2",
        "kernel_size: 7 stride: 3",
    ):
        layer = deconv(f"num_output: 1 {params}", (1, 1, 9, 9))
        window, x = layer.receptive_window(), noise(1, 1, 9, 9).requires_grad_()
        (y,) = layer(x)
        for place in range(8, 12):
            (gradient,) = torch.autograd.grad(y[0, 0, place, place], x, retain_graph=True)
            rows = gradient[0, 0].any(1).nonzero()
            first = place * window.stride[0] - window.pad[0]
            assert math.ceil(first) <= rows.min() <= rows.max() <= first + window.kernel[0]
    assert window.kernel == (3, 3)
    layer = deconv("num_output: 1 kernel_h: 4 kernel_w: 9 stride_h: 2 stride_w: 4 pad_h: 1 pad_w: 4", (1, 1, 9, 9))
    assert layer.receptive_window() == ReceptiveWindow((2, 3), (1 / 2, 1 / 4), (1, 1))


def test_half_precision_works_with_either_engine() -> None:
    for engine in ("CAFFE", "CUDNN"):
        layer = deconv("num_output: 2 kernel_size: 4 stride: 2", (1, 3, 5, 4), engine=engine)
        x = noise(1, 3, 5, 4)
        (expected,) = layer(x)
        (found,) = layer.bfloat16()(x.bfloat16())
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)


def test_engine_caffe_keeps_float32_under_autocast() -> None:
    layer = deconv("num_output: 1 kernel_size: 2 stride: 2", (1, 1, 1, 2), engine="CAFFE")
    layer.weight.data[...] = torch.tensor([[1.0, 10], [100, 1000]])
    layer.bias.data[...] = 0.5
    assert not layer.supports_half
    for x in (image([1, 2]), image([1, 2]).bfloat16()):
        layer.zero_grad()
        x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            (y,) = layer(x)
        # bfloat16 has 1000, 1004 and 2000, and nothing between.
        assert y.tolist() == [[[[1.5, 10.5, 2.5, 20.5], [100.5, 1000.5, 200.5, 2000.5]]]]
        y.sum().backward()
        assert x.grad.tolist() == [[[[1111, 1111]]]] if x.dtype == torch.float32 else [[[[1112, 1112]]]]
        assert layer.weight.grad.tolist() == [[[[3, 3], [3, 3]]]]
        assert layer.bias.grad.tolist() == [8]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("kernel_size: 3", "num_output must be a positive multiple of group, got 0 and 1"),
        ("num_output: 2 group: 2 kernel_size: 1", "3 input channels cannot be split into 2 groups"),
        ("num_output: 2", "kernel_size, or kernel_h and kernel_w, must be set"),
        (
            "num_output: 2 kernel_size: 3 kernel_size: 3 kernel_size: 3",
            "kernel_size must be given once or once for each",
        ),
        ("num_output: 2 kernel_size: 1 pad: 3", r"bottom \(1, 3, 5, 6\): pad \(3, 3\) leaves nothing of the top"),
    ],
)
def test_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        deconv(params, (1, 3, 5, 6))
