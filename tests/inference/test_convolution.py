from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from deeplab_caffe.inference import sub_grids
from deeplab_caffe.inference.convolution import (
    ConvSpec,
    algorithms,
    caffe_engine,
    depthwise,
    direct,
    im2col_product,
    on_sub_grids,
    padded_channels,
    pointwise_product,
    stem,
    winograd,
)
from tests.inference.narrow import error, photo_like

# kernel, stride, pad, hole, group, height, width
GEOMETRIES = [
    (3, 1, 2, 2, 1, 41, 41),
    (3, 1, 12, 12, 1, 41, 37),
    (3, 1, 12, 12, 1, 3, 5),
    (3, 1, 0, 2, 1, 9, 8),
    (3, 1, 3, 2, 1, 10, 7),
    (4, 1, 6, 4, 1, 11, 13),
    (7, 1, 12, 4, 1, 9, 9),
    (3, 1, 5, 6, 2, 12, 7),
    (2, 1, 1, 3, 1, 6, 6),
]


def spec(kernel: int, stride: int, pad: int, hole: int, group: int, *, relu: bool, channels: int = 6) -> ConvSpec:
    generator = torch.Generator().manual_seed(kernel)
    weight = torch.randn((8, channels // group, kernel, kernel), generator=generator)
    weight = weight.contiguous(memory_format=torch.channels_last)
    bias = torch.randn(8, generator=generator)
    return ConvSpec(weight, bias, (stride,) * 2, (pad,) * 2, (hole,) * 2, group, relu)


def image(*shape: int) -> Tensor:
    return photo_like(*shape).contiguous(memory_format=torch.channels_last)


def expected(s: ConvSpec, x: Tensor) -> Tensor:
    y = F.conv2d(x, s.weight, s.bias, s.stride, s.pad, s.dilation, s.groups)
    return y.relu() if s.relu else y


def test_sub_grids_by_hand() -> None:
    x = torch.arange(15.0).view(1, 1, 3, 5)
    grids = sub_grids.split(x, (2, 2), (0, 0))
    assert grids.flatten(1).tolist() == [
        [0, 2, 4, 10, 12, 14],  # even rows, even columns
        [1, 3, 0, 11, 13, 0],  # even rows, odd columns, filled up with zeros
        [5, 7, 9, 0, 0, 0],
        [6, 8, 0, 0, 0, 0],
    ]
    assert torch.equal(sub_grids.join(grids, (2, 2), 1, (3, 5)), x)
    assert sub_grids.dense_padding((12, 3), (12, 2)) == (1, 0)


@pytest.mark.parametrize("hole", [(1, 1), (2, 3), (5, 5)])
def test_splitting_and_joining(hole: tuple[int, int]) -> None:
    x = image(3, 4, 11, 17)
    grids = sub_grids.split(x, hole, (0, 0))
    assert grids.is_contiguous(memory_format=torch.channels_last)
    joined = sub_grids.join(grids, hole, 3, (11, 17))
    assert torch.equal(joined, x)
    assert joined.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_every_way_gives_the_convolution(geometry: tuple, relu: bool) -> None:
    *conv, height, width = geometry
    s = spec(*conv, relu=relu)
    x = image(2, 6, height, width)
    wanted = expected(s, x)
    found = algorithms(s, x.shape)
    assert "sub_grids" in found
    assert ("im2col_product" in found) == (s.groups == 1)
    with torch.no_grad():
        runs = {name: make() for name, make in found.items()}
        runs |= {"sub_grids of direct": on_sub_grids(s, direct), "caffe_engine": caffe_engine(s)}
        for name, run in runs.items():
            got = run(x)
            assert got.shape == wanted.shape, name
            assert error(got, wanted) < 2e-6, name
            if name != "caffe_engine":
                assert got.is_contiguous(memory_format=torch.channels_last), name


def test_strides_leave_no_sub_grids() -> None:
    s = spec(3, 2, 2, 2, 1, relu=True)
    x = image(1, 6, 15, 15)
    assert "sub_grids" not in algorithms(s, x.shape)
    assert error(im2col_product(s)(x), expected(s, x)) < 2e-6


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_products(relu: bool, with_bias: bool) -> None:
    s = spec(1, 1, 0, 1, 1, relu=relu)
    s = s if with_bias else ConvSpec(s.weight, None, s.stride, s.pad, s.dilation, s.groups, relu)
    x = image(2, 6, 5, 7)
    assert "pointwise_product" in algorithms(s, x.shape)
    assert error(pointwise_product(s)(x), expected(s, x)) < 2e-6
    assert error(im2col_product(s)(x), expected(s, x)) < 2e-6


def test_padded_channels() -> None:
    s = spec(3, 1, 1, 1, 1, relu=True, channels=3)
    x = image(2, 3, 9, 9)
    seen = []

    def convolution(padded: ConvSpec):
        seen.append(padded.weight.shape[1])
        return direct(padded)

    assert error(padded_channels(s, convolution)(x), expected(s, x)) < 2e-6
    assert seen == [8]


def test_a_packed_weight_takes_other_sizes() -> None:
    s = spec(3, 1, 2, 2, 1, relu=True)
    found = algorithms(s, (1, 6, 41, 41))
    if "onednn_packed" not in found:
        pytest.skip("this torch build has no oneDNN")
    run = found["onednn_packed"]()
    with torch.no_grad():
        for shape in ((1, 6, 41, 41), (3, 6, 7, 90), (1, 6, 5, 5)):
            x = image(*shape)
            assert error(run(x), expected(s, x)) < 2e-6


@pytest.mark.parametrize("geometry", [(3, 1, 2, 2, 1, 9, 8), (1, 1, 0, 1, 1, 9, 8), (3, 2, 1, 1, 2, 9, 8)])
def test_every_way_stops_at_the_ceiling(geometry: tuple) -> None:
    *conv, height, width = geometry
    bare = spec(*conv, relu=True)
    s, x = replace(bare, ceiling=6.0), image(2, 6, height, width)
    plain = F.conv2d(x, s.weight, s.bias, s.stride, s.pad, s.dilation, s.groups)
    assert plain.max() > 6
    for name, make in algorithms(s, x.shape).items():
        assert error(make()(x), plain.clamp(0, 6)) < 1e-5, name
    assert list(algorithms(s, x.shape)) == list(algorithms(bare, x.shape))
    for way in (direct, caffe_engine):
        assert error(way(s)(x), plain.clamp(0, 6)) < 1e-5
    other = torch.full_like(plain, 2.0, memory_format=torch.channels_last)
    for name, make in algorithms(replace(s, adds=True), x.shape).items():
        assert error(make()(x, other.clone(), True), (plain + 2).clamp(0, 6)) < 1e-5, name


@pytest.mark.parametrize(("hole", "first"), [(1, "cudnn_fused"), (2, "cudnn_fused"), (12, "direct")])
@pytest.mark.parametrize("ceiling", [float("inf"), 6])
def test_the_default_of_a_large_hole_on_a_gpu_is_torchs_own(hole: int, first: str, ceiling: float) -> None:
    with FakeTensorMode():
        weight = torch.empty(1024, 512, 3, 3, device="cuda")
    s = ConvSpec(weight, None, (1, 1), (hole, hole), (hole, hole), 1, relu=True, ceiling=ceiling)
    for adds, name in ((False, first), (True, first.replace("fused", "added"))):
        found = list(algorithms(replace(s, adds=adds), (1, 512, 41, 41)))
        assert found[0] == name


def wide(pad: int = 1, hole: int = 1, *, channels: int = 32, outputs: int = 24, relu: bool = True) -> ConvSpec:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn((outputs, channels, 3, 3), generator=generator)
    return ConvSpec(weight, torch.randn(outputs, generator=generator), (1, 1), (pad,) * 2, (hole,) * 2, 1, relu)


def test_winograd_comes_first_but_for_large_holes() -> None:
    shape = (1, 32, 41, 41)
    for hole in (1, 2, 4):
        assert next(iter(algorithms(wide(hole, hole), shape))) == "winograd_2x2"
    for hole in (1, 12):
        assert next(iter(algorithms(replace(wide(hole, hole), fast=True), shape))) == "winograd_4x4"
    # A direct convolution skips the taps in the padding, and most are there.
    found = algorithms(wide(12, 12), shape)
    assert next(iter(found)) == "onednn_packed"
    assert {"winograd_2x2", "winograd_4x4"} < set(found)
    # The size of the image does not matter.
    assert [*algorithms(wide(), shape)] == [*algorithms(wide(), (4, 32, 3, 300))]
    for other in (
        spec(3, 1, 1, 1, 1, relu=True),  # six channels
        replace(wide(), stride=(2, 2)),
        replace(wide(), weight=wide().weight.double()),
        replace(wide(), weight=wide().weight[:, :, :2]),
        replace(wide(), weight=wide(channels=16).weight, groups=2),
    ):
        assert not any(name.startswith("winograd") for name in algorithms(other, shape))


def first_layer(kernel: int = 3, stride: int = 1, *, relu: bool = True) -> ConvSpec:
    generator = torch.Generator().manual_seed(6)
    weight = torch.randn((24, 3, kernel, kernel), generator=generator)
    bias = torch.randn(24, generator=generator)
    return ConvSpec(weight, bias, (stride,) * 2, (kernel // 2,) * 2, (1, 1), 1, relu)


def test_our_kernel_for_images_comes_first_for_few_channels() -> None:
    for s in (first_layer(), first_layer(7, 2), replace(first_layer(1), dilation=(2, 2))):
        found = algorithms(s, (1, 3, 41, 41))
        assert next(iter(found)) == "stem"
        assert "onednn_packed" in found
    # oneDNN adds as it writes.
    assert next(iter(algorithms(replace(first_layer(), adds=True), (1, 3, 41, 41)))) == "onednn_added"
    for other in (
        wide(),
        replace(first_layer(), dilation=(2, 2)),
        replace(first_layer(), weight=first_layer().weight.double()),
        replace(first_layer(), weight=first_layer().weight[:, :1], groups=3),
    ):
        assert "stem" not in algorithms(other, (1, 3, 41, 41))


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (7, 2)])
def test_our_kernel_for_images_adds_rectifies_and_stops_at_the_ceiling(kernel: int, stride: int, relu: bool) -> None:
    s, x = first_layer(kernel, stride, relu=relu), image(2, 3, 21, 17)
    plain = F.conv2d(x, s.weight, s.bias, stride, kernel // 2)
    other = photo_like(*plain.shape, seed=9)
    assert error(algorithms(s, x.shape)["stem"]()(x), plain.relu() if relu else plain) < 1e-6
    summed = stem(replace(s, adds=True))(x, other, True)
    assert error(summed, (plain + other).relu() if relu else plain + other) < 1e-6
    if relu:
        capped = replace(s, ceiling=6.0)
        assert error(algorithms(capped, x.shape)["stem"]()(x), plain.clamp(0, 6)) < 1e-6


def each(hole: int, *, channels: int = 40, relu: bool = True) -> ConvSpec:
    """A kernel for each channel."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn((channels, 1, 3, 3), generator=generator)
    return ConvSpec(
        weight, torch.randn(channels, generator=generator), (1, 1), (hole,) * 2, (hole,) * 2, channels, relu
    )


def test_our_depthwise_kernel_comes_first_where_onednns_is_slow() -> None:
    shape = (1, 40, 33, 33)
    for hole, first in ((1, "onednn_packed"), (4, "onednn_packed"), (5, "depthwise"), (18, "depthwise")):
        found = algorithms(each(hole), shape)
        assert next(iter(found)) == first
        assert {"onednn_packed", "depthwise"} <= set(found)
    for other in (replace(each(6), weight=each(6).weight.double()), replace(each(6), weight=each(6).weight[:, :, :1])):
        assert ("depthwise" in algorithms(other, shape)) == (other.weight.dtype == torch.float32)
    assert "depthwise" not in algorithms(wide(12, 12), shape)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("hole", [1, 6])
def test_our_depthwise_kernel_adds_rectifies_and_stops_at_the_ceiling(hole: int, relu: bool) -> None:
    s, x = each(hole, relu=relu), image(2, 40, 21, 17)
    plain = F.conv2d(x, s.weight, s.bias, 1, hole, hole, 40)
    other = photo_like(*plain.shape, seed=9)
    assert error(algorithms(s, x.shape)["depthwise"]()(x), plain.relu() if relu else plain) < 1e-6
    for given in (algorithms(replace(s, adds=True), x.shape)["depthwise"](), depthwise(replace(s, adds=True))):
        expected = plain + other
        assert error(given(x, other, True), expected.relu() if relu else expected) < 1e-6
    if relu:
        capped = replace(s, ceiling=6.0)
        assert error(algorithms(capped, x.shape)["depthwise"]()(x), plain.clamp(0, 6)) < 1e-6


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(("pad", "hole"), [(1, 1), (2, 2), (12, 12)])
def test_winograd_adds_rectifies_and_stops_at_the_ceiling(pad: int, hole: int, tile: int, relu: bool) -> None:
    s, x = wide(pad, hole, relu=relu), image(2, 32, 21, 17)
    plain = F.conv2d(x, s.weight, s.bias, 1, pad, hole)
    other = photo_like(*plain.shape, seed=9)
    limit = 2e-6 if tile == 2 else 1e-5
    name = f"winograd_{tile}x{tile}"
    assert error(winograd(s, tile)(x), plain.relu() if relu else plain) < limit
    summed = replace(s, adds=True)
    expected = plain + other
    for given in (algorithms(summed, x.shape)[name](), winograd(summed, tile)):
        assert error(given(x, other, True), expected.relu() if relu else expected) < limit
    if relu:
        capped = replace(s, ceiling=6.0)
        assert error(algorithms(capped, x.shape)[name]()(x), plain.clamp(0, 6)) < 10 * limit


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "hole", "group", "height", "width"),
    [
        (3, 1, 1, 1, 1, 12, 9),
        (3, 2, 1, 1, 1, 64, 2),  # one column
        (3, 2, 1, 1, 2, 64, 9),
        (3, 2, 3, 2, 1, 1, 9),  # a padding beyond what the kernel reaches
        (2, 1, 3, 2, 1, 9, 9),
    ],
)
def test_16_bit_numbers_on_the_cpu(
    kernel: int, stride: int, pad: int, hole: int, group: int, height: int, width: int, adds: bool, dtype: torch.dtype
) -> None:
    s = spec(kernel, stride, pad, hole, group, relu=True, channels=8)
    x = image(2, 8, height, width)
    y = F.conv2d(x.double(), s.weight.double(), s.bias.double(), s.stride, s.pad, s.dilation, s.groups)
    other = photo_like(*y.shape).contiguous(memory_format=torch.channels_last)
    truth = (y + other.double()).relu() if adds else y.relu()
    half = replace(s, weight=s.weight.to(dtype), bias=s.bias.to(dtype), adds=adds)
    named = algorithms(half, x.shape)
    if group > 1:
        assert "onednn_added" not in named
    for name, make in named.items():
        for spare in (False, True) if adds else (None,):
            given = (x.to(dtype),) if spare is None else (x.to(dtype), other.to(dtype), spare)
            found = make()(*given)
            assert found.dtype == dtype
            assert error(found.float(), truth.float()) < 0.02, name


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("adds", [False, True])
def test_outputs_that_see_padding_alone(adds: bool, relu: bool) -> None:
    # oneDNN's code for channels-last memory ended in a segmentation fault.
    weight = torch.randn(2, 33, 3, 1, generator=torch.Generator().manual_seed(1))
    s = ConvSpec(weight, torch.ones(2), (1, 3), (3, 2), (2, 2), 1, relu, adds)
    x = image(1, 33, 17, 1)
    y = F.conv2d(x.contiguous(), weight, s.bias, s.stride, s.pad, s.dilation)
    other = photo_like(*y.shape)
    truth = y + other if adds else y
    truth = truth.relu() if relu else truth
    (make,) = algorithms(s, x.shape).values()
    found = make()(x, other) if adds else make()(x)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, truth)
