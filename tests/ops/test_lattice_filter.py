from __future__ import annotations

import copy
import gc

import numpy as np
import pytest
import torch

from deeplab_caffe import _C
from deeplab_caffe.crf import Lattice
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.ops.lattice_filter import lattice_filter, lattice_keys

HEIGHT, WIDTH = 6, 9
POINTS = HEIGHT * WIDTH


def image() -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def features(std: float = 40.0) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    colours = image().reshape(POINTS, 3)
    return np.column_stack([x.ravel() / 3, y.ravel() / 3, colours / std]).astype(np.float32)


def keys_on(device: str, count: int = 1) -> torch.Tensor:
    """Lattices of the same points on either device."""
    if device == "cpu":
        return lattice_keys([Lattice.build(features()).handle] * count)
    from deeplab_caffe.arrays import arrays_on
    from deeplab_caffe.crf.cuda_lattice import build_lattices

    arrays = arrays_on(device)
    kernel = PairwiseKernel(1.0, (3.0, 3.0), (40.0, 40.0, 40.0))
    request = ((HEIGHT, WIDTH), kernel, arrays.take(image()))
    return lattice_keys(build_lattices(arrays, [request], True) * count)


def matrix(keys: torch.Tensor, dtype: torch.dtype, device: str = "cpu", adjoint: bool = False) -> torch.Tensor:
    """The filter as a matrix: it is linear, so it is what it makes of the unit vectors."""
    unit = torch.eye(POINTS, dtype=dtype, device=device)[None]
    return lattice_filter(unit, keys, adjoint=adjoint)[0].cpu()


def test_it_is_the_numpy_filter_item_by_item() -> None:
    values = torch.randn(3, POINTS, 5, generator=torch.Generator().manual_seed(1))
    lattices = [Lattice.build(features(std)) for std in (20, 40, 80)]
    found = lattice_filter(values, lattice_keys([lattice.handle for lattice in lattices]))
    for item, lattice in enumerate(lattices):
        np.testing.assert_array_equal(found[item].numpy(), lattice.filter(values[item].numpy()))


def test_float64_is_the_same_filter() -> None:
    keys = keys_on("cpu")
    torch.testing.assert_close(matrix(keys, torch.float64).float(), matrix(keys, torch.float32), rtol=1e-6, atol=1e-7)


def test_adjoint_is_the_transpose(device: str) -> None:
    keys = keys_on(device)
    forward, adjoint = (matrix(keys, torch.float32, device, flag) for flag in (False, True))
    torch.testing.assert_close(adjoint, forward.T, rtol=1e-5, atol=1e-6)
    # Blurs do not commute where vertices are missing: without the reverse order it would be another matrix.
    assert (forward - forward.T).abs().max() > 1e-3 * forward.abs().max()


def test_adjoint_of_float64_is_the_transpose() -> None:
    keys = keys_on("cpu")
    torch.testing.assert_close(
        matrix(keys, torch.float64, adjoint=True), matrix(keys, torch.float64).T, rtol=1e-12, atol=1e-14
    )


def test_devices_agree(device: str) -> None:
    found = matrix(keys_on(device), torch.float32, device)
    torch.testing.assert_close(found, matrix(keys_on("cpu"), torch.float32), rtol=1e-5, atol=1e-6)


def test_gradients() -> None:
    keys = keys_on("cpu", 2)
    values = torch.randn(2, POINTS, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: lattice_filter(x, keys), values)
    assert torch.autograd.gradgradcheck(lambda x: lattice_filter(x, keys, adjoint=True), values)


def test_gradient_is_the_adjoint_filter(device: str) -> None:
    keys = keys_on(device)
    values = torch.randn(1, POINTS, 3, device=device, requires_grad=True)
    grad = torch.randn(1, POINTS, 3, device=device)
    lattice_filter(values, keys).backward(grad)
    torch.testing.assert_close(values.grad, lattice_filter(grad, keys, adjoint=True), rtol=0, atol=0)


def test_operator(device: str) -> None:
    values = torch.randn(1, POINTS, 3, device=device, requires_grad=True)
    torch.library.opcheck(torch.ops.deeplab_caffe.lattice_filter.default, (values, keys_on(device), False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_strides_and_threads_give_the_same_bits(dtype: torch.dtype) -> None:
    keys = keys_on("cpu")
    values = torch.randn(1, 3, POINTS, dtype=dtype).transpose(1, 2)
    results = []
    for threads in (1, 2, 5):
        _C.set_num_threads(threads)
        results.append(lattice_filter(values, keys))
    _C.set_num_threads(0)
    results.append(lattice_filter(values.contiguous(), keys))
    assert all(torch.equal(results[0], other) for other in results)


def test_keys_keep_lattices_alive_and_copies_do_not() -> None:
    values = torch.ones(1, POINTS, 1)
    keys = lattice_keys([Lattice.build(features()).handle])
    expected = lattice_filter(values, keys)
    view, duplicate = keys.view(1), copy.deepcopy(keys)
    del keys
    gc.collect()
    assert torch.equal(lattice_filter(values, view), expected)
    del view
    gc.collect()
    with pytest.raises(ValueError, match="not there any more"):
        lattice_filter(values, duplicate)


def test_backward_works_after_the_keys_are_gone() -> None:
    values = torch.ones(1, POINTS, 1, requires_grad=True)
    filtered = lattice_filter(values, keys_on("cpu"))
    gc.collect()
    filtered.sum().backward()
    assert torch.equal(values.grad, lattice_filter(torch.ones(1, POINTS, 1), keys_on("cpu"), adjoint=True))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(POINTS, 2), r"\(N, P, C\)"),
        (torch.zeros(2, POINTS, 2), "expected 2 keys"),
        (torch.zeros(1, POINTS - 1, 2), f"{POINTS} points"),
        (torch.zeros(1, POINTS, 2, dtype=torch.int64), "float32 or float64"),
    ],
)
def test_bad_arguments(values: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lattice_filter(values, keys_on("cpu"))


def test_a_lattice_of_another_device_is_refused() -> None:
    class Elsewhere:
        points = POINTS

    elsewhere = Elsewhere()
    with pytest.raises(ValueError, match="values are on cpu, the lattice is not"):
        lattice_filter(torch.zeros(1, POINTS, 1), lattice_keys([elsewhere]))


def test_no_channels() -> None:
    assert lattice_filter(torch.zeros(1, POINTS, 0), keys_on("cpu")).shape == (1, POINTS, 0)
