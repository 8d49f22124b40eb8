from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from deeplab_caffe import _C, reference
from deeplab_caffe.ops.domain_transform import (
    _domain_transform,
    _domain_transform_backward,
    domain_transform,
    domain_transform_backward,
)
from tests.goldens import RELATIVE_TOLERANCE, case_names, relative_error
from tests.replay import replay

HALF = math.sqrt(2) / math.log(2)  # the spatial_sigma of which, in one iteration, weights without an edge are 1 / 2


def problem(shape: tuple, dtype: torch.dtype, device: str, generator: torch.Generator) -> tuple:
    """Scores, edges and a gradient."""
    x, grad = (torch.randn(shape, generator=generator, dtype=dtype).to(device) for _ in range(2))
    edges = 8 * torch.rand((shape[0], 1, *shape[2:]), generator=generator, dtype=dtype).to(device)
    return x, edges, grad


def test_by_hand(device: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[[[0.0, 4.0, 8.0]]]], dtype=dtype, device=device, requires_grad=True)
    edges = torch.zeros((1, 1, 1, 3), dtype=dtype, device=device, requires_grad=True)
    options = {"iterations": 1, "spatial_sigma": HALF, "range_sigma": HALF}
    y = domain_transform(x, edges, **options)
    torch.testing.assert_close(y.flatten().tolist(), [1.75, 3.5, 5.0])
    y.sum().backward()
    # To the right 0, 2, 5; of the last pixel's half back again 1 / 2, 1 / 4 and 1 / 8.
    torch.testing.assert_close(x.grad.flatten().tolist(), [1.3125, 0.8125, 0.875])
    expected = reference.domain_transform(
        x.detach().cpu().numpy(), np.zeros((1, 1, 1, 3)), grad=np.ones((1, 1, 1, 3)), **options
    )
    torch.testing.assert_close(edges.grad.flatten().tolist(), expected[1].ravel().tolist(), rtol=1e-5, atol=1e-5)
    sizes = torch.tensor([[1.0, 2.9]], device=device)
    torch.testing.assert_close(domain_transform(x, edges, sizes, **options).flatten().tolist(), [1.0, 2.0, 8.0])
    for none in ([0.0, 3.0], [1.0, 0.0], [1.0, 1.0]):
        assert torch.equal(domain_transform(x, edges, torch.tensor([none], device=device), **options), x)


def test_a_column_is_a_row_and_constants_stay(device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    x, edges, grad = problem((1, 2, 1, 700), dtype, device, generator)
    row, column = domain_transform(x, edges), domain_transform(x.mT, edges.mT)
    torch.testing.assert_close(column.mT, row)
    found = domain_transform_backward(grad, x, edges)
    for a, b in zip(found, domain_transform_backward(grad.mT, x.mT, edges.mT), strict=True):
        torch.testing.assert_close(a, b.mT)
    torch.testing.assert_close(domain_transform(torch.full_like(x, 3), edges), torch.full_like(x, 3))


SHAPES = [(2, 3, 5, 7), (1, 1, 1, 1), (1, 2, 1, 9), (2, 2, 9, 1), (1, 3, 35, 70), (1, 1, 33, 65), (1, 19, 3, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"iterations": 1, "spatial_sigma": 7.0, "range_sigma": 0.5},
        {"iterations": 5, "min_weight": 0.2},
        {"iterations": 2, "spatial_sigma": 3.0, "clamp": False},
    ],
)
def test_against_slow_reference(
    shape: tuple, options: dict, device: str, dtype: torch.dtype, generator: torch.Generator
) -> None:
    x, edges, grad = problem(shape, dtype, device, generator)
    edges = edges - 0.5
    sizes = [(shape[2], shape[3])] * shape[0]
    if shape[0] > 1:
        sizes[1] = (max(shape[2] - 1, 1), max(shape[3] - 2, 1))
    given = torch.tensor(sizes, device=device).view(-1, 1, 1, 2)
    arrays = x.cpu().numpy(), edges.cpu().numpy(), sizes
    expected = (
        reference.domain_transform(*arrays, **options),
        *reference.domain_transform(*arrays, **options, grad=grad.cpu().numpy()),
    )
    found = domain_transform(x, edges, given, **options), *domain_transform_backward(grad, x, edges, given, **options)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-12
    for one, other in zip(found, expected, strict=True):
        assert one.is_contiguous()
        assert relative_error(one.cpu(), torch.from_numpy(other)) < tolerance


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "strided"])
def test_non_contiguous(layout: str, device: str, dtype: torch.dtype, generator: torch.Generator) -> None:
    def laid_out(t: torch.Tensor) -> torch.Tensor:
        return {
            "channels_last": t.contiguous(memory_format=torch.channels_last),
            "transposed": t.transpose(2, 3),
            "strided": t[..., 1::3],
        }[layout]

    x, edges, grad = (laid_out(t) for t in problem((2, 4, 6, 10), dtype, device, generator))
    sizes = torch.tensor([[5, 2, 3, 3], [2, 3, 0, 0]], device=device)[:, ::2]
    dense = [t.contiguous() for t in (grad, x, edges, sizes)]
    assert torch.equal(domain_transform(x, edges, sizes), domain_transform(*dense[1:]))
    found = domain_transform_backward(grad, x, edges, sizes)
    for a, b in zip(found, domain_transform_backward(*dense), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)])
def test_empty(shape: tuple, device: str) -> None:
    x, edges = torch.zeros(shape, device=device), torch.ones((shape[0], 1, *shape[2:]), device=device)
    sizes = torch.zeros((shape[0], 1, 1, 2), device=device)
    assert domain_transform(x, edges, sizes).shape == shape
    grad_x, grad_edges = domain_transform_backward(x, x, edges, sizes)
    assert grad_x.shape == shape
    assert grad_edges.shape == edges.shape
    assert not grad_edges.any()


def test_bit_equal_from_run_to_run_and_for_any_number_of_threads(device: str, generator: torch.Generator) -> None:
    for channels in (1, 2, 7, 35):
        x, edges, grad = problem((2, channels, 67, 131), torch.float32, device, generator)
        results = []
        for threads in (1, 2, 5):
            _C.set_num_threads(threads)
            results.append((domain_transform(x, edges), *domain_transform_backward(grad, x, edges)))
        _C.set_num_threads(0)
        for result in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize(
    "options", [{}, {"iterations": 1, "clamp": False}, {"iterations": 2, "range_sigma": 8.0, "min_weight": 0.01}]
)
def test_gradcheck(options: dict, device: str, generator: torch.Generator) -> None:
    x, edges, _ = problem((2, 2, 4, 5), torch.float64, device, generator)
    sizes = torch.tensor([[4.0, 5.0], [3.0, 4.0]], device=device)
    inputs = x.requires_grad_(), edges.requires_grad_()
    assert gradcheck(lambda x, e: domain_transform(x, e, sizes, spatial_sigma=5.0, **options), inputs)
    (grad,) = torch.autograd.grad(domain_transform(*inputs).square().sum(), inputs[0], create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        grad.sum().backward()


def test_only_what_is_asked_for_has_a_gradient(device: str, generator: torch.Generator) -> None:
    x, edges, grad = problem((1, 2, 4, 5), torch.float32, device, generator)
    expected = domain_transform_backward(grad, x, edges)
    for number in range(2):
        tensors = [x.clone(), edges.clone()]
        tensors[number].requires_grad_()
        domain_transform(*tensors).backward(grad)
        assert torch.equal(tensors[number].grad, expected[number])
        assert tensors[1 - number].grad is None


def test_opcheck(device: str, generator: torch.Generator) -> None:
    x, edges, grad = problem((2, 2, 4, 5), torch.float32, device, generator)
    sizes = torch.tensor([[4.0, 5.0], [3.0, 4.0]], device=device)
    settings = 2, 5.0, 2.0, 0.0, True
    given = x.requires_grad_(), edges.requires_grad_(), sizes, *settings
    torch.library.opcheck(_domain_transform.torch, (*given, False))
    torch.library.opcheck(_domain_transform_backward.torch, (grad, x.detach(), edges.detach(), None, *settings))


def test_numpy(generator: torch.Generator) -> None:
    x, edges, grad = problem((2, 2, 4, 5), torch.float32, "cpu", generator)
    arrays = [t.numpy() for t in (grad, x, edges)]
    assert np.array_equal(domain_transform(*arrays[1:]), domain_transform(x, edges).numpy())
    for a, b in zip(domain_transform_backward(*arrays), domain_transform_backward(grad, x, edges), strict=True):
        assert np.array_equal(a, b.numpy())


def test_strong_and_odd_edges(device: str, dtype: torch.dtype) -> None:
    """Nothing passes an infinite edge, and numbers beyond the range of exp make no noise."""
    x = torch.tensor([[[[1.0, 5.0, 2.0, 8.0]]]], dtype=dtype, device=device)
    edges = torch.tensor([[[[0.0, math.inf, 1e30, 1e4]]]], dtype=dtype, device=device)
    assert torch.equal(domain_transform(x, edges), x)
    assert torch.equal(domain_transform(x, torch.full_like(edges, -1e30)), torch.full_like(x, 1))
    edges[..., 2] = math.nan
    assert domain_transform(x, edges).isnan().flatten().tolist()[2]


def test_weights_are_exponentials(dtype: torch.dtype) -> None:
    edges = torch.linspace(-90, 90, 4001, dtype=torch.float64).to(dtype)
    weights = torch.zeros((4001, 1, 1, 2), dtype=dtype)
    weights[:, 0, 0, 0] = 1
    # y[1] = weight of pixel 1, where sigma is such that the exponent is 1 + edge.
    options = {"iterations": 1, "spatial_sigma": math.sqrt(2), "range_sigma": math.sqrt(2), "clamp": False}
    pairs = torch.stack([edges, edges], 1).view(-1, 1, 1, 2)
    found = domain_transform(weights, pairs, **options)[:, 0, 0, 1].double()
    expected = torch.exp(-(1 + edges.double()))
    normal = expected < 1e38
    error = ((found - expected) / expected)[normal & (expected > 2e-38)]
    assert error.abs().max() < (1e-5 if dtype == torch.float32 else 1e-13)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((5, 5), "the size of item 1 must be within 4 x 5, got height 5"),
        ((4, 6), "got width 6"),
        ((-1, 5), "got height -1"),
        ((4, math.nan), "got width nan"),
    ],
)
def test_sizes_beyond_the_blob(size: tuple, message: str, device: str) -> None:
    x, edges = torch.ones((2, 3, 4, 5), device=device), torch.ones((2, 1, 4, 5), device=device)
    sizes = torch.tensor([[4, 5], size], device=device)
    with pytest.raises(ValueError, match=message):
        domain_transform(x, edges, sizes, check_sizes=True)
    unchecked = domain_transform(x, edges, sizes, check_sizes=False)
    assert unchecked[1].isnan().all()
    torch.testing.assert_close(unchecked[0], x[0])
    for gradient in domain_transform_backward(x, x, edges, sizes):
        assert gradient[1].isnan().all()
        assert gradient[0].isfinite().all()


def test_bad_arguments() -> None:
    good = {"x": torch.zeros(2, 3, 4, 5), "edges": torch.zeros(2, 1, 4, 5)}
    for arguments, message in (
        ({"x": torch.zeros(4, 5)}, r"expected x \(N, C, H, W\)"),
        ({"x": torch.zeros(2, 3, 4, 5).half()}, "expected x of float32 or float64, got float16"),
        ({"edges": torch.zeros(2, 3, 4, 5)}, r"expected edges \(2, 1, 4, 5\) for x \(2, 3, 4, 5\), got shape"),
        ({"edges": torch.zeros(2, 1, 4, 5).double()}, "x is float32 on cpu, but edges float64 on cpu"),
        ({"sizes": torch.zeros(2, 3)}, r"a height and a width for each of 2 items, got sizes of shape \(2, 3\)"),
        ({"sizes": torch.zeros(4)}, r"got sizes of shape \(4,\)"),
        ({"sizes": torch.zeros((2, 2), device="meta")}, "x is on cpu, but sizes on meta"),
        ({"iterations": 0}, "iterations must be from 1 to 100, got 0"),
        ({"iterations": 101}, "got 101"),
        ({"spatial_sigma": 0.0}, "spatial_sigma and range_sigma must be positive and finite, got 0 and 5"),
        ({"range_sigma": math.inf}, "got 50 and inf"),
        ({"range_sigma": math.nan}, "got 50 and nan"),
        ({"min_weight": -0.1}, "min_weight must not be negative, got -0.1"),
    ):
        with pytest.raises(ValueError, match=message):
            domain_transform(**{**good, **arguments})
    with pytest.raises(ValueError, match=r"expected grad \(2, 3, 4, 5\)"):
        domain_transform_backward(torch.zeros(2, 3, 4, 4), **good)
    meta = [tensor.to("meta") for tensor in good.values()]
    with pytest.raises(ValueError, match="on cpu or cuda, got one on meta"):
        _domain_transform.torch._init_fn(*meta, None, 3, 50.0, 5.0, 0.0, True, False)


def test_the_most_iterations_make_no_noise(device: str, dtype: torch.dtype) -> None:
    x = torch.ones((1, 1, 3, 3), dtype=dtype, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(domain_transform(x, torch.zeros_like(x), iterations=100), x)


@pytest.mark.parametrize("name", [*case_names("v2/dt_"), *case_names("v2/dtforward_")])
def test_golden(name: str, device: str) -> None:
    for kind, blob, actual, expected in replay(name, device=device, gradients=True):
        assert relative_error(actual, expected) < RELATIVE_TOLERANCE, f"{kind} of {blob}"
