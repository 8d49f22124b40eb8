"""The domain transform's CUDA kernels against the CPU, on the host: see tests/cuda_on_host."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.arrays import TorchArrays

pytestmark = pytest.mark.skipif(_C.cuda_architectures != "host", reason="python -m tests.cuda_on_host runs these")
ON_CPU = TorchArrays(torch.device("cpu"))


def on_device(tensor: Tensor) -> _C.TensorView:
    """A view that says that the memory is a CUDA device's."""
    name = str(tensor.dtype).removeprefix("torch.")
    return _C.TensorView(tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), name, 0)


# Lines of less than a segment, of several segments, and longer than a tile of 576 or 144; more channels than one.
SHAPES = [(2, 3, 5, 7), (1, 1, 1, 1), (1, 1, 1, 600), (1, 1, 300, 1), (2, 2, 17, 20)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clamp", [True, False])
def test_both_ways(shape: tuple, dtype: torch.dtype, clamp: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    x, grad = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    edges = 20 * torch.rand((shape[0], 1, *shape[2:]), generator=generator, dtype=dtype) - 1
    sizes = torch.tensor([[shape[2], shape[3]], [shape[2] - 1, shape[3] - 2]])[: shape[0]].float()
    settings = 2, 20.0, 5.0, 0.01, clamp
    runs = []
    for view in (ON_CPU.view, on_device):
        y, grad_x, grad_edges = torch.full_like(x, 77), torch.full_like(x, 77), torch.full_like(edges, 77)
        inputs = view(x), view(edges), view(sizes)
        _C.domain_transform_forward(*inputs, view(y), *settings)
        scratch = torch.full((_C.domain_transform_scratch(view(x), settings[0]),), 77.0, dtype=dtype)
        outputs = view(grad_x), view(grad_edges), view(scratch)
        _C.domain_transform_backward(*inputs, view(grad), *outputs, *settings)
        runs.append((y, grad_x, grad_edges))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    for cpu, cuda in zip(*runs, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=tolerance, atol=tolerance)


def test_less_scratch_takes_fewer_planes_at_once() -> None:
    generator = torch.Generator().manual_seed(1)
    x, edges = (torch.rand((2, channels, 4, 5), generator=generator) for channels in (3, 1))
    inputs, settings = (on_device(x), on_device(edges), None), (2, 20.0, 1.0, 0.0, True)
    assert _C.domain_transform_scratch(on_device(x), 2) == 9 * 6 * 20
    runs = []
    for planes in (1, 2, 4, 6):
        grad_x, grad_edges, scratch = torch.empty_like(x), torch.empty_like(edges), torch.empty((9 * planes * 20,))
        outputs = on_device(grad_x), on_device(grad_edges), on_device(scratch)
        _C.domain_transform_backward(*inputs, on_device(x), *outputs, *settings)
        runs.append((grad_x, grad_edges))
    for run in runs[:-1]:
        assert all(torch.equal(one, other) for one, other in zip(run, runs[-1], strict=True))
    with pytest.raises(ValueError, match="is too small for a plane of"):
        _C.domain_transform_backward(*inputs, on_device(x), *outputs[:2], on_device(scratch[:179]), *settings)


def test_a_size_beyond_the_blob_gives_nan() -> None:
    x, edges = torch.ones((2, 1, 2, 3)), torch.ones((2, 1, 2, 3))
    sizes = torch.tensor([[2.0, 4.0], [2.0, 3.0]])
    for view in (ON_CPU.view, on_device):
        y, grad_x, grad_edges = torch.empty_like(x), torch.empty_like(x), torch.empty_like(edges)
        inputs, settings = (view(x), view(edges), view(sizes)), (1, 20.0, 1.0, 0.0, True)
        _C.domain_transform_forward(*inputs, view(y), *settings)
        scratch = torch.empty((_C.domain_transform_scratch(view(x), 1),))
        _C.domain_transform_backward(*inputs, view(x), view(grad_x), view(grad_edges), view(scratch), *settings)
        for found in (y, grad_x, grad_edges):
            assert found[0].isnan().all()
            assert found[1].isfinite().all()
