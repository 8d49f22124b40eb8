from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import ReceptiveWindow
from deeplab_caffe.proto import V1, V2
from tests.goldens import relative_error
from tests.layers.build import image, make, noise, run


def conv(params: str, shapes: list[tuple[int, ...]], **options: object) -> torch.nn.Module:
    text = (
        f'convolution_param {{ {params} weight_filler {{ type: "gaussian" std: 0.5 }} bias_filler {{ value: 0.3 }} }}'
    )
    torch.manual_seed(0)
    return make("Convolution", text, shapes, **options)


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


@pytest.mark.parametrize("params", [params for params, _ in GEOMETRIES])
def test_a_kernel_for_each_channel(params: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(2, 4, 11, 13)
    layer = conv(f"num_output: 4 group: 4 {params}", [tuple(x.shape)])
    results = []
    for theirs in (False, True):
        if theirs:
            monkeypatch.setattr(layer, "_is_for_depthwise", lambda *_: False)
        inputs = x.clone().requires_grad_()
        (y,) = layer(inputs)
        results.append([y, *torch.autograd.grad((y * noise(*y.shape, seed=1)).sum(), [inputs, *layer.parameters()])])
    for a, b in zip(*results, strict=True):
        assert relative_error(a.detach().numpy(), b.detach().numpy()) < 1e-5


def test_who_convolves_a_kernel_for_each_channel() -> None:
    layer, x = conv("num_output: 4 group: 4 kernel_size: 3", [(1, 4, 5, 5)]), noise(1, 4, 5, 5)
    channels_last = x.contiguous(memory_format=torch.channels_last)

    def ours(x: torch.Tensor) -> bool:
        return layer._is_for_depthwise(x, layer.weight)

    assert ours(x)
    assert ours(channels_last)
    assert not ours(x.to(torch.bfloat16))
    assert not ours(x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not ours(x)
    with torch.no_grad():
        assert ours(x)
        assert not ours(channels_last)
    for other in ("num_output: 8 group: 4 kernel_size: 3", "num_output: 4 group: 2 kernel_size: 3"):
        layer = conv(other, [(1, 4, 5, 5)])
        assert not ours(x)


def test_convolution_engine_of_the_layer_and_of_the_net() -> None:
    shapes = [(1, 1, 3, 3)]
    assert conv("num_output: 1 kernel_size: 1", shapes).engine == "CUDNN"
    assert conv("num_output: 1 kernel_size: 1 engine: CAFFE", shapes).engine == "CAFFE"
    assert conv("num_output: 1 kernel_size: 1 engine: CAFFE", shapes, engine="CUDNN").engine == "CUDNN"


def test_engine_caffe_keeps_float32_under_autocast() -> None:
    layer = conv("num_output: 1 kernel_size: 2 hole: 2", [(1, 1, 3, 3)], engine="CAFFE")
    layer.weight.data[...] = torch.tensor([[1.0, 10], [100, 1000]])
    layer.bias.data[...] = 0.5
    x = image([1, 0, 2], [0, 0, 0], [3, 0, 4]).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        (y,) = layer(x)
    # bfloat16 has 4320 and 4352, and nothing between.
    assert y.tolist() == [[[[4321.5]]]]
    y.backward(torch.tensor([[[[3.0]]]]))
    assert x.grad.dtype == torch.bfloat16
    assert x.grad.tolist() == [[[[3, 0, 30], [0, 0, 0], [300, 0, 3008]]]]  # 3000 rounded to eight bits
    assert layer.weight.grad.tolist() == [[[[3, 6], [9, 12]]]]
    assert layer.bias.grad.tolist() == [3]


def test_engine_caffe_asks_for_float32_over_a_plane_alone() -> None:
    def takes_half(params: str, shape: tuple[int, ...], engine: str) -> bool:
        return conv(f"num_output: 1 {params}", [shape], engine=engine).supports_half

    assert not takes_half("kernel_size: 1", (1, 1, 3, 3), "CAFFE")
    assert takes_half("kernel_size: 1", (1, 1, 3, 3), "CUDNN")
    assert takes_half("kernel_size: 1", (1, 1, 3, 3, 3), "CAFFE")


def test_engine_caffe_with_weights_of_half_or_double_precision() -> None:
    layer, x = conv("num_output: 2 kernel_size: 3", [(1, 2, 5, 5)], engine="CAFFE"), noise(1, 2, 5, 5)
    (expected,) = layer(x)
    (y,) = layer.double()(x)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y.float(), expected)
    (y,) = layer.bfloat16()(x.bfloat16())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, expected, rtol=0.05, atol=0.05)


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


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution", "Im2col"])
@pytest.mark.parametrize(("params", "pad"), [("pad_w: 2", (0, 2)), ("pad_h: 1", (1, 0)), ("pad_h: 0", (0, 0))])
def test_a_lone_pad_leaves_the_other_0(kind: str, params: str, pad: tuple[int, int]) -> None:
    text = f"convolution_param {{ num_output: 2 kernel_h: 2 kernel_w: 3 {params} }}"
    layer = make(kind, text, [(1, 3, 5, 6)], layout="V2", dialect=V2)
    assert layer.geometry.pad == pad
    other = "pad_h" if "pad_w" in params else "pad_w"
    with pytest.raises(NetError, match=f"{params[:5]} is set but {other} is not: a pair needs both"):
        make(kind, text, [(1, 3, 5, 6)], layout="V2", dialect=V1)
    with pytest.raises(NetError, match="must be given once or once for each of 3 axes, got 2 numbers"):
        make(kind, f"convolution_param {{ num_output: 2 kernel_size: 1 {params} }}", [(1, 3, 5, 6, 7)], dialect=V2)


@pytest.mark.parametrize("params", ["kernel_h: 3", "kernel_size: 3 stride_w: 2"])
def test_a_lone_kernel_or_stride_is_refused(params: str) -> None:
    with pytest.raises(NetError, match="a pair needs both"):
        conv(f"num_output: 2 {params}", [(1, 3, 5, 6)], dialect=V2)


def test_convolution_refuses_other_channels() -> None:
    layer = conv("num_output: 2 kernel_size: 1", [(1, 3, 5, 5)])
    with pytest.raises(NetError, match="the weights are for 3 input channels, the bottom has 4"):
        layer.top_shapes([(1, 4, 5, 5)])
    with pytest.raises(NetError, match=r"has 5: channels last\? Take x.permute\(0, 3, 1, 2\)$"):
        layer.top_shapes([(1, 5, 5, 3)])
    with pytest.raises(NetError, match="as many tops as bottoms"):
        make("Convolution", "convolution_param { num_output: 2 kernel_size: 1 }", bottoms=2, tops=1)


def test_convolution_cost_and_window() -> None:
    layer = conv("num_output: 4 kernel_size: 3 pad: 2 hole: 2", [(2, 3, 8, 9)])
    assert layer.multiply_adds([(2, 3, 8, 9)], [(2, 4, 8, 9)]) == 2 * 4 * 8 * 9 * 3 * 9
    assert layer.receptive_window() == ReceptiveWindow((5, 5), (1, 1), (2, 2))


def test_im2col_by_hand() -> None:
    y = run("Im2col", "convolution_param { kernel_size: 2 hole: 2 }", image([1, 2, 3], [4, 5, 6], [7, 8, 9]))
    assert y.flatten().tolist() == [1, 3, 7, 9]


def test_im2cols_bottom_keeps_its_axes() -> None:
    layer = make("Im2col", "convolution_param { kernel_size: 2 }", [(1, 3, 5, 5)], dialect=V2)
    for shape in [(1, 3, 5), (1, 3, 5, 5, 5)]:
        with pytest.raises(NetError, match=r"layer 'l': expected a bottom of 4 axes, got \(1, 3, 5"):
            layer.top_shapes([shape])
    with pytest.raises(NetError, match=r"layer 'l': expected a bottom of 3 axes, got \(1, 3\)"):
        make("Im2col", "convolution_param { kernel_size: 2 }", [(1, 3)], dialect=V2)


@pytest.mark.parametrize("params", [params for params, _ in GEOMETRIES])
def test_im2col_agrees_with_torch(params: str) -> None:
    x = noise(2, 3, 11, 13)
    layer = make("Im2col", f"convolution_param {{ {params} }}", [tuple(x.shape)])
    g = layer.geometry
    expected = F.unfold(x, g.kernel, dilation=g.hole, padding=g.pad, stride=g.stride)
    (y,) = layer(x)
    assert torch.equal(y.flatten(2), expected)
    assert tuple(y.shape) == layer.top_shapes([tuple(x.shape)])[0]


def test_a_depthwise_layer_keeps_channels_last_memory() -> None:
    layer = conv("num_output: 4 group: 4 kernel_size: 3 pad: 1", [(2, 4, 6, 5)])
    x = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(1))
    last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    plain = x.clone().requires_grad_()
    tops = [layer(given)[0] for given in (plain, last)]
    assert torch.equal(*tops)
    assert tops[1].is_contiguous(memory_format=torch.channels_last)
    for top in tops:
        top.square().sum().backward()
    assert torch.equal(plain.grad, last.grad)
    assert last.grad.is_contiguous(memory_format=torch.channels_last)


def _gradients(layer: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor) -> list[torch.Tensor]:
    """The top and the gradients of bottom, weight and bias."""
    inputs = x.clone(memory_format=torch.preserve_format).requires_grad_()
    (y,) = layer(inputs)
    return [y, *torch.autograd.grad(y, [inputs, layer.weight, *([] if layer.bias is None else [layer.bias])], grad)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("pad", "hole"), [(1, 1), (0, 1), (2, 1), (2, 2), (4, 4), (3, 2)])
def test_winograds_algorithm_in_training(pad: int, hole: int, last: bool, bias: bool) -> None:
    layer = conv(f"num_output: 40 kernel_size: 3 pad: {pad} hole: {hole} bias_term: {bias}".lower(), [(2, 32, 23, 25)])
    x = noise(2, 32, 23, 25)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    assert layer._is_for_winograd(x, layer.weight)
    with torch.no_grad():
        assert not layer._is_for_winograd(x, layer.weight)
        shape = layer(x)[0].shape
    grad = noise(*shape, seed=1)
    found = _gradients(layer, x, grad.contiguous(memory_format=torch.channels_last) if last else grad)
    doubles = [each.detach().double().requires_grad_() for each in (x, layer.weight, *([layer.bias] if bias else []))]
    y = F.conv2d(*doubles, *([] if bias else [None]), padding=pad, dilation=hole)
    for one, other in zip(found, [y, *torch.autograd.grad(y, doubles, grad.double())], strict=True):
        assert relative_error(one.detach().numpy(), other.detach().numpy()) < 1e-6
    # Planes stay planes, and channels-last memory stays so.
    order = torch.channels_last if last else torch.contiguous_format
    assert all(each.is_contiguous(memory_format=order) for each in found[:2])


# Where oneDNN's 16-bit code gave what was in memory, on a processor with AVX-512: a single column with a stride, axes
# that differ, a padding beyond the kernel, kernels of a channel each with a hole.
HALF_THAT_FAILED = [
    ("kernel_size: 3 stride: 2 pad: 1", 16, (64, 2)),
    ("kernel_size: 3 stride: 2 pad: 1", 16, (64, 1)),
    ("kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 1 pad_h: 1 pad_w: 3 hole: 2", 16, (33, 36)),
    ("kernel_size: 3 stride: 2 pad: 3 hole: 2", 16, (1, 9)),
    ("kernel_size: 3 pad: 2 hole: 2 group: 16", 16, (33, 33)),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("params", "channels", "size"), HALF_THAT_FAILED)
def test_half_precision_where_torchs_fails(params: str, channels: int, size: tuple[int, int], last: bool) -> None:
    shape = (2, channels, *size)
    layer = conv(f"num_output: 16 {params}", [shape])
    x = noise(*shape)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    grad = noise(*layer.top_shapes([shape])[0], seed=1)
    layer.context.channels_last = last
    expected = _gradients(layer.double(), x.double(), grad.double())
    layer.float()
    with torch.autocast("cpu", torch.bfloat16):
        found = _gradients(layer, x, grad.bfloat16())
    assert found[0].dtype == torch.bfloat16
    layer.bfloat16()
    with torch.no_grad():
        (plain,) = layer(x.bfloat16())
    assert plain.dtype == torch.bfloat16
    for one, other in [*zip(found, expected, strict=True), (plain, expected[0])]:
        assert relative_error(one.detach().float().numpy(), other.detach().numpy()) < 0.02


@pytest.mark.parametrize("inference", [False, True])
def test_outputs_that_see_padding_alone(inference: bool) -> None:
    # In channels-last memory oneDNN ended in a segmentation fault.
    shape = (1, 33, 17, 1)
    params = "kernel_h: 3 kernel_w: 1 stride_h: 1 stride_w: 3 pad_h: 3 pad_w: 2 hole: 2"
    layer = conv(f"num_output: 2 {params}", [shape], channels_last=True)
    x = noise(*shape).contiguous(memory_format=torch.channels_last)
    expected = F.conv2d(x.contiguous(), layer.weight, layer.bias, (1, 3), (3, 2), (2, 2))
    with torch.set_grad_enabled(not inference):
        torch.testing.assert_close(layer(x)[0], expected)


def test_gradients_that_are_not_wanted_and_gradients_of_gradients() -> None:
    layer = conv("num_output: 32 kernel_size: 3 pad: 1", [(1, 32, 32, 32)])
    x, grad = noise(1, 32, 32, 32), noise(1, 32, 32, 32, seed=1)
    (y,) = layer(x)
    expected = torch.autograd.grad(F.conv2d(x, layer.weight, layer.bias, padding=1), layer.weight, grad)
    for one, other in zip(torch.autograd.grad(y, layer.weight, grad), expected, strict=True):
        assert relative_error(one.numpy(), other.numpy()) < 1e-6

    def curvature(convolve) -> list[torch.Tensor]:
        inputs = x.clone().requires_grad_()
        first = torch.autograd.grad(convolve(inputs).square().sum(), inputs, create_graph=True)[0]
        return list(torch.autograd.grad(first.square().sum(), [inputs, layer.weight]))

    found = curvature(lambda inputs: layer(inputs)[0])
    expected = curvature(lambda inputs: F.conv2d(inputs, layer.weight, layer.bias, padding=1))
    for one, other in zip(found, expected, strict=True):
        assert relative_error(one.numpy(), other.numpy()) < 1e-5


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # torch's own, of its decompositions
@pytest.mark.parametrize("groups", [1, 32])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_transforms_of_functions_are_torchs(groups: int, order: torch.memory_format) -> None:
    """A 3x3 convolution that Winograd's algorithm trains, and a depthwise one."""
    layer = conv(f"num_output: 32 kernel_size: 3 pad: 1 group: {groups}", [(1, 32, 32, 32)])
    x, along = (noise(1, 32, 32, 32, seed=seed).contiguous(memory_format=order) for seed in (0, 1))

    def total(weight: torch.Tensor) -> torch.Tensor:
        (y,) = torch.func.functional_call(layer, {"weight": weight, "bias": layer.bias}, (x,))
        return y.square().sum()

    found = torch.func.grad(total)(layer.weight)
    y = F.conv2d(x, layer.weight, layer.bias, padding=1, groups=groups)
    expected = torch.autograd.grad(y.square().sum(), layer.weight)[0]
    assert relative_error(found.detach().numpy(), expected.numpy()) < 1e-5
    _, tangent = torch.func.jvp(lambda inputs: layer(inputs)[0], (x,), (along,))
    expected = F.conv2d(along, layer.weight, padding=1, groups=groups)
    assert relative_error(tangent.detach().numpy(), expected.detach().numpy()) < 1e-5
    (batched,) = torch.func.vmap(layer)(torch.stack([x, along]))
    assert relative_error(batched[1].detach().numpy(), layer(along)[0].detach().numpy()) < 1e-5


@pytest.mark.parametrize("params", ["group: 1", "group: 32", "engine: CAFFE"])
def test_several_gradients_at_once(params: str) -> None:
    layer = conv(f"num_output: 32 kernel_size: 3 pad: 1 {params}", [(1, 32, 32, 32)])
    x = noise(1, 32, 32, 32).requires_grad_()
    (y,) = layer(x)
    several = noise(2, *y.shape, seed=1)
    found = torch.autograd.grad(y, [x, layer.weight, layer.bias], several, is_grads_batched=True, retain_graph=True)
    for number, one in enumerate(several):
        expected = torch.autograd.grad(y, [x, layer.weight, layer.bias], one, retain_graph=True)
        for a, b in zip(found, expected, strict=True):
            assert relative_error(a[number].numpy(), b.numpy()) < 1e-5


@pytest.mark.parametrize(
    "params",
    [
        "kernel_size: 3 stride: 2",
        "kernel_size: 5",
        "kernel_size: 3 group: 2",
        "kernel_size: 3 pad: 3",
        "kernel_size: 3 hole: 6 pad: 6",
        "kernel_size: 3 engine: CAFFE",
    ],
)
def test_other_convolutions_are_not_winograds(params: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = conv(f"num_output: 32 {params}", [(1, 32, 40, 40)])
    x = noise(1, 32, 40, 40)
    monkeypatch.setattr("deeplab_caffe.layers.convolution.WinogradConvolution.apply", None)
    layer(x)
    narrow = conv("num_output: 31 kernel_size: 3", [(1, 32, 40, 40)])
    narrow(x)
    narrow(x[:, :, :25])
    narrow.double()(x.double())
