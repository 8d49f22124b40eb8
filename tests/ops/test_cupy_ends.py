"""Fused pre- and post-processing on CuPy arrays against torch CPU tensors. Without a GPU kernels run on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deeplab_caffe.ops import cupy as ops
from deeplab_caffe.ops import interp_argmax as torch_interp_argmax
from deeplab_caffe.ops import interp_softmax as torch_interp_softmax
from deeplab_caffe.ops import preprocess as torch_preprocess


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2015)


# By hand


def test_interp_argmax_by_hand(cupy: Any) -> None:
    scores = cupy.asarray(np.array([[[[0, 4]], [[2, 2]]]], np.float32))  # 0 2 4 against 2 2 2
    assert cupy.asnumpy(ops.interp_argmax(scores, 1, 5)).tolist() == [[[1, 1, 1, 0, 0]]]
    assert cupy.asnumpy(ops.interp_argmax(scores, 1, 5, ties="first")).tolist() == [[[1, 1, 0, 0, 0]]]
    found = ops.interp_argmax(scores, 1, 5, crop=(1, 2), origin=(0, 2), dtype="int64")
    assert (found.dtype.name, cupy.asnumpy(found).tolist()) == ("int64", [[[1, 0]]])


def test_interp_softmax_by_hand(cupy: Any) -> None:
    scores = cupy.asarray(np.array([[[[0, 2 * np.log(3)]], [[0, 0]]]]))
    found = ops.interp_softmax(scores, 1, 3)
    assert found.dtype.name == "float64"
    np.testing.assert_allclose(
        cupy.asnumpy(found)[0, :, 0], [[1 / 2, 3 / 4, 9 / 10], [1 / 2, 1 / 4, 1 / 10]], rtol=1e-12
    )


def test_preprocess_by_hand(cupy: Any) -> None:
    image = cupy.asarray(np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8))
    blob = ops.preprocess(image, mean=[1, 2, 3], size=(2, 3))
    assert cupy.asnumpy(blob)[0, :, 0].tolist() == [[29, 59, 0], [18, 48, 0], [7, 37, 0]]
    assert not cupy.asnumpy(blob)[0, :, 1].any()


# Against the CPU's

CASES = [
    # scores, resized, crop, origin
    ((2, 4, 5, 6), (33, 41), None, (0, 0)),
    ((1, 40, 3, 4), (9, 30), (7, 30), (1, 0)),
    ((2, 3, 1, 1), (7, 5), (0, 5), (0, 0)),
    ((0, 3, 4, 4), (9, 9), None, (0, 0)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_interp_argmax_has_the_cpu_labels(case: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    shape, size, crop, origin = case
    scores = rng.normal(size=shape).round(1).astype(dtype)
    for ties in ("first", "last"):
        found = ops.interp_argmax(cupy.asarray(scores), *size, crop=crop, origin=origin, ties=ties)
        expected = torch_interp_argmax.interp_argmax(torch.tensor(scores), *size, crop=crop, origin=origin, ties=ties)
        np.testing.assert_array_equal(cupy.asnumpy(found), expected.numpy())


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_interp_softmax_is_the_cpus(case: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    shape, size, crop, origin = case
    scores = rng.normal(scale=5, size=shape).astype(dtype)
    found = ops.interp_softmax(cupy.asarray(scores), *size, crop=crop, origin=origin)
    expected = torch_interp_softmax.interp_softmax(torch.tensor(scores), *size, crop=crop, origin=origin).numpy()
    assert found.dtype == expected.dtype
    if dtype == "float64":
        np.testing.assert_allclose(cupy.asnumpy(found), expected, rtol=1e-12)
    else:
        np.testing.assert_array_equal(cupy.asnumpy(found), expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_preprocess_has_the_cpu_bits(cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    images = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in ((5, 7), (1, 9), (6, 3))]
    options = {"mean": (104.008, 116.669, 122.675), "size": (7, 11)}
    found = ops.preprocess([cupy.asarray(image) for image in images], dtype=dtype, **options)
    expected = torch_preprocess.preprocess(images, dtype=getattr(torch, dtype), **options)
    np.testing.assert_array_equal(cupy.asnumpy(found), expected.numpy())
    # A batch turned upside down.
    batch = np.stack([images[0], images[0][::-1]])
    found = ops.preprocess(cupy.asarray(batch)[:, ::-1], mean=100.0, dtype=dtype)
    expected = torch_preprocess.preprocess(batch[:, ::-1].copy(), mean=100.0, dtype=getattr(torch, dtype))
    np.testing.assert_array_equal(cupy.asnumpy(found), expected.numpy())


# Errors


def test_bad_arguments(cupy: Any) -> None:
    scores = cupy.asarray(np.zeros((1, 3, 2, 2), np.float32))
    image = cupy.asarray(np.zeros((4, 5, 3), np.uint8))
    for call, message in (
        (lambda: ops.interp_argmax(np.zeros((1, 3, 2, 2)), 4, 4), "expected scores as an array on a GPU, got ndarray"),
        (lambda: ops.interp_argmax(scores, 4, 4, ties="middle"), "ties must be"),
        (lambda: ops.interp_argmax(scores, 4, 4, crop=(5, 1)), "not within 4 x 4"),
        (
            lambda: ops.interp_argmax(scores.astype("int32"), 4, 4),
            "expected scores of float32, .* or bfloat16, got int32",
        ),
        (lambda: ops.interp_softmax(scores, 0, 4), "must be positive, got 0 and 4"),
        (lambda: ops.interp_softmax(scores[0], 4, 4), r"\(N, C, H, W\) with C, H, W > 0, got shape \(3, 2, 2\)"),
        (lambda: ops.preprocess([], mean=0), "there are no images"),
        (lambda: ops.preprocess(image[..., :2], mean=0), r"expected uint8 RGB images .*, got uint8 \(4, 5, 2\)"),
        (lambda: ops.preprocess(image, mean=0, size=(4, 4)), "4 x 5 does not fit into 4 x 4"),
        (lambda: ops.preprocess(image, mean=[1, 2]), "one mean or three, got 2"),
        (lambda: ops.preprocess(image, mean=0, dtype="float64"), "dtype must be float32 or float16"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
