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
    direct,
    im2col_product,
    on_sub_grids,
    padded_channels,
    pointwise_product,
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
