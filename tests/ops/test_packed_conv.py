from __future__ import annotations

import copy
import pickle
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.ops import packed_conv
from deeplab_caffe.ops.packed_conv import Geometry, PackedConv2d, supported

GEOMETRIES = [
    # kernel, stride, pad, hole, group
    ((3, 3), (1, 1), (1, 1), (1, 1), 1),
    ((3, 3), (1, 1), (12, 12), (12, 12), 1),
    ((1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((4, 4), (1, 1), (6, 6), (4, 4), 1),
    ((3, 2), (2, 1), (2, 0), (1, 3), 2),
]
DTYPES = [torch.float32] + [torch.bfloat16] * packed_conv.bfloat16_is_fast()


@pytest.fixture(autouse=True)
def _inference() -> None:
    if not packed_conv.operators_exist():
        pytest.skip("this torch has no oneDNN pointwise convolution")
    with torch.no_grad():
        yield


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def plain(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: tuple, relu: bool
) -> torch.Tensor:
    _, stride, pad, hole, group = geometry
    y = F.conv2d(x.contiguous(memory_format=torch.channels_last), weight, bias, stride, pad, hole, group)
    return F.relu(y) if relu else y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_equals_the_plain_convolution(geometry: tuple, dtype: torch.dtype) -> None:
    kernel, *rest = geometry
    weight = noise(8, 4 // geometry[-1], *kernel, seed=1).to(dtype).contiguous(memory_format=torch.channels_last)
    x = noise(2, 4, 15, 17).to(dtype)
    for bias in (noise(8, seed=2).to(dtype), None):
        packed = PackedConv2d(Geometry(*rest))
        for relu in (False, True):
            found, expected = packed(x, weight, bias, relu=relu), plain(x, weight, bias, geometry, relu)
            tolerance = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_sees_what_becomes_of_the_weight() -> None:
    geometry = GEOMETRIES[0]
    packed, x = PackedConv2d(Geometry(*geometry[1:])), noise(1, 4, 9, 9)
    weight = torch.nn.Parameter(noise(8, 4, 3, 3, seed=1))

    def check() -> None:
        torch.testing.assert_close(packed(x, weight, None, relu=False), plain(x, weight, None, geometry, False))

    check()
    weight.mul_(2)
    check()
    weight.copy_(noise(8, 4, 3, 3, seed=3))
    check()
    weight.data = noise(8, 4, 3, 3, seed=4)
    check()
    weight.data.mul_(3)
    packed.clear()
    check()


def test_sees_another_tensor_where_one_lay_that_is_gone() -> None:
    x = torch.ones(1, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    conv = PackedConv2d(Geometry((1, 1), (0, 0), (1, 1), 1))
    memory = torch.empty(16)
    for number in range(3):
        np.copyto(memory.numpy(), number)
        weight = torch.from_numpy(memory.numpy()).view(4, 4, 1, 1)  # the address and the version of the one before
        assert (weight.data_ptr(), weight._version) == (memory.data_ptr(), 0)
        assert conv(x, weight, None, relu=False).eq(4 * number).all()
        del weight


def test_sees_another_size_and_comes_back() -> None:
    geometry = GEOMETRIES[0]
    packed, weight = PackedConv2d(Geometry(*geometry[1:])), noise(8, 4, 3, 3, seed=1)
    for shape in [(1, 4, 9, 9), (2, 4, 20, 5), (1, 4, 1, 1), (1, 4, 9, 9)]:
        x = noise(*shape)
        torch.testing.assert_close(packed(x, weight, None, relu=True), plain(x, weight, None, geometry, True))


def test_another_thread_between_packing_and_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call computes with what it has packed itself; the other one has another weight here, so that it shows."""
    conv, x = PackedConv2d(Geometry((1, 1), (0, 0), (1, 1), 1)), torch.ones(1, 4, 3, 3)
    ones, twos = torch.ones(4, 4, 1, 1), torch.full((4, 4, 1, 1), 2.0)

    def noted(weight: torch.Tensor) -> weakref.ref[torch.Tensor]:
        if weight is ones:  # the moment of the other thread
            assert conv(x, twos, None, relu=False).eq(8).all()
        return weakref.ref(weight)

    monkeypatch.setattr(packed_conv, "weakref", SimpleNamespace(ref=noted))
    assert conv(x, ones, None, relu=False).eq(4).all()
    assert conv(x, ones, None, relu=False).eq(4).all()


def test_the_same_bits_every_time() -> None:
    packed, x, weight = PackedConv2d(Geometry(*GEOMETRIES[1][1:])), noise(1, 4, 30, 30), noise(8, 4, 3, 3, seed=1)
    first = packed(x, weight, None, relu=True)
    assert all(torch.equal(packed(x, weight, None, relu=True), first) for _ in range(3))
    packed.clear()
    assert torch.equal(packed(x, weight, None, relu=True), first)


def test_copies_start_empty() -> None:
    packed, x, weight = PackedConv2d(Geometry(*GEOMETRIES[4][1:])), noise(1, 4, 9, 9), noise(8, 2, 3, 2, seed=1)
    expected = packed(x, weight, None, relu=False)
    for other in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert other._kept is None
        assert torch.equal(other(x, weight, None, relu=False), expected)


def test_what_is_supported() -> None:
    x, weight = noise(1, 4, 9, 9), noise(8, 4, 3, 3)
    assert supported(x, weight)
    with torch.enable_grad():
        assert not supported(x, weight)
    assert not supported(x.double(), weight.double())
    assert not supported(x.bfloat16(), weight)
    assert not supported(x[:0], weight)
    assert not supported(x.to("meta"), weight.to("meta"))
    with torch.inference_mode():
        assert supported(x, weight)
        assert not supported(x, weight.clone())
