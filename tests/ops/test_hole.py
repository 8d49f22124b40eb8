from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from deeplab_caffe.ops.hole import _conv2d, _conv2d_backward, conv2d
from tests.goldens import RELATIVE_TOLERANCE, case_names, relative_error
from tests.ops.golden_op import golden_op


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    x = torch.arange(1.0, 10.0, dtype=dtype, device=device).view(1, 1, 3, 3)
    weight = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]], dtype=dtype, device=device)
    bias = torch.tensor([0.5], dtype=dtype, device=device)
    assert conv2d(x, weight, bias, dilation=2).tolist() == [[[[9731.5]]]]
    assert conv2d(x, weight).tolist() == [[[[5421.0, 6532.0], [8754.0, 9865.0]]]]
    assert conv2d(x, weight[:, :, :1, :1] * 3, bias).flatten().tolist() == [3.0 * k + 0.5 for k in range(1, 10)]


# input, weight, stride, pad, hole, groups
CASES = [
    ((2, 3, 9, 11), (5, 3, 3, 3), (1, 1), (2, 2), (2, 2), 1),
    ((2, 6, 10, 12), (4, 3, 3, 3), (1, 1), (2, 2), (2, 2), 2),
    ((1, 4, 10, 9), (4, 1, 2, 3), (1, 2), (1, 2), (3, 2), 4),
    ((3, 7, 6, 9), (5, 7, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 4, 6, 9), (6, 2, 1, 1), (1, 1), (0, 0), (7, 7), 2),
    ((2, 3, 7, 9), (2, 3, 1, 1), (2, 3), (0, 1), (1, 1), 1),
    ((1, 3, 9, 8), (2, 3, 3, 3), (1, 1), (12, 12), (12, 12), 1),
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_bias", [True, False])
def test_agrees_with_the_other_engine(case: tuple, with_bias: bool, device: str, generator: torch.Generator) -> None:
    shape, weight_shape, *geometry = case
    inputs = [
        torch.randn(size, generator=generator, dtype=torch.float64).to(device).requires_grad_()
        for size in (shape, weight_shape, (weight_shape[0],))
    ]
    if not with_bias:
        inputs[2] = None
    ours = conv2d(*inputs, *geometry)
    theirs = functional.conv2d(*inputs, *geometry)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    grad = torch.randn(ours.shape, generator=generator, dtype=torch.float64).to(device)
    wanted = [tensor for tensor in inputs if tensor is not None]
    for our_grad, their_grad in zip(
        torch.autograd.grad(ours, wanted, grad), torch.autograd.grad(theirs, wanted, grad), strict=True
    ):
        torch.testing.assert_close(our_grad, their_grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", [CASES[1], CASES[4]])
def test_gradcheck(case: tuple, device: str, generator: torch.Generator) -> None:
    shape, weight_shape, *geometry = case
    inputs = [
        torch.randn(size, generator=generator, dtype=torch.float64).to(device).requires_grad_()
        for size in ((1, shape[1], 4, 5), weight_shape, (1, 1, 1, weight_shape[0]))
    ]
    assert gradcheck(lambda *tensors: conv2d(*tensors, *geometry), inputs)
    assert gradgradcheck(lambda *tensors: conv2d(*tensors, *geometry), inputs)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_gradients_only_where_wanted(frozen: int, device: str, generator: torch.Generator) -> None:
    sizes = ((2, 3, 5, 6), (4, 3, 3, 3), (4,))
    inputs = [torch.randn(size, generator=generator).to(device).requires_grad_() for size in sizes]
    all_grads = torch.autograd.grad(conv2d(*inputs, pad=1).sum(), inputs)
    inputs[frozen].requires_grad_(False)
    conv2d(*inputs, pad=1).sum().backward()
    for index, tensor in enumerate(inputs):
        assert (tensor.grad is None) == (index == frozen)
        assert tensor.grad is None or torch.equal(tensor.grad, all_grads[index])


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_non_contiguous(layout: str, kernel: int, device: str, generator: torch.Generator) -> None:
    x = torch.randn((2, 4, 6, 10), generator=generator).to(device)
    x = {
        "channels_last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(2, 3),
        "strided": x[:, ::2, :, 1::3],
    }[layout]
    weight = torch.randn((kernel, kernel, x.shape[1], 5), generator=generator).to(device).permute(3, 2, 0, 1)
    grads = []
    for tensors in ((x, weight), (x.contiguous(), weight.contiguous())):
        tensors = [tensor.detach().requires_grad_() for tensor in tensors]
        y = conv2d(*tensors, pad=1, dilation=2)
        grads.append((y, *torch.autograd.grad(y.square().sum(), tensors)))
    for ours, expected in zip(*grads, strict=True):
        assert torch.equal(ours, expected)


def test_expanded_gradient(device: str) -> None:
    """A sum's gradient is one number with strides 0."""
    x = torch.ones((1, 1, 3, 3), device=device, requires_grad=True)
    conv2d(x, torch.ones((1, 1, 2, 2), device=device)).sum().backward()
    assert x.grad.tolist() == [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4)])
def test_empty(shape: tuple, kernel: int, device: str) -> None:
    x = torch.zeros(shape, device=device, requires_grad=True)
    weight = torch.ones((3, shape[1], kernel, kernel), device=device, requires_grad=True)
    bias = torch.full((3,), 2.0, device=device)
    y = conv2d(x, weight, bias, pad=kernel // 2)
    assert y.shape == (shape[0], 3, 4, 4)
    assert (y == 2.0).all()
    y.sum().backward()
    assert x.grad.shape == shape
    assert not weight.grad.any()


def test_bit_equal_from_run_to_run(device: str, generator: torch.Generator) -> None:
    x = torch.randn((2, 5, 17, 19), generator=generator).to(device).requires_grad_()
    weight = torch.randn((7, 5, 3, 3), generator=generator).to(device).requires_grad_()
    first, *rest = (torch.autograd.grad(conv2d(x, weight, None, 1, 2, 2).square().sum(), (x, weight)) for _ in range(3))
    for again in rest:
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_opcheck(device: str) -> None:
    geometry = ([1, 2], [1, 0], [1, 2], 2)
    x = torch.randn(2, 4, 4, 5, device=device, requires_grad=True)
    weight = torch.randn(6, 2, 3, 2, device=device, requires_grad=True)
    bias = torch.randn(6, device=device, requires_grad=True)
    torch.library.opcheck(_conv2d.torch, (x, weight, bias, *geometry))
    grad = torch.randn_like(_conv2d(x, weight, None, *geometry)).requires_grad_()
    torch.library.opcheck(_conv2d_backward.torch, (grad, x, weight, *geometry, [True, True]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight": torch.zeros(4, 3, 3)}, r"expected weight \(O, C / groups, KH, KW\), got shape \(4, 3, 3\)"),
        ({"groups": 2}, "2 groups, 3 input and 4 output channels"),
        ({"groups": 0}, "0 groups"),
        ({"weight": torch.zeros(4, 2, 3, 3)}, "is for 2 input channels, got an input of 3"),
        ({"bias": torch.zeros(3)}, r"expected 4 biases, got shape \(3,\)"),
        ({"bias": torch.zeros(4).double()}, "but the bias is float64 on cpu"),
        ({"x": torch.zeros(3, 5, 5)}, r"expected x \(N, C, H, W\), got shape \(3, 5, 5\)"),
        ({"x": torch.zeros(1, 3, 5, 5).half()}, "expected x of float32 or float64, got float16"),
        ({"dilation": 3}, "covers 7 pixels and does not fit into 5 with pad 0"),
        ({"stride": (1, 0)}, "stride must be at least 1, got 0"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    good = {"x": torch.zeros(1, 3, 5, 5), "weight": torch.zeros(4, 3, 3, 3)}
    with pytest.raises(ValueError, match=message):
        conv2d(**{**good, **arguments})


# conv_two_bottoms runs one layer on two blobs, which takes a net to replay.
@pytest.mark.parametrize("name", [name for name in case_names("conv_") if name != "conv_two_bottoms"])
def test_golden(name: str, device: str) -> None:
    golden = golden_op(name)
    x, *params = (
        torch.from_numpy(array).to(device).requires_grad_()
        for array in (golden.data["x"], *(golden.params[index] for index in sorted(golden.params)))
    )
    weight, bias = params if len(params) == 2 else (params[0], None)
    y = conv2d(
        x,
        weight,
        bias,
        golden.pair("stride", 1),
        golden.pair("pad", 0),
        golden.pair("hole", 1),
        int(golden.parameters.get("group", ["1"])[0]),
    )
    assert relative_error(y.detach().cpu(), golden.expected_data["y"]) < RELATIVE_TOLERANCE
    y.backward(torch.from_numpy(golden.diff["y"]).to(device))
    assert relative_error(x.grad.cpu(), golden.expected_diff["x"]) < RELATIVE_TOLERANCE
    for index, param in enumerate(params):
        assert relative_error(param.grad.cpu(), golden.expected_param_diff[index]) < RELATIVE_TOLERANCE
