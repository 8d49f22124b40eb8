from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from deeplab_caffe import _C, reference
from deeplab_caffe.arrays import TorchArrays
from deeplab_caffe.ops.depthwise import (
    _depthwise,
    _depthwise_backward,
    _depthwise_channels_last,
    depthwise_conv2d,
    depthwise_conv2d_backward,
    depthwise_conv2d_channels_last,
    depthwise_taps,
)
from tests.goldens import relative_error

ON_CPU = TorchArrays(torch.device("cpu"))


def problem(shape: tuple[int, ...], kernel: tuple[int, int], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """x, weight and bias."""
    generator = torch.Generator().manual_seed(2015)
    shapes = shape, (shape[1], 1, *kernel), (shape[1],)
    return [torch.randn(each, generator=generator, dtype=torch.float64).to(dtype) for each in shapes]


def test_by_hand(dtype: torch.dtype) -> None:
    x = torch.tensor([[[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]]], dtype=dtype)
    weight = torch.tensor([[[[1.0, 10], [100, 1000]]], [[[0, 1], [0, 0]]]], dtype=dtype)
    found = depthwise_conv2d(x, weight, torch.tensor([0.5, 0], dtype=dtype))
    assert found.tolist() == [[[[4321.5]], [[6]]]]
    # With a zero around it, at every other place.
    found = depthwise_conv2d(x, weight, stride=2, pad=1)
    assert found.tolist() == [[[[1000, 200], [30, 4]], [[0, 0], [7, 0]]]]
    # The gradient of an output goes to the pixels that it saw, times the weights, and to the weights, times the pixels.
    grad = torch.tensor([[[[2.0]], [[3]]]], dtype=dtype)
    grad_x, grad_weight, grad_bias = depthwise_conv2d_backward(grad, x, weight)
    assert grad_x.tolist() == [[[[2, 20], [200, 2000]], [[0, 3], [0, 0]]]]
    assert grad_weight.tolist() == [[[[2, 4], [6, 8]]], [[[15, 18], [21, 24]]]]
    assert grad_bias.tolist() == [2, 3]


# (N, C, H, W), kernel, stride, pad, dilation; all but the kernel may be (height, width) or one for both
CASES = [
    ((2, 3, 9, 11), (3, 3), 1, 1, 1),
    ((2, 3, 9, 11), (3, 3), 2, 1, 1),
    ((1, 2, 25, 25), (5, 5), 1, 4, 2),
    ((1, 4, 49, 49), (5, 5), 2, 2, 1),
    ((2, 2, 13, 13), (3, 3), 1, 18, 18),
    ((3, 2, 13, 10), (2, 5), (3, 2), (0, 3), (2, 1)),
    ((2, 3, 7, 7), (1, 1), 3, 0, 1),
    ((1, 3, 8, 9), (3, 3), 3, 0, 1),
    ((1, 1, 5, 5), (1, 1), 1, 2, 1),
    ((2, 2, 10, 10), (3, 3), 2, 5, 2),
    ((1, 2, 5, 700), (3, 1), 1, 1, 1),
    ((1, 2, 130, 70), (7, 4), 4, 3, 3),
    ((1, 1, 1, 3000), (1, 2), 1, 0, 7),
    ((2, 2, 6, 6), (6, 2), (1, 9), 0, 1),
    ((1, 2, 3, 3), (3, 3), 1, 7, 1),
]


@pytest.mark.parametrize("case", CASES)
def test_it_is_torchs_in_double_precision(case: tuple, dtype: torch.dtype) -> None:
    shape, kernel, *geometry = case
    given = problem(shape, kernel, dtype)
    leaves = [each.clone().requires_grad_() for each in given]
    doubles = [each.double().requires_grad_() for each in given]
    y, expected = depthwise_conv2d(*leaves, *geometry), F.conv2d(*doubles, *geometry, shape[1])
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    found = y, *torch.autograd.grad(y, leaves, grad)
    limit = 1e-12 if dtype == torch.float64 else 1e-6
    for a, b in zip(found, (expected, *torch.autograd.grad(expected, doubles, grad.double())), strict=True):
        assert relative_error(a.detach().double().numpy(), b.detach().numpy()) < limit


@pytest.mark.parametrize("case", [CASES[0], CASES[5], CASES[6], CASES[9]])
def test_it_is_the_slow_reference(case: tuple) -> None:
    shape, kernel, *geometry = case
    given = problem(shape, kernel)
    pairs = [each if isinstance(each, tuple) else (each, each) for each in geometry]
    expected = reference.conv2d(*(each.numpy() for each in given), *pairs, shape[1])
    assert relative_error(depthwise_conv2d(*given, *geometry).numpy(), expected) < 1e-12


def test_strides_that_are_not_contiguous(dtype: torch.dtype) -> None:
    x, weight, bias = problem((2, 6, 9, 8), (3, 3), dtype)
    expected = depthwise_conv2d(x, weight, bias, pad=1)
    grad = torch.randn(expected.shape, dtype=dtype)
    gradients = depthwise_conv2d_backward(grad, x, weight, pad=1)[:2]

    def loose(t: Tensor) -> Tensor:
        return torch.stack([t, t + 1], -1)[..., 0]

    for change in (lambda t: t.contiguous(memory_format=torch.channels_last), loose):
        found = depthwise_conv2d(change(x), change(weight), loose(bias), pad=1)
        assert torch.equal(found, expected)
        assert found.is_contiguous()
        again = depthwise_conv2d_backward(change(grad), change(x), change(weight), pad=1)[:2]
        for a, b in zip(again, gradients, strict=True):
            assert torch.equal(a, b)
    assert torch.equal(depthwise_conv2d(x[:, :, 1:, 2:], weight), depthwise_conv2d(x[:, :, 1:, 2:].clone(), weight))


def test_empty(dtype: torch.dtype) -> None:
    x, weight, bias = problem((0, 2, 4, 4), (3, 3), dtype)
    assert depthwise_conv2d(x, weight, bias).shape == (0, 2, 2, 2)
    gradients = depthwise_conv2d_backward(torch.zeros((0, 2, 2, 2), dtype=dtype), x, weight)
    assert [tuple(each.shape) for each in gradients] == [(0, 2, 4, 4), (2, 1, 3, 3), (2,)]
    assert not gradients[1].any()
    # An image without rows in its padding: the bias alone.
    nothing = torch.zeros((1, 2, 0, 4), dtype=dtype)
    found = depthwise_conv2d(nothing, weight, bias, pad=2)
    assert found.shape == (1, 2, 2, 6)
    assert torch.equal(found, bias.view(1, 2, 1, 1).expand_as(found))
    assert not depthwise_conv2d_backward(found, nothing, weight, pad=2)[1].any()


def test_bit_equal_from_run_to_run_and_for_any_number_of_threads(dtype: torch.dtype) -> None:
    for shape, kernel, stride, pad, dilation in (CASES[2], CASES[3], ((3, 70, 65, 33), (3, 3), 1, 1, 1)):
        x, weight, bias = problem(shape, kernel, dtype)
        results = []
        for threads in (1, 2, 5, 1):
            _C.set_num_threads(threads)
            y = depthwise_conv2d(x, weight, bias, stride, pad, dilation)
            results.append((y, *depthwise_conv2d_backward(y, x, weight, stride, pad, dilation)[:2]))
        _C.set_num_threads(0)
        for result in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize(("stride", "pad", "dilation"), [(1, 1, 1), (2, 2, 2), ((3, 1), (0, 2), (1, 2))])
def test_gradcheck(stride: object, pad: object, dilation: object) -> None:
    inputs = [each.requires_grad_() for each in problem((2, 2, 6, 5), (3, 2))]
    assert gradcheck(lambda *given: depthwise_conv2d(*given, stride, pad, dilation), inputs)
    assert gradgradcheck(lambda *given: depthwise_conv2d(*given, stride, pad, dilation), inputs)


def test_only_what_is_asked_for_has_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem((1, 2, 5, 5), (3, 3))
    expected = depthwise_conv2d_backward(torch.ones((1, 2, 3, 3), dtype=torch.float64), *given[:2])
    asked: list[list[bool]] = []
    backward = _C.depthwise_backward
    monkeypatch.setattr(
        _C, "depthwise_backward", lambda *a: asked.append([each is not None for each in a[3:5]]) or backward(*a)
    )
    for number in range(3):
        tensors = [each.clone() for each in given]
        tensors[number].requires_grad_()
        depthwise_conv2d(*tensors).sum().backward()
        assert torch.equal(tensors[number].grad, expected[number])
        assert all(each.grad is None for i, each in enumerate(tensors) if i != number)
    assert asked == [[True, False], [False, True]]


def test_opcheck(dtype: torch.dtype) -> None:
    x, weight, bias = problem((2, 2, 6, 5), (3, 3), dtype)
    geometry = [2, 1], [1, 1], [1, 2], 2
    grad = torch.randn_like(depthwise_conv2d(x, weight, bias, (2, 1), (1, 1), (1, 2)))
    leaves = [each.requires_grad_() for each in (x, weight, bias)]
    torch.library.opcheck(_depthwise.torch, (*leaves, *geometry))
    torch.library.opcheck(_depthwise.torch, (x.detach(), weight.detach(), None, *geometry))
    for wanted in ([True, True], [True, False], [False, True]):
        torch.library.opcheck(_depthwise_backward.torch, (grad, x, weight, *geometry, wanted))


def test_numpy(dtype: torch.dtype) -> None:
    given = problem((2, 2, 6, 5), (3, 3), dtype)
    arrays = [np.asfortranarray(each.numpy()) for each in given]
    y = depthwise_conv2d(*given, pad=1)
    assert np.array_equal(depthwise_conv2d(*arrays, pad=1), y.numpy())
    found = depthwise_conv2d_backward(y.numpy(), *arrays[:2], pad=1)
    for a, b in zip(found, depthwise_conv2d_backward(y, *given[:2], pad=1), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 4, 4)}, r"expected x \(N, C, H, W\)"),
        ({"x": torch.zeros(1, 2, 4, 4, dtype=torch.float16)}, "expected x of float32 or float64, got float16"),
        ({"weight": torch.zeros(4, 1, 3, 3)}, "2 groups, 2 input and 4 output channels"),
        ({"weight": torch.zeros(2, 2, 3, 3)}, "is for 4 input channels, got an input of 2"),
        ({"weight": torch.zeros(2, 1, 3, 3).double()}, "input is float32 on cpu, but the weight is float64 on cpu"),
        ({"weight": torch.zeros(2, 3, 3)}, "expected weight"),
        ({"bias": torch.zeros(3)}, r"expected 2 biases, got shape \(3,\)"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"pad": -1}, "pad must be at least 0, got -1"),
        ({"dilation": (1, 0)}, "dilation must be at least 1, got 0"),
        ({"dilation": 2}, "a kernel of 3 with dilation 2 covers 5 pixels and does not fit into 4"),
        ({"stride": 2**31}, "stride, pad or dilation is over 2147483647"),
        ({"stride": (1, 2, 3)}, r"stride must be one number or \(height, width\)"),
    ],
)
def test_bad_arguments(change: dict[str, object], message: str) -> None:
    good = {"x": torch.zeros(1, 2, 4, 4), "weight": torch.zeros(2, 1, 3, 3)}
    with pytest.raises(ValueError, match=message):
        depthwise_conv2d(**{**good, **change})


def test_a_bad_gradient_and_the_bindings_own_checks() -> None:
    x, weight, bias = problem((1, 2, 4, 4), (3, 3), torch.float32)
    with pytest.raises(ValueError, match=r"expected grad \(1, 2, 2, 2\), got shape \(1, 2, 4, 4\)"):
        depthwise_conv2d_backward(x, x, weight)
    with pytest.raises(ValueError, match="expected a tensor on cpu or cuda, got one on meta"):
        _depthwise.torch._init_fn(x.to("meta"), weight.to("meta"), None, [1, 1], [0, 0], [1, 1], 2)
    views = [ON_CPU.view(each) for each in (x, weight, bias, torch.zeros(1, 2, 2, 2))]
    geometry = (1, 1), (0, 0), (1, 1)
    _C.depthwise_forward(*views, *geometry)
    with pytest.raises(ValueError, match="y: expected"):
        _C.depthwise_forward(*views[:3], views[0], *geometry)
    with pytest.raises(ValueError, match="x: expected contiguous"):
        _C.depthwise_forward(ON_CPU.view(x.mT), *views[1:], *geometry)
    with pytest.raises(ValueError, match="grad_weight: expected"):
        _C.depthwise_backward(views[3], *views[:2], None, views[0], *geometry)


def test_a_stride_longer_than_the_image() -> None:
    x, weight, _ = problem((1, 2, 4, 4), (3, 3))
    expected = depthwise_conv2d(x, weight)[:, :, :1, :1]
    for long in (2, 5, 2**31 - 1):
        assert torch.equal(depthwise_conv2d(x, weight, stride=long), expected)


def test_channels_last_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2], [3, 4]], [[5, 6], [7, 8]]]])
    taps = depthwise_taps(torch.tensor([[[[1.0, 10], [100, 1000]]], [[[0, 1], [0, 0]]]]))
    assert taps.tolist() == [[[1, 0], [10, 1]], [[100, 0], [1000, 0]]]
    found = depthwise_conv2d_channels_last(x, taps, torch.tensor([0.5, 0]))
    assert found.tolist() == [[[[4321.5]], [[6]]]]
    found = depthwise_conv2d_channels_last(x, taps, stride=2, pad=1)
    assert found.tolist() == [[[[1000, 200], [30, 4]], [[0, 0], [7, 0]]]]
    found = depthwise_conv2d_channels_last(-x, taps, torch.tensor([2.0, 9]), stride=2, pad=1, relu=True, ceiling=7)
    assert found.tolist() == [[[[0, 0], [0, 0]], [[7, 7], [2, 7]]]]


# A block of channels and more, whole vectors of each width and what is left over; outputs four at a time and singly.
WIDE = [
    ((1, 128, 6, 9), (3, 3), 1, 6, 6),
    ((2, 150, 5, 13), (3, 3), 1, (2, 12), (2, 12)),
    ((1, 299, 7, 6), (5, 5), 1, 8, 4),
    ((1, 37, 33, 3), (2, 3), (2, 1), (1, 2), 1),
]


@pytest.mark.parametrize("case", CASES + WIDE)
def test_channels_last_has_the_same_bits(case: tuple) -> None:
    """The order of a sum is the same one; what lies outside of the image adds a zero there and nothing here."""
    shape, kernel, *geometry = case
    x, weight, bias = problem(shape, kernel, torch.float32)
    taps = depthwise_taps(weight)
    for summand in (bias, None):
        expected = depthwise_conv2d(x, weight, summand, *geometry)
        for image in (x, x.contiguous(memory_format=torch.channels_last)):
            found = depthwise_conv2d_channels_last(image, taps, summand, *geometry)
            assert torch.equal(found, expected)
            assert found.is_contiguous(memory_format=torch.channels_last)
        rectified = depthwise_conv2d_channels_last(x, taps, summand, *geometry, relu=True, ceiling=0.5)
        assert torch.equal(rectified, expected.clamp(0, 0.5))


def test_channels_last_is_bit_equal_for_any_number_of_threads() -> None:
    x, weight, bias = problem((3, 300, 33, 17), (3, 3), torch.float32)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        results.append(depthwise_conv2d_channels_last(x, depthwise_taps(weight), bias, 1, 6, 6))
    _C.set_num_threads(0)
    assert all(torch.equal(result, results[0]) for result in results)


def test_channels_last_keeps_what_is_not_a_number() -> None:
    x = torch.full((1, 5, 3, 3), torch.nan)
    found = depthwise_conv2d_channels_last(x, depthwise_taps(torch.ones(5, 1, 1, 1)), relu=True, ceiling=6)
    assert found.isnan().all()


def test_channels_last_empty() -> None:
    _, weight, bias = problem((1, 2, 4, 4), (3, 3), torch.float32)
    taps = depthwise_taps(weight)
    assert depthwise_conv2d_channels_last(torch.zeros(0, 2, 4, 4), taps, bias).shape == (0, 2, 2, 2)
    found = depthwise_conv2d_channels_last(torch.zeros((1, 2, 0, 4)), taps, bias, pad=2)
    assert torch.equal(found, bias.view(1, 2, 1, 1).expand(1, 2, 2, 6))
    arrays = taps.numpy(), bias.numpy()
    assert depthwise_conv2d_channels_last(np.zeros((0, 2, 4, 4), np.float32), *arrays).shape == (0, 2, 2, 2)
    assert np.array_equal(depthwise_conv2d_channels_last(np.zeros((1, 2, 0, 4), np.float32), *arrays, pad=2), found)
    bias = torch.tensor([-1.0, 9.0])
    rectified = depthwise_conv2d_channels_last(torch.zeros((1, 2, 4, 0)), taps, bias, pad=2, relu=True, ceiling=6)
    assert torch.equal(rectified, torch.tensor([0.0, 6.0]).view(1, 2, 1, 1).expand(1, 2, 6, 2))
    assert not depthwise_conv2d_channels_last(torch.zeros((1, 2, 0, 4)), taps, pad=2).any()


def test_channels_last_opcheck_and_numpy() -> None:
    x, weight, bias = problem((2, 5, 6, 5), (3, 3), torch.float32)
    taps = depthwise_taps(weight)
    for summand in (bias, None):
        arguments = x, taps, summand, [2, 1], [1, 1], [1, 2], True, 6.0
        torch.library.opcheck(_depthwise_channels_last.torch, arguments)
    found = depthwise_conv2d_channels_last(x.numpy(), depthwise_taps(weight.numpy()), bias.numpy(), pad=1)
    assert np.array_equal(found, depthwise_conv2d(x, weight, bias, pad=1).numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 4, 4)}, r"expected x \(N, C, H, W\)"),
        ({"x": torch.zeros(1, 2, 4, 4).double()}, "expected x of float32, got float64"),
        ({"taps": torch.zeros(3, 3, 4)}, r"from depthwise_taps for 2 channels, got one of shape \(3, 3, 4\)"),
        ({"taps": torch.zeros(2, 1, 3, 3)}, r"from depthwise_taps for 2 channels, got one of shape \(2, 1, 3, 3\)"),
        ({"taps": torch.zeros(3, 3, 2).double()}, "is float32 on cpu, but the weight is float64 on cpu"),
        ({"taps": torch.zeros(3, 3, 2, device="meta")}, "is float32 on cpu, but the weight is float32 on meta"),
        (
            {"taps": np.zeros((3, 3, 2), np.float32)},
            "float32 on cpu of torch, but the weight is float32 on cpu of numpy",
        ),
        ({"bias": torch.zeros(3)}, r"bias: expected shape \(2\), got float32 \(3\)"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"dilation": 2}, "a kernel of 3 with dilation 2 covers 5 pixels and does not fit into 4"),
    ],
)
def test_channels_last_bad_arguments(change: dict[str, object], message: str) -> None:
    good = {"x": torch.zeros(1, 2, 4, 4), "taps": torch.zeros(3, 3, 2)}
    with pytest.raises(ValueError, match=message):
        depthwise_conv2d_channels_last(**{**good, **change})


def test_the_weight_of_another_convolution_has_no_taps() -> None:
    with pytest.raises(ValueError, match=r"expected a weight \(C, 1, KH, KW\), got shape \(2, 2, 3, 3\)"):
        depthwise_taps(torch.zeros(2, 2, 3, 3))
