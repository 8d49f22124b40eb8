from __future__ import annotations

import itertools

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.errors import NetError
from tests.layers.build import image, make, noise, run


def caffe_pool(x: torch.Tensor, g: object, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """layers/pooling_layer.cpp, window by window: tops and masks."""
    height, width = x.shape[2:]
    (kh, kw), (sh, sw), (ph, pw) = g.kernel, g.stride, g.pad
    rows, columns = -((height + 2 * ph - kh) // -sh) + 1, -((width + 2 * pw - kw) // -sw) + 1
    if ph or pw:
        rows -= (rows - 1) * sh >= height + ph
        columns -= (columns - 1) * sw >= width + pw
    top = torch.zeros(*x.shape[:2], rows, columns, dtype=x.dtype)
    mask = torch.full_like(top, -1)
    for n, c, i, j in itertools.product(*(range(size) for size in top.shape)):
        y0, x0 = i * sh - ph, j * sw - pw
        y1, x1 = min(y0 + kh, height + ph), min(x0 + kw, width + pw)
        area = (y1 - y0) * (x1 - x0)
        best = torch.finfo(x.dtype).min
        total = 0.0
        for y, z in itertools.product(range(max(y0, 0), min(y1, height)), range(max(x0, 0), min(x1, width))):
            value = x[n, c, y, z].item()
            total += value
            if value > best:
                best, mask[n, c, i, j] = value, y * width + z
        top[n, c, i, j] = best if method == "MAX" else total / max(area, 1)
    return top, mask


POOLS = [
    f"kernel_size: {k} stride: {s} pad: {p}"
    for k, s, p in itertools.product((1, 2, 3, 5), (1, 2, 3), (0, 1, 2, 4))
    if p < k
] + [
    "kernel_h: 3 kernel_w: 4 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 1",
    "kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 2 stride: 2",
    "kernel_h: 2 kernel_w: 5 stride_h: 3 stride_w: 1",
    "global_pooling: true",
    "global_pooling: true pad: 0 stride: 1",
]


@pytest.mark.parametrize("size", [(6, 5), (7, 9), (8, 5)])
@pytest.mark.parametrize("params", POOLS)
def test_pooling_against_the_slow_rule(params: str, size: tuple[int, int]) -> None:
    # Few different values, so that there are ties.
    x = (noise(1, 2, *size) * 2).round().double()
    for method in ("MAX", "AVE"):
        text = f"pooling_param {{ pool: {method} {params} }}"
        layer = make("Pooling", text, [tuple(x.shape)])
        top, mask = caffe_pool(x, layer._geometry(x.shape), method)
        inputs = x.clone().requires_grad_()
        (y,) = layer(inputs)
        assert y.shape == top.shape == layer.top_shapes([tuple(x.shape)])[0]
        torch.testing.assert_close(y, top, rtol=1e-12, atol=1e-12)
        if method == "MAX":
            both = run("Pooling", text, x, tops=2)
            assert torch.equal(both[0], top)
            assert torch.equal(both[1], mask)
            # The gradient goes to the first maximum; an empty window has none.
            weights = noise(*y.shape, seed=2, dtype=torch.float64)
            (y * weights).sum().backward()
            expected = torch.zeros_like(x).flatten(2)
            hit = mask >= 0
            for n, c, i, j in hit.nonzero().tolist():
                expected[n, c, int(mask[n, c, i, j])] += weights[n, c, i, j]
            torch.testing.assert_close(inputs.grad.flatten(2), expected)


def test_pooling_by_hand() -> None:
    x = image([1, 2, 3], [4, 5, 6], [7, 8, 9])
    assert run("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", x).tolist() == [[[[5, 6], [8, 9]]]]
    average = run("Pooling", "pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 }", x)
    assert average.tolist() == [[[[0.25, 1.25], [2.75, 7]]]]
    # Windows are clipped to 2 + 1 rows and columns: they divide by 9, 6, 6 and 4.
    clipped = run("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", image([9, 18], [0, 36]))
    assert clipped.tolist() == [[[[7, 9], [6, 9]]]]


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_gradient(method: str) -> None:
    layer = make("Pooling", f"pooling_param {{ pool: {method} kernel_size: 3 stride: 2 pad: 2 }}")
    x = noise(1, 2, 5, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_pooling_mask_is_exact_in_half_precision() -> None:
    x = torch.zeros(1, 1, 40, 40)
    x[0, 0, 30, 37] = 1
    _, mask = run("Pooling", "pooling_param { kernel_size: 40 }", x.bfloat16(), tops=2)
    assert mask.item() == 30 * 40 + 37


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("", "kernel_size, or kernel_h and kernel_w, must be set"),
        ("kernel_size: 3 pad_w: 1", "pad_w is set but pad_h is not: a pair needs both"),
        ("kernel_size: 2 pad: 2", r"pad \(2, 2\) must be smaller than the kernel"),
        ("kernel_size: 2 pool: STOCHASTIC", "STOCHASTIC"),
        ("kernel_size: 2 global_pooling: true", "global_pooling and kernel_size exclude each other"),
        ("global_pooling: true pad: 1", "global_pooling and pad exclude each other"),
        ("kernel_size: 9", "a bottom of 4x5 is smaller than the kernel"),
    ],
)
def test_pooling_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("Pooling", f"pooling_param {{ {params} }}", [(1, 1, 4, 5)])


def test_pooling_has_a_mask_for_max_only() -> None:
    with pytest.raises(NetError, match="only MAX pooling has a second top"):
        make("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", tops=2)


@pytest.mark.parametrize("spelling", ["round_mode: FLOOR", "ceil_mode: false"])
@pytest.mark.parametrize(
    ("method", "expected"),
    [("MAX", [[6.0, 8.0], [16.0, 18.0]]), ("AVE", [[3.0, 5.0], [13.0, 15.0]])],
)
def test_rounding_down(spelling: str, method: str, expected: list[list[float]]) -> None:
    text = f'layer {{ name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param {{ pool: {method} kernel_size: 2 '
    text += f"stride: 2 {spelling} }} }}"
    net = dc.Net(proto.parse_net('input: "x" input_dim: 1 input_dim: 1 input_dim: 5 input_dim: 5 ' + text))
    # 5 pixels, windows of 2, 2 apart: two windows, where rounding up makes a third of one pixel.
    assert net.blob_shapes["y"] == (1, 1, 2, 2)
    image = torch.arange(25.0).reshape(1, 1, 5, 5)
    assert net(image)[0, 0].tolist() == expected
    assert net.infer_shapes(x=(1, 1, 4, 6))["y"] == (1, 1, 2, 3)


def test_rounding_down_with_padding() -> None:
    text = 'layer { name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: AVE kernel_size: 3 stride: 2 '
    text += "pad: 1 round_mode: FLOOR } }"
    net = dc.Net(proto.parse_net('input: "x" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4 ' + text))
    # (4 + 2 - 3) / 2 + 1 = 2 windows, from -1 and from 1; padding counts.
    assert (9 * net(torch.ones(1, 1, 4, 4))).flatten().tolist() == pytest.approx([4, 6, 6, 9])
