from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe import _C, reference
from deeplab_caffe.arrays import TorchArrays
from deeplab_caffe.ops.winograd import (
    LEAST_CHANNELS,
    TILES,
    _winograd_conv2d,
    _winograd_weight,
    clear_cache,
    winograd_conv2d,
    winograd_weight,
)
from tests.goldens import relative_error

ON_CPU = TorchArrays(torch.device("cpu"))
LIMITS = {2: 1e-6, 4: 5e-6}


def problem(n: int, channels: int, outputs: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """x, weight and bias."""
    generator = torch.Generator().manual_seed(2016)
    x = torch.randn((n, channels, height, width), generator=generator)
    weight = torch.randn((outputs, channels, 3, 3), generator=generator) / (3 * channels**0.5)
    return x, weight, torch.randn(outputs, generator=generator)


def convolve(x: Tensor, weight: Tensor, tile: int, bias: Tensor | None = None, **given: object) -> Tensor:
    return winograd_conv2d(x, winograd_weight(weight, tile), weight.shape[0], bias, **given)


@pytest.mark.parametrize("tile", TILES)
def test_by_hand(tile: int) -> None:
    # One pixel of one channel: its eight neighbours and itself see one tap each.
    x = torch.zeros((1, LEAST_CHANNELS, 3, 3))
    x[0, 2, 1, 1] = 2
    weight = torch.zeros((1, LEAST_CHANNELS, 3, 3))
    weight[0, 2] = torch.arange(1.0, 10).view(3, 3)
    found = convolve(x, weight, tile, torch.tensor([0.5]))
    assert found.flatten().tolist() == pytest.approx([18.5, 16.5, 14.5, 12.5, 10.5, 8.5, 6.5, 4.5, 2.5], abs=1e-5)
    # With a hole of 2 the corners of a 3x3 image do not see its centre's neighbours, but each other.
    x = torch.arange(1.0, 10).view(1, 1, 3, 3).expand(1, LEAST_CHANNELS, 3, 3) / LEAST_CHANNELS
    found = convolve(x, torch.ones((1, LEAST_CHANNELS, 3, 3)), tile, pad=2, dilation=2)
    assert found.flatten().tolist() == pytest.approx([20, 10, 20, 10, 5, 10, 20, 10, 20], abs=1e-4)


def test_a_transformed_weight_by_hand() -> None:
    weight = torch.zeros((1, 1, 3, 3))
    weight[0, 0, 0] = torch.tensor([4.0, 2, 6])
    found = winograd_weight(weight, 2)
    assert found.shape == (16, 1, 1, 16)
    assert found[:, 0, 0, 0].view(4, 4).tolist() == [[4, 6, 4, 6], [2, 3, 2, 3], [2, 3, 2, 3], [0, 0, 0, 0]]
    assert not found[..., 1:].any()  # there is one output


@pytest.mark.parametrize("tile", TILES)
def test_a_transformed_weight_is_the_slow_references(tile: int) -> None:
    _, weight, _ = problem(1, 5, 21, 1, 1)
    expected = reference.winograd_weight(weight.double().numpy(), tile)
    found = winograd_weight(weight, tile)
    assert found.shape == ((tile + 2) ** 2, 2, 5, 16)
    found = found.permute(1, 3, 2, 0).reshape(32, 5, tile + 2, tile + 2)
    # Rounded once, from sums in another order.
    np.testing.assert_allclose(found[:21].numpy(), expected, rtol=1.2e-7, atol=1e-12)
    assert not found[21:].any()


# (N, C, O, H, W), pad, dilation
CASES = [
    ((1, 16, 16, 4, 4), 1, 1),
    ((2, 16, 8, 9, 11), 1, 1),
    ((1, 64, 64, 33, 17), 1, 1),
    ((1, 130, 70, 12, 13), 1, 1),
    ((2, 33, 21, 41, 41), 2, 2),
    ((1, 48, 40, 41, 41), 12, 12),
    ((1, 17, 1, 41, 37), 12, 12),
    ((1, 20, 19, 3, 5), 12, 12),
    ((1, 16, 16, 10, 7), (3, 0), (2, 1)),
    ((1, 31, 33, 7, 9), (5, 1), (3, 4)),
    ((1, 16, 16, 1, 1), 1, 1),
    ((1, 300, 17, 5, 6), 0, 1),
    ((3, 16, 16, 3, 70), 4, 1),
]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", CASES)
def test_it_is_torchs_in_double_precision(case: tuple, tile: int) -> None:
    shape, pad, dilation = case
    x, weight, bias = problem(*shape)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), 1, pad, dilation)
    found = convolve(x, weight, tile, bias, pad=pad, dilation=dilation)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.shape == expected.shape
    assert relative_error(found.double().numpy(), expected.numpy()) < LIMITS[tile]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[8], CASES[9]])
def test_it_is_the_slow_reference(case: tuple, tile: int) -> None:
    shape, pad, dilation = case
    x, weight, _ = problem(*shape)
    pairs = [each if isinstance(each, tuple) else (each, each) for each in (pad, dilation)]
    expected = reference.winograd_conv2d(x.double().numpy(), weight.double().numpy(), tile, *pairs)
    direct = F.conv2d(x.double(), weight.double(), None, 1, pad, dilation)
    assert relative_error(expected, direct.numpy()) < 1e-13
    found = convolve(x, weight, tile, pad=pad, dilation=dilation)
    assert relative_error(found.numpy(), expected) < LIMITS[tile]


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("outputs", [16, 21])
def test_sum_rectifier_and_ceiling(tile: int, outputs: int) -> None:
    x, weight, bias = problem(2, 16, outputs, 9, 8)
    other = torch.randn((2, outputs, 9, 8), generator=torch.Generator().manual_seed(1))
    bare = convolve(x, weight, tile, bias)
    assert torch.equal(convolve(x, weight, tile, bias, relu=True), bare.clamp(min=0))
    assert torch.equal(convolve(x, weight, tile, bias, relu=True, ceiling=0.75), bare.clamp(0, 0.75))
    assert torch.equal(convolve(x, weight, tile, bias, other=other), bare + other)
    assert torch.equal(convolve(x, weight, tile, bias, other=other, relu=True), (bare + other).clamp(min=0))
    assert torch.equal(convolve(x, weight, tile), convolve(x, weight, tile, torch.zeros(outputs)))
    assert torch.equal(convolve(x, weight, tile, bias, ceiling=0.1), bare)  # of what is rectified alone


@pytest.mark.parametrize("tile", TILES)
def test_strides_and_libraries(tile: int) -> None:
    x, weight, bias = problem(2, 18, 20, 9, 8)
    other = torch.ones((2, 20, 9, 8))
    transformed = winograd_weight(weight, tile)
    expected = winograd_conv2d(x, transformed, 20, bias, other=other)

    def loose(t: Tensor) -> Tensor:
        return torch.stack([t, t + 1], -1)[..., 0]

    assert torch.equal(winograd_weight(loose(weight), tile), transformed)
    for change in (lambda t: t.contiguous(memory_format=torch.channels_last), loose):
        found = winograd_conv2d(change(x), loose(transformed), 20, loose(bias), other=change(other))
        assert torch.equal(found, expected)
    given = (x.numpy(), winograd_weight(weight.numpy(), tile), 20, bias.numpy())
    found = winograd_conv2d(*given, other=other.numpy())
    assert isinstance(found, np.ndarray)
    assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("shape", "dilation"), [((1, 64, 80, 41, 43), 1), ((2, 40, 33, 30, 30), 5)])
def test_the_same_bits_with_any_number_of_threads(tile: int, shape: tuple, dilation: int) -> None:
    x, weight, bias = problem(*shape)
    found = []
    for threads in (1, 2, 3, 7):
        _C.set_num_threads(threads)
        try:
            found.append(convolve(x, weight, tile, bias, pad=dilation, dilation=dilation))
        finally:
            _C.set_num_threads(0)
    assert all(torch.equal(each, found[0]) for each in found)
    # And alone or in a batch.
    one = convolve(x[:1], weight, tile, bias, pad=dilation, dilation=dilation)
    assert torch.equal(one, found[0][:1])


@pytest.mark.parametrize("tile", TILES)
def test_what_is_not_finite(tile: int) -> None:
    x, weight, bias = problem(1, 16, 16, 12, 12)
    expected = convolve(x, weight, tile, bias, relu=True)
    x[0, 3, 0, 0] = float("nan")
    found = convolve(x, weight, tile, bias, relu=True)
    assert found[0, :, 0, 0].isnan().all()  # a rectifier does not hide it
    assert torch.equal(found[0, :, 6:, 6:], expected[0, :, 6:, 6:])


@pytest.mark.parametrize("tile", TILES)
def test_nothing(tile: int) -> None:
    _, weight, bias = problem(1, 16, 16, 1, 1)
    assert convolve(torch.zeros((0, 16, 4, 4)), weight, tile, bias).shape == (0, 16, 4, 4)
    found = convolve(torch.zeros((1, 16, 0, 2)), weight, tile, bias, pad=2)
    assert torch.equal(found, bias.view(1, -1, 1, 1).expand(1, 16, 2, 4))
    assert convolve(torch.zeros((1, 16, 3, 3)), weight[:0], tile).shape == (1, 0, 3, 3)


@pytest.mark.parametrize("tile", TILES)
def test_opcheck(tile: int) -> None:
    x, weight, bias = problem(2, 17, 18, 5, 6)
    torch.library.opcheck(_winograd_weight.torch, (weight, tile))
    transformed = winograd_weight(weight, tile)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.library.opcheck(_winograd_conv2d.torch, (given, transformed, bias, None, 18, [1, 1], [1, 1], True, 6.0))


def test_refusals() -> None:
    x, weight, bias = problem(1, 16, 16, 5, 5)
    transformed = winograd_weight(weight, 2)
    with pytest.raises(ValueError, match="winograd_weight: expected tile 2 or 4, got 3"):
        winograd_weight(weight, 3)
    with pytest.raises(ValueError, match=r"expected a weight \(O, C, 3, 3\), got shape \(16, 16, 1, 3\)"):
        winograd_weight(weight[:, :, :1], 2)
    with pytest.raises(ValueError, match="expected weight of float32, got float64"):
        winograd_weight(weight.double(), 2)
    with pytest.raises(ValueError, match="expected x of float32, got float64"):
        winograd_conv2d(x.double(), transformed, 16)
    with pytest.raises(ValueError, match=r"expected a weight from winograd_weight, got one of shape \(15, 16, 3, 3\)"):
        winograd_conv2d(x, weight[:15], 16)
    for outputs in (17, 0, -3):
        with pytest.raises(ValueError, match=f"expected 1 to 16 outputs, which the weight is for, got {outputs}"):
            winograd_conv2d(x, transformed, outputs)
    with pytest.raises(ValueError, match="is float32 on cpu, but the weight is float32 on meta"):
        winograd_conv2d(x, transformed.to("meta"), 16)
    with pytest.raises(ValueError, match=r"expected other \(N, C, H, W\), got shape \(16, 5, 5\)"):
        winograd_conv2d(x, transformed, 16, other=torch.zeros(16, 5, 5))
    with pytest.raises(ValueError, match=r"winograd: expected at least 16 channels, got float32 \(1, 15, 5, 5\)"):
        winograd_conv2d(x[:, :15], winograd_weight(weight[:, :15], 2), 16)
    with pytest.raises(ValueError, match=r"bias: expected shape \(16\), got float32 \(15\)"):
        winograd_conv2d(x, transformed, 16, bias[:15])
    with pytest.raises(ValueError, match=r"other: expected shape \(1, 16, 5, 5\)"):
        winograd_conv2d(x, transformed, 16, other=x[:, :, 1:])
    with pytest.raises(ValueError, match="does not fit into 5 with pad 0"):
        winograd_conv2d(x, transformed, 16, pad=0, dilation=3)
    with pytest.raises(ValueError, match="expected tile 2 or 4, got 3"):
        _C.winograd_transform_weight(ON_CPU.view(weight), ON_CPU.view(transformed), 3)
    y = torch.empty((1, 16, 5, 5)).contiguous(memory_format=torch.channels_last)
    last = x.contiguous(memory_format=torch.channels_last)
    views = [ON_CPU.view(each) for each in (x, transformed, y, last)]
    numbers = (2, (1, 1), (1, 1), False, 6.0)
    with pytest.raises(ValueError, match="x: expected channels-last memory without gaps"):
        _C.winograd_forward(views[0], views[1], None, None, views[2], *numbers)
    with pytest.raises(ValueError, match=r"y: expected shape \(1, 16, 3, 3\)"):
        _C.winograd_forward(views[3], views[1], None, None, views[2], 2, (0, 0), (1, 1), False, 6.0)


def test_an_empty_batch_of_either_library() -> None:
    transformed = winograd_weight(torch.ones(16, 16, 3, 3), 2)
    for x, weight in (
        (torch.zeros(0, 16, 4, 4), transformed),
        (np.zeros((0, 16, 4, 4), np.float32), transformed.numpy()),
    ):
        assert winograd_conv2d(x, weight, 16).shape == (0, 16, 4, 4)


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="under AddressSanitizer nothing is kept")
def test_memory_is_kept_for_the_next_call_and_given_back() -> None:
    weight = torch.ones(16, 16, 3, 3)
    winograd_conv2d(torch.ones(1, 16, 40, 40), winograd_weight(weight, 2), 16)
    assert 0 < _C.winograd_kept_bytes() <= 1 << 28
    clear_cache()
    assert _C.winograd_kept_bytes() == 0


def test_one_buffer_for_each_thread_serves_layers_of_all_sizes() -> None:
    clear_cache()
    weights = [winograd_weight(torch.ones(16, channels, 3, 3), 2) for channels in (16, 40, 100, 64)]
    _C.set_num_threads(2)
    try:
        for _ in range(50):
            for weight in weights:
                winograd_conv2d(torch.ones(1, weight.shape[2], 90, 90), weight, 16)
        # 192 tiles' numbers of 100 channels and more are below a megabyte; threads that come at the same time wait.
        assert _C.winograd_kept_bytes() <= 16 << 20
    finally:
        _C.set_num_threads(0)
        clear_cache()
