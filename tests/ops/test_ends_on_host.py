"""CUDA kernels of fused pre- and post-processing against the CPU, bit by bit, on the host: see tests/cuda_on_host."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.arrays import TorchArrays

pytestmark = pytest.mark.skipif(_C.cuda_architectures != "host", reason="python -m tests.cuda_on_host runs these")
ON_CPU = TorchArrays(torch.device("cpu"))
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def on_device(tensor: Tensor) -> _C.TensorView:
    """A view that says that the memory is a CUDA device's."""
    name = str(tensor.dtype).removeprefix("torch.")
    return _C.TensorView(tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), name, 0)


def scores_of(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(shape, generator=generator)
    scores[torch.rand(shape, generator=generator) < 0.01] = float("nan")
    return scores.round(decimals=1).to(dtype)


CASES = [
    # scores, resized, (top, left, rows, columns)
    ((2, 4, 5, 6), (33, 41), (0, 0, 33, 41)),
    ((1, 21, 5, 5), (33, 33), (2, 3, 29, 7)),
    ((1, 40, 3, 4), (9, 30), (0, 0, 9, 30)),
    ((2, 3, 1, 1), (7, 5), (1, 0, 6, 5)),
    ((2, 3, 9, 8), (9, 8), (0, 0, 9, 8)),
    ((1, 3, 17, 18), (5, 6), (0, 0, 5, 6)),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("label", [torch.uint8, torch.int64])
@pytest.mark.parametrize("corners", [True, False])
def test_interp_argmax(case: tuple, dtype: torch.dtype, last: bool, label: torch.dtype, corners: bool) -> None:
    shape, (height, width), (top, left, rows, columns) = case
    for scores in (scores_of(shape, dtype, 1), scores_of((*shape[:2], shape[3], shape[2]), dtype, 2).transpose(2, 3)):
        expected, found = (torch.full((shape[0], rows, columns), 77, dtype=label) for _ in range(2))
        _C.interp_argmax(ON_CPU.view(scores), ON_CPU.view(expected), height, width, top, left, last, 0, corners)
        _C.interp_argmax(on_device(scores), on_device(found), height, width, top, left, last, 0, corners)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("corners", [True, False])
def test_interp_softmax(case: tuple, dtype: torch.dtype, corners: bool) -> None:
    shape, (height, width), (top, left, rows, columns) = case
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for scores in (scores_of(shape, dtype, 1), scores_of((*shape[:2], shape[3], shape[2]), dtype, 2).transpose(2, 3)):
        expected, found = (torch.full((*shape[:2], rows, columns), 77.0, dtype=wide) for _ in range(2))
        _C.interp_softmax(ON_CPU.view(scores), ON_CPU.view(expected), height, width, top, left, 0, corners)
        _C.interp_softmax(on_device(scores), on_device(found), height, width, top, left, 0, corners)
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("corners", [True, False])
def test_interp(case: tuple, dtype: torch.dtype, corners: bool) -> None:
    shape, size, _ = case
    scores, grad = scores_of(shape, dtype, 1).nan_to_num(), torch.randn((*shape[:2], *size)).to(dtype)
    expected, found = (torch.full(grad.shape, 77.0, dtype=dtype) for _ in range(2))
    _C.interp_forward(ON_CPU.view(scores), ON_CPU.view(expected), 0, 0, 0, corners)
    _C.interp_forward(on_device(scores), on_device(found), 0, 0, 0, corners)
    assert torch.equal(found, expected)
    expected, found = (torch.full(shape, 77.0, dtype=dtype) for _ in range(2))
    _C.interp_backward(ON_CPU.view(grad), ON_CPU.view(expected), 0, 0, 0, corners)
    _C.interp_backward(on_device(grad), on_device(found), 0, 0, 0, corners)
    # The sums have another order.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shift", [0, 1])
def test_preprocess(dtype: torch.dtype, layout: torch.memory_format, shift: int) -> None:
    sizes = [((7, 9), (8, 11)), ((1, 1), (1, 1)), ((5, 6), (5, 6)), ((3, 40), (9, 41)), ((30, 2), (30, 3))]
    for count, (image, blob) in itertools.product((1, 3), sizes):
        images = torch.from_numpy(np.random.default_rng(count).integers(0, 256, (count, *image, 3), dtype=np.uint8))
        # With a shift the blob is not aligned to the widest store, as an item in the middle of a batch may be.
        blobs = []
        for _ in range(2):
            memory = torch.full((count * 3 * blob[0] * blob[1] + shift,), 77.0, dtype=dtype)
            like = torch.empty((count, 3, *blob), dtype=dtype, memory_format=layout)
            blobs.append(memory[shift:].as_strided(like.shape, like.stride(), shift))
        means = [104.008, 116.669, 122.675]
        _C.preprocess(ON_CPU.view(images), ON_CPU.view(blobs[0]), means)
        _C.preprocess(on_device(images), on_device(blobs[1]), means)
        assert torch.equal(blobs[0], blobs[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("case", [(64, 33, 41, 3, 2, 1), (24, 7, 5, 3, 1, 1), (3, 9, 8, 2, 2, 1), (8, 1, 1, 3, 1, 1)])
def test_max_pool(dtype: torch.dtype, case: tuple) -> None:
    channels, height, width, kernel, stride, pad = case
    size = torch.nn.functional.max_pool2d(torch.zeros(1, 1, height, width), kernel, stride, pad, ceil_mode=True).shape
    x = scores_of((3, channels, height, width), dtype, 1).contiguous(memory_format=torch.channels_last)
    tops = [
        torch.full((3, channels, *size[2:]), 77.0, dtype=dtype).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    ]
    pairs = (kernel, kernel), (stride, stride), (pad, pad)
    _C.max_pool(ON_CPU.view(x), ON_CPU.view(tops[0]), *pairs)
    _C.max_pool(on_device(x), on_device(tops[1]), *pairs)
    np.testing.assert_array_equal(tops[1].float().numpy(), tops[0].float().numpy())
