from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Window
from tests.goldens import relative_error
from tests.layers.build import image, make, noise, run


def conv(params: str, shapes: list[tuple[int, ...]], **options: object) -> torch.nn.Module:
    text = (
        f'convolution_param {{ {params} weight_filler {{ type: "gaussian" std: 0.5 }} bias_filler {{ value: 0.3 }} }}'
    )
    torch.manual_seed(0)
    return make("CONVOLUTION", text, shapes, **options)


@pytest.mark.parametrize("engine", ["CAFFE", "CUDNN"])
def test_convolution_by_hand(engine: str) -> None:
    layer = conv("num_output: 1 kernel_size: 2 hole: 2", [(1, 1, 3, 3)], engine=engine)
    layer.weight.data[...] = torch.tensor([[1.0, 10], [100, 1000]])
    layer.bias.data[...] = 0.5
    (y,) = layer(image([1, 0, 2], [0, 0, 0], [3, 0, 4]))
    assert y.tolist() == [[[[4321.5]]]]


GEOMETRIES = [
    ("kernel_size: 3", 1),
    ("kernel_size: 1", 1),
    ("kernel_size: 3 pad: 1", 2),
    ("kernel_size: 3 pad: 4 hole: 4", 1),
    ("kernel_size: 4 pad: 6 hole: 4", 1),
    ("kernel_size: 3 stride: 2 pad: 2 hole: 2", 2),
    ("kernel_h: 1 kernel_w: 5 pad_h: 0 pad_w: 3 stride_h: 3 stride_w: 2", 1),
    ("kernel_h: 3 kernel_w: 2 hole_h: 2 hole_w: 5 pad_h: 3 pad_w: 1", 4),
    ("kernel_size: 2 stride: 3", 4),
]


@pytest.mark.parametrize(("params", "group"), GEOMETRIES)
def test_convolution_engines_agree(params: str, group: int) -> None:
    x = noise(2, 4, 11, 13)
    results = []
    for engine in ("CAFFE", "CUDNN"):
        layer = conv(f"num_output: 8 group: {group} {params}", [tuple(x.shape)], engine=engine)
        inputs = x.clone().requires_grad_()
        (y,) = layer(inputs)
        assert tuple(y.shape) == layer.top_shapes([tuple(x.shape)])[0]
        (y * noise(*y.shape, seed=1)).sum().backward()
        results.append([y.detach(), inputs.grad, layer.weight.grad, layer.bias.grad])
    for a, b in zip(*results, strict=True):
        assert relative_error(a.numpy(), b.numpy()) < 1e-5


def test_convolution_engine_of_the_layer_and_of_the_net() -> None:
    shapes = [(1, 1, 3, 3)]
    assert conv("num_output: 1 kernel_size: 1", shapes).engine == "CUDNN"
    assert conv("num_output: 1 kernel_size: 1 engine: CAFFE", shapes).engine == "CAFFE"
    assert conv("num_output: 1 kernel_size: 1 engine: CAFFE", shapes, engine="CUDNN").engine == "CUDNN"


def test_convolution_of_several_bottoms_shares_its_weights() -> None:
    layer = conv("num_output: 2 kernel_size: 3", [(1, 1, 4, 4), (1, 1, 6, 5)], tops=2)
    blobs = noise(1, 1, 4, 4), noise(1, 1, 6, 5)
    tops = layer(*blobs)
    for x, y in zip(blobs, tops, strict=True):
        torch.testing.assert_close(y, F.conv2d(x, layer.weight, layer.bias))


def test_convolution_without_bias() -> None:
    layer = conv("num_output: 2 kernel_size: 1 bias_term: false", [(1, 3, 4, 4)])
    assert len(layer.blobs) == 1
    assert layer(torch.zeros(1, 3, 4, 4))[0].abs().max() == 0


@pytest.mark.parametrize("engine", ["CAFFE", "CUDNN"])
def test_convolution_gradient(engine: str) -> None:
    layer = conv("num_output: 2 kernel_size: 2 hole: 2 group: 2 pad: 1", [(1, 2, 4, 4)], engine=engine).double()
    x = noise(1, 2, 4, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: layer(x)[0], (x, layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("kernel_size: 3", "num_output must be a positive multiple of group, got 0 and 1"),
        ("num_output: 3 group: 2 kernel_size: 3", "num_output must be a positive multiple of group, got 3 and 2"),
        ("num_output: 2 group: 2 kernel_size: 1", "3 input channels cannot be split into 2 groups"),
        ("num_output: 2", "kernel_size, or kernel_h and kernel_w, must be set"),
        ("num_output: 2 kernel_size: 3 kernel_h: 3", "kernel_size and kernel_h exclude each other"),
        ("num_output: 2 kernel_h: 3", "kernel_h is set but kernel_w is not"),
        ("num_output: 2 kernel_size: 0", r"kernel must be positive, got \(0, 0\)"),
        ("num_output: 2 kernel_size: 1 stride: 0", "stride must be positive"),
        ("num_output: 2 kernel_size: 1 hole: 0", "hole must be positive"),
        ("num_output: 2 kernel_size: 3 hole: 3", r"bottom \(1, 3, 5, 6\): "),
    ],
)
def test_convolution_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        conv(params, [(1, 3, 5, 6)])


def test_convolution_refuses_other_channels() -> None:
    layer = conv("num_output: 2 kernel_size: 1", [(1, 3, 5, 5)])
    with pytest.raises(NetError, match="the weights are for 3 input channels, the bottom has 4"):
        layer.top_shapes([(1, 4, 5, 5)])
    with pytest.raises(NetError, match="as many tops as bottoms"):
        make("CONVOLUTION", "convolution_param { num_output: 2 kernel_size: 1 }", bottoms=2, tops=1)


def test_convolution_cost_and_window() -> None:
    layer = conv("num_output: 4 kernel_size: 3 pad: 2 hole: 2", [(2, 3, 8, 9)])
    assert layer.multiply_adds([(2, 3, 8, 9)], [(2, 4, 8, 9)]) == 2 * 4 * 8 * 9 * 3 * 9
    assert layer.window() == Window((5, 5), (1, 1), (2, 2))


def test_im2col_by_hand() -> None:
    y = run("IM2COL", "convolution_param { kernel_size: 2 hole: 2 }", image([1, 2, 3], [4, 5, 6], [7, 8, 9]))
    assert y.flatten().tolist() == [1, 3, 7, 9]


@pytest.mark.parametrize("params", [params for params, _ in GEOMETRIES])
def test_im2col_agrees_with_torch(params: str) -> None:
    x = noise(2, 3, 11, 13)
    layer = make("IM2COL", f"convolution_param {{ {params} }}", [tuple(x.shape)])
    g = layer.geometry
    expected = F.unfold(x, g.kernel, dilation=g.hole, padding=g.pad, stride=g.stride)
    (y,) = layer(x)
    assert torch.equal(y.flatten(2), expected)
    assert tuple(y.shape) == layer.top_shapes([tuple(x.shape)])[0]


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
        layer = make("POOLING", text, [tuple(x.shape)])
        top, mask = caffe_pool(x, layer._geometry(x.shape), method)
        inputs = x.clone().requires_grad_()
        (y,) = layer(inputs)
        assert y.shape == top.shape == layer.top_shapes([tuple(x.shape)])[0]
        torch.testing.assert_close(y, top, rtol=1e-12, atol=1e-12)
        if method == "MAX":
            both = run("POOLING", text, x, tops=2)
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
    assert run("POOLING", "pooling_param { kernel_size: 2 stride: 2 }", x).tolist() == [[[[5, 6], [8, 9]]]]
    average = run("POOLING", "pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 }", x)
    assert average.tolist() == [[[[0.25, 1.25], [2.75, 7]]]]
    # Windows are clipped to 2 + 1 rows and columns: they divide by 9, 6, 6 and 4.
    clipped = run("POOLING", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }", image([9, 18], [0, 36]))
    assert clipped.tolist() == [[[[7, 9], [6, 9]]]]


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_gradient(method: str) -> None:
    layer = make("POOLING", f"pooling_param {{ pool: {method} kernel_size: 3 stride: 2 pad: 2 }}")
    x = noise(1, 2, 5, 6, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


def test_pooling_mask_is_exact_in_half_precision() -> None:
    x = torch.zeros(1, 1, 40, 40)
    x[0, 0, 30, 37] = 1
    _, mask = run("POOLING", "pooling_param { kernel_size: 40 }", x.bfloat16(), tops=2)
    assert mask.item() == 30 * 40 + 37


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("", "kernel_size, or kernel_h and kernel_w, must be set"),
        ("kernel_size: 2 pad: 2", r"pad \(2, 2\) must be smaller than the kernel"),
        ("kernel_size: 2 pool: STOCHASTIC", "STOCHASTIC"),
        ("kernel_size: 2 global_pooling: true", "global_pooling and kernel_size exclude each other"),
        ("global_pooling: true pad: 1", "global_pooling and pad exclude each other"),
        ("kernel_size: 9", "a bottom of 4x5 is smaller than the kernel"),
    ],
)
def test_pooling_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("POOLING", f"pooling_param {{ {params} }}", [(1, 1, 4, 5)])


def test_pooling_has_a_mask_for_max_only() -> None:
    with pytest.raises(NetError, match="only MAX pooling has a second top"):
        make("POOLING", "pooling_param { pool: AVE kernel_size: 2 }", tops=2)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("zoom_factor: 2", [[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]),
        ("height: 3 width: 2", [[1, 2], [2, 3], [3, 4]]),
        ("height: 1 width: 1", [[1]]),
        ("height: 2 width: 2", [[1, 2], [3, 4]]),
        ("shrink_factor: 2", [[1]]),
        ("zoom_factor: 3 pad_beg: -1", [[4]]),
        ("height: 1 width: 2 pad_end: -1", [[1, 1]]),
    ],
)
def test_interp_by_hand(params: str, expected: list[list[float]]) -> None:
    assert run("INTERP", f"interp_param {{ {params} }}", image([1, 2], [3, 4])).tolist() == [[expected]]


@pytest.mark.parametrize("params", ["zoom_factor: 8", "height: 9 width: 4", "shrink_factor: 2", "height: 5 width: 6"])
def test_interp_agrees_with_torch(params: str) -> None:
    x = noise(2, 3, 5, 7)
    y = run("INTERP", f"interp_param {{ {params} }}", x)
    expected = F.interpolate(x, y.shape[2:], mode="bilinear", align_corners=True)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("params", ["zoom_factor: 2 pad_beg: -1", "height: 3 width: 9", "shrink_factor: 2 pad_end: -1"])
def test_interp_gradient(params: str) -> None:
    layer = make("INTERP", f"interp_param {{ {params} }}")
    x = noise(1, 2, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("", "exactly one of zoom_factor, shrink_factor, or height and width must be set, got none"),
        ("zoom_factor: 2 shrink_factor: 2", "exactly one"),
        ("zoom_factor: 2 height: 3 width: 3", "exactly one"),
        ("height: 3", "height and width go together"),
        ("zoom_factor: 0", "zoom_factor must be positive"),
        ("zoom_factor: 2 pad_beg: 1", "must not be positive"),
        ("zoom_factor: 2 pad_beg: -2 pad_end: -2", "leaves nothing"),
    ],
)
def test_interp_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("INTERP", f"interp_param {{ {params} }}", [(1, 1, 4, 5)])


def test_padding() -> None:
    x = image([1, 2], [3, 4])
    assert run("PADDING", "padding_param { pad_beg: 1 pad_end: 0 }", x).tolist() == [
        [[[0, 0, 0], [0, 1, 2], [0, 3, 4]]]
    ]
    assert run("PADDING", "padding_param { pad_beg: -1 pad_end: 1 }", x).tolist() == [[[[4, 0], [0, 0]]]]
    same = run("PADDING", "padding_param { pad_beg: 0 pad_end: 0 }", x)
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()
    with pytest.raises(NetError, match="layer 'l': padding -1 and -1 leaves nothing of 2x2"):
        make("PADDING", "padding_param { pad_beg: -1 pad_end: -1 }", [(1, 1, 2, 2)])
    layer = make("PADDING", "padding_param { pad_beg: -1 pad_end: 2 }")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(1, 2, 3, 4, dtype=torch.float64).requires_grad_())
