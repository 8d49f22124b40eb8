"""The operations on CuPy arrays against those on torch's CPU tensors. Without a GPU the kernels run on the host."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from deeplab_caffe import _C
from deeplab_caffe.ops import argmax as torch_argmax
from deeplab_caffe.ops import cupy as ops
from deeplab_caffe.ops import domain_transform as torch_domain_transform
from deeplab_caffe.ops import hole as torch_hole
from deeplab_caffe.ops import im2col as torch_im2col
from deeplab_caffe.ops import interp as torch_interp
from deeplab_caffe.ops import softmax_loss as torch_softmax_loss
from tests.goldens import RELATIVE_TOLERANCE, case_dir, case_names, relative_error
from tests.ops.golden_op import GoldenOp, golden_op


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2015)


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> str:
    return request.param


def tolerance(dtype: str) -> float:
    return 1e-5 if dtype == "float32" else 1e-12


def to_torch(array: np.ndarray, **kwargs: Any) -> torch.Tensor:
    return torch.tensor(np.ascontiguousarray(array), **kwargs)


def assert_is(cupy: Any, array: Any, dtype: str, shape: tuple) -> None:
    assert isinstance(array, cupy.ndarray)
    assert array.dtype.name == dtype
    assert array.shape == shape


# By hand


def test_interp_by_hand(cupy: Any, dtype: str) -> None:
    x = cupy.asarray(np.array([[[[0, 2], [4, 6]]]], dtype))
    y = ops.interp(x, zoom_factor=2)
    assert_is(cupy, y, dtype, (1, 1, 3, 3))
    assert cupy.asnumpy(y)[0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert cupy.asnumpy(ops.interp(y, height=2, width=2, pad_beg=-1))[0, 0].tolist() == [[3, 4], [5, 6]]
    grad = ops.interp_backward(cupy.asarray(np.ones((1, 1, 3, 3), dtype)), (2, 2))
    assert cupy.asnumpy(grad)[0, 0].tolist() == [[2.25, 2.25], [2.25, 2.25]]


def test_im2col_by_hand(cupy: Any, dtype: str) -> None:
    x = cupy.asarray(np.arange(9, dtype=dtype).reshape(1, 1, 3, 3))
    columns = ops.im2col(x, 2, dilation=2)
    assert cupy.asnumpy(columns).ravel().tolist() == [0, 2, 6, 8]
    back = ops.col2im(columns, 3, 2, dilation=2)
    assert cupy.asnumpy(back)[0, 0].tolist() == [[0, 0, 2], [0, 0, 0], [6, 0, 8]]


def test_argmax_by_hand(cupy: Any, dtype: str) -> None:
    scores = cupy.asarray(np.array([3, 7, 7, 1], dtype).reshape(1, 4, 1, 1))
    top = ops.argmax(scores, top_k=3, out_max_val=True)
    assert_is(cupy, top, dtype, (1, 6, 1, 1))
    assert cupy.asnumpy(top).ravel().tolist() == [2, 1, 0, 7, 7, 3]
    assert cupy.asnumpy(ops.argmax(scores)).item() == 2
    assert_is(cupy, ops.argmax_labels(scores), "uint8", (1, 1, 1))
    assert cupy.asnumpy(ops.argmax_labels(scores)).item() == 1
    assert cupy.asnumpy(ops.argmax_labels(scores, ties="last", dtype="int64")).item() == 2


def test_softmax_loss_by_hand(cupy: Any, dtype: str) -> None:
    # p = (1/4, 3/4) at both pixels, and a third, ignored one.
    scores = cupy.asarray(np.array([[[[0, 0, 9]], [[math.log(3), math.log(3), math.nan]]]], dtype))
    labels = cupy.asarray(np.array([[[[0, 1.9, 255]]]], np.float32))
    found = ops.softmax_loss(scores, labels)
    assert_is(cupy, found.loss, dtype, ())
    assert cupy.asnumpy(found.loss).item() == pytest.approx((math.log(4) + math.log(4 / 3)) / 2, rel=1e-6)
    grad = found.backward()
    assert_is(cupy, grad, dtype, (1, 2, 1, 3))
    expected = [[[-0.375, 0.125, 0]], [[0.375, -0.125, 0]]]
    np.testing.assert_allclose(cupy.asnumpy(grad)[0], expected, rtol=1e-6)
    np.testing.assert_allclose(cupy.asnumpy(found.backward(2.0))[0], 2 * np.array(expected), rtol=1e-6)
    weighted = ops.softmax_loss(scores, labels, class_weights=[3.0, 1.0])
    assert cupy.asnumpy(weighted.loss).item() == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4, rel=1e-6)


def test_conv2d_by_hand(cupy: Any, dtype: str) -> None:
    x = cupy.asarray(np.arange(9, dtype=dtype).reshape(1, 1, 3, 3))
    weight = cupy.asarray(np.array([1, 10, 100, 1000], dtype).reshape(1, 1, 2, 2))
    y = ops.conv2d(x, weight, cupy.asarray(np.array([0.5], dtype)), dilation=2)
    assert cupy.asnumpy(y).ravel().tolist() == [8620.5]


# Against the CPU's

GEOMETRIES = [
    ((2, 3, 5, 7), 3, 1, 0, 1),
    ((1, 2, 9, 8), (3, 2), (2, 1), (1, 2), (2, 3)),
    ((2, 1, 6, 11), 3, 2, 4, 4),
    ((1, 3, 33, 41), 1, 3, 0, 1),
    ((0, 2, 5, 5), 3, 1, 1, 1),
    ((2, 0, 5, 5), 3, 1, 1, 1),
]


@pytest.mark.parametrize("case", GEOMETRIES)
def test_im2col_and_col2im_have_the_cpu_bits(case: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    shape, kernel, stride, pad, hole = case
    x = rng.normal(size=shape).astype(dtype)
    geometry = {"stride": stride, "pad": pad, "dilation": hole}
    columns = ops.im2col(cupy.asarray(x), kernel, **geometry)
    expected = torch_im2col.im2col(to_torch(x), kernel, **geometry).numpy()
    np.testing.assert_array_equal(cupy.asnumpy(columns), expected)
    values = rng.normal(size=expected.shape).astype(dtype)
    back = ops.col2im(cupy.asarray(values), shape[2:], kernel, **geometry)
    expected = torch_im2col.col2im(to_torch(values), shape[2:], kernel, **geometry).numpy()
    np.testing.assert_array_equal(cupy.asnumpy(back), expected)


@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 2, 17, 33), (1, 1, 1, 1), (0, 2, 4, 4), (2, 0, 4, 4)])
def test_domain_transform(shape: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    grad, x = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    edges = 9 * rng.random((shape[0], 1, *shape[2:])).astype(dtype)
    sizes = np.array([shape[2:], (shape[2] - 1, shape[3] - 2)])[: shape[0]]
    arrays, tensors = ([each(array) for array in (grad, x, edges, sizes)] for each in (cupy.asarray, to_torch))
    options = {"iterations": 2, "spatial_sigma": 9.0}
    found = ops.domain_transform(*arrays[1:], **options), *ops.domain_transform_backward(*arrays, **options)
    expected = (
        torch_domain_transform.domain_transform(*tensors[1:], **options),
        *torch_domain_transform.domain_transform_backward(*tensors, **options),
    )
    for one, other in zip(found, expected, strict=True):
        assert_is(cupy, one, dtype, tuple(other.shape))
        np.testing.assert_allclose(cupy.asnumpy(one), other.numpy(), rtol=tolerance(dtype), atol=tolerance(dtype))


INTERPS = [
    ((2, 3, 5, 7), 9, 13, 0, 0, False),
    ((1, 2, 7, 9), 12, 5, -2, -1, False),
    ((2, 3, 5, 7), 9, 13, 0, 0),
    ((1, 2, 9, 8), 4, 3, 0, 0),
    ((1, 1, 6, 6), 6, 6, -1, 0),
    ((1, 2, 7, 9), 12, 5, -2, -1),
    ((2, 1, 1, 1), 5, 6, 0, 0),
    ((1, 1, 4, 6), 1, 1, 0, 0),
    ((0, 3, 4, 4), 7, 7, 0, 0),
]


@pytest.mark.parametrize("case", INTERPS)
def test_interp(case: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    shape, height, width, pad_beg, pad_end, *rest = case
    x = rng.normal(size=shape).astype(dtype)
    size = {"height": height, "width": width, "pad_beg": pad_beg, "pad_end": pad_end, "align_corners": not rest}
    reference = to_torch(x, requires_grad=True)
    expected = torch_interp.interp(reference, **size)
    actual = ops.interp(cupy.asarray(x), **size)
    np.testing.assert_allclose(cupy.asnumpy(actual), expected.detach().numpy(), rtol=0, atol=tolerance(dtype))
    grad = rng.normal(size=expected.shape).astype(dtype)
    expected.backward(to_torch(grad))
    actual = ops.interp_backward(cupy.asarray(grad), shape[2:], pad_beg, pad_end, not rest)
    np.testing.assert_allclose(cupy.asnumpy(actual), reference.grad.numpy(), rtol=0, atol=10 * tolerance(dtype))


CONVOLUTIONS = [
    ((2, 3, 9, 11), (5, 3, 3, 3), (1, 1), (2, 2), (2, 2), 1),
    ((2, 6, 10, 12), (4, 3, 3, 3), (1, 1), (2, 2), (2, 2), 2),
    ((1, 4, 10, 9), (4, 1, 2, 3), (1, 2), (1, 2), (3, 2), 4),
    ((3, 7, 6, 9), (5, 7, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    ((2, 4, 6, 9), (6, 2, 1, 1), (1, 1), (0, 0), (7, 7), 2),
    ((0, 3, 9, 8), (2, 3, 3, 3), (1, 1), (1, 1), (1, 1), 1),
]


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv2d(case: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    shape, weight_shape, *geometry = case
    arrays = [rng.normal(size=size).astype(dtype) for size in (shape, weight_shape, (1, 1, 1, weight_shape[0]))]
    references = [to_torch(array, requires_grad=True) for array in arrays]
    expected = torch_hole.conv2d(*references, *geometry)
    x, weight, bias = map(cupy.asarray, arrays)
    actual = ops.conv2d(x, weight, bias, *geometry)
    np.testing.assert_allclose(cupy.asnumpy(actual), expected.detach().numpy(), rtol=0, atol=10 * tolerance(dtype))
    grad = rng.normal(size=expected.shape).astype(dtype)
    expected.backward(to_torch(grad))
    found = ops.conv2d_backward(cupy.asarray(grad), x, weight, *geometry)
    for gradient, reference in zip(found, references, strict=True):
        expected = reference.grad.numpy().reshape(gradient.shape)
        np.testing.assert_allclose(cupy.asnumpy(gradient), expected, rtol=0, atol=100 * tolerance(dtype))


@pytest.mark.parametrize("shape", [(2, 21, 13, 17), (1, 3, 1, 1), (3, 2, 16, 16), (0, 2, 4, 4)])
@pytest.mark.parametrize("label_dtype", ["float32", "uint8", "int64", "float16", "bool"])
@pytest.mark.parametrize("weighted", [True, False])
def test_softmax_loss(
    shape: tuple, label_dtype: str, weighted: bool, cupy: Any, dtype: str, rng: np.random.Generator
) -> None:
    scores = rng.normal(scale=5, size=shape).astype(dtype)
    labels = rng.integers(0, 2, size=(shape[0], 1, *shape[2:])).astype(label_dtype)
    weights = rng.uniform(size=shape[1]).tolist() if weighted else None
    reference = to_torch(scores, requires_grad=True)
    expected = torch_softmax_loss.softmax_loss(reference, to_torch(labels), (1,), weights, check_labels=False)
    expected.backward()
    found = ops.softmax_loss(cupy.asarray(scores), cupy.asarray(labels), (1,), weights)
    assert cupy.asnumpy(found.loss).item() == pytest.approx(expected.item(), rel=tolerance(dtype))
    np.testing.assert_allclose(
        cupy.asnumpy(found.backward()), reference.grad.numpy(), rtol=10 * tolerance(dtype), atol=1e-30
    )


def test_softmax_loss_of_an_unexpected_label_is_not_a_number(cupy: Any, dtype: str) -> None:
    scores = cupy.asarray(np.zeros((1, 2, 1, 3), dtype))
    found = ops.softmax_loss(scores, cupy.asarray(np.array([[[0, 7, 1]]])))
    assert np.isnan(cupy.asnumpy(found.loss).item())
    assert np.isnan(cupy.asnumpy(found.backward())[0, :, 0, 0]).all()
    assert cupy.asnumpy(found.totals)[2] == 1
    nothing = ops.softmax_loss(scores, cupy.asarray(np.full((1, 1, 3), 255)))
    assert cupy.asnumpy(nothing.loss).item() == 0
    assert not cupy.asnumpy(nothing.backward()).any()


@pytest.mark.parametrize("shape", [(2, 21, 7, 9), (1, 1, 3, 3), (1, 5, 1, 300), (0, 4, 2, 2)])
def test_argmax(shape: tuple, cupy: Any, dtype: str, rng: np.random.Generator) -> None:
    scores = rng.integers(0, 4, size=shape).astype(dtype)
    scores[rng.uniform(size=shape) < 0.1] = math.nan
    for top_k in {1, min(3, shape[1]), shape[1]}:
        actual = ops.argmax(cupy.asarray(scores), top_k, out_max_val=True)
        expected = torch_argmax.argmax(to_torch(scores), top_k, out_max_val=True)
        np.testing.assert_array_equal(cupy.asnumpy(actual), expected.numpy())
    for ties in ("first", "last"):
        for label_dtype in ("uint8", "int64"):
            actual = ops.argmax_labels(cupy.asarray(scores), ties, label_dtype)
            assert_is(cupy, actual, label_dtype, (shape[0], *shape[2:]))
            expected = torch_argmax.argmax_labels(to_torch(scores), ties).numpy()
            np.testing.assert_array_equal(cupy.asnumpy(actual), expected)


# Strides, runs, other arrays


@pytest.mark.parametrize("layout", ["channels_last", "reversed", "every_second", "broadcast"])
def test_any_strides(layout: str, cupy: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 4, 6, 10)).astype(np.float32)
    array = cupy.asarray(x)
    if layout == "channels_last":
        strange = cupy.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    elif layout == "reversed":
        strange = array[:, ::-1, ::-1, ::-1]
    elif layout == "every_second":
        strange = array[:, ::2, :, ::2]
    else:
        strange = cupy.broadcast_to(array[:1, :1], (3, 4, 6, 10))
    plain = cupy.ascontiguousarray(strange)
    weight = cupy.asarray(rng.normal(size=(2, plain.shape[1], 3, 3)).astype(np.float32))
    labels = cupy.asarray(rng.integers(0, plain.shape[1], (plain.shape[0], *plain.shape[2:])))
    size = plain.shape[2:]
    for operation in (
        lambda a: ops.interp(a, zoom_factor=2),
        lambda a: ops.interp_backward(a, (3, 4)),
        lambda a: ops.im2col(a, 3, pad=1),
        lambda a: ops.col2im(a, (size[0] + 1, size[1]), (2, 1)),
        lambda a: ops.conv2d(a, weight, pad=1),
        lambda a: ops.argmax(a, 2),
        lambda a: ops.argmax_labels(a),
        lambda a: ops.softmax_loss(a, labels).backward(),
    ):
        np.testing.assert_array_equal(cupy.asnumpy(operation(strange)), cupy.asnumpy(operation(plain)))


def test_bit_equal_from_run_to_run(cupy: Any, rng: np.random.Generator) -> None:
    scores = cupy.asarray(rng.normal(size=(2, 5, 19, 23)).astype(np.float32))
    labels = cupy.asarray(rng.integers(0, 5, (2, 19, 23)))
    weight = cupy.asarray(rng.normal(size=(4, 5, 3, 3)).astype(np.float32))
    runs = []
    for _ in range(3):
        found = ops.softmax_loss(scores, labels)
        y = ops.conv2d(scores, weight, pad=2, dilation=2)
        arrays = [found.loss, found.backward(), ops.interp_backward(scores, (9, 7)), y]
        arrays += ops.conv2d_backward(y, scores, weight, pad=2, dilation=2)
        runs.append([cupy.asnumpy(array).tobytes() for array in arrays])
    assert runs[0] == runs[1] == runs[2]


def test_arrays_of_another_library(cupy: Any, rng: np.random.Generator) -> None:
    class Array:
        def __init__(self, array: Any) -> None:
            self.__cuda_array_interface__ = array.__cuda_array_interface__
            self.__array_interface__ = getattr(array, "__array_interface__", None)  # the stand-in's
            self.array = array

    x = cupy.asarray(rng.normal(size=(1, 3, 4, 5)).astype(np.float32))
    np.testing.assert_array_equal(
        cupy.asnumpy(ops.interp(Array(x), zoom_factor=3)), cupy.asnumpy(ops.interp(x, zoom_factor=3))
    )


def test_arrays_by_dlpack(cupy: Any, rng: np.random.Generator) -> None:
    class Array:
        def __init__(self, array: Any) -> None:
            self.array = array

        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, **options: Any) -> Any:
            return self.array if hasattr(cupy, "IS_STAND_IN") else self.array.__dlpack__(**options)

    x = cupy.asarray(rng.normal(size=(1, 3, 4, 5)).astype(np.float32))
    np.testing.assert_array_equal(
        cupy.asnumpy(ops.interp(Array(x), zoom_factor=3)), cupy.asnumpy(ops.interp(x, zoom_factor=3))
    )


def test_bad_arguments(cupy: Any) -> None:
    x = cupy.asarray(np.zeros((1, 4, 5, 5), np.float32))
    weight = cupy.asarray(np.zeros((2, 4, 3, 3), np.float32))
    labels = cupy.asarray(np.zeros((1, 5, 5), np.int64))
    for call, message in (
        (lambda: ops.interp(np.zeros((1, 1, 2, 2)), zoom_factor=2), "interp: expected x as an array on a GPU"),
        (lambda: ops.interp(x[0], zoom_factor=2), "expected x .N, C, H, W., got shape .4, 5, 5."),
        (lambda: ops.interp(x.astype("float16"), zoom_factor=2), "float32 or float64, got float16"),
        (lambda: ops.interp(x), "exactly one of zoom_factor"),
        (lambda: ops.interp(x, height=3), "height and width go together"),
        (lambda: ops.interp_backward(x, (3, 3), 1), "must not be positive"),
        (lambda: ops.im2col(x, 7), "does not fit into 5"),
        (lambda: ops.col2im(x, 5, 3), "columns: expected shape"),
        (lambda: ops.conv2d(x, weight, groups=3), "groups must divide"),
        (lambda: ops.conv2d(x, weight[:, :2]), "is for 2 input channels, got an input of 4"),
        (lambda: ops.conv2d(x, weight.astype("float64")), "the weight is float64"),
        (lambda: ops.conv2d(x, weight, weight), "expected 2 biases"),
        (lambda: ops.conv2d_backward(x, x, weight), "expected grad .1, 2, 3, 3."),
        (lambda: ops.argmax(x, 5), "top_k must be between 1 and the 4 channels"),
        (lambda: ops.argmax_labels(x, ties="both"), "ties must be"),
        (lambda: ops.argmax_labels(x, dtype="int32"), "labels: expected uint8 or int64"),
        (lambda: ops.softmax_loss(x, labels[:, 1:]), "expected labels .1, 1, 5, 5."),
        (lambda: ops.softmax_loss(x, labels, class_weights=[1.0]), "one weight for each of 4 classes"),
        (lambda: ops.softmax_loss(x, labels, class_weights=[-1.0] * 4), "weights cannot be negative"),
        (lambda: ops.softmax_loss(x, labels, range(257)), "at most 256 labels can be ignored"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# Goldens


def gpu(cupy: Any, golden: GoldenOp, blob: str = "x") -> Any:
    return cupy.asarray(golden.data[blob])


@pytest.mark.parametrize("name", case_names("argmax_"))
def test_golden_argmax(name: str, cupy: Any) -> None:
    golden = golden_op(name)
    top_k = int(golden.parameters.get("top_k", ["1"])[0])
    actual = ops.argmax(gpu(cupy, golden), top_k, golden.parameters.get("out_max_val", ["false"])[0] == "true")
    np.testing.assert_array_equal(cupy.asnumpy(actual), golden.expected_data["y"])


@pytest.mark.parametrize("name", case_names("im2col_"))
def test_golden_im2col(name: str, cupy: Any) -> None:
    golden = golden_op(name)
    kernel = golden.pair("kernel", 1)
    names = (("stride", "stride", 1), ("pad", "pad", 0), ("dilation", "hole", 1))
    geometry = {name: golden.pair(key, default) for name, key, default in names}
    x = gpu(cupy, golden)
    np.testing.assert_array_equal(cupy.asnumpy(ops.im2col(x, kernel, **geometry)), golden.expected_data["y"])
    back = ops.col2im(cupy.asarray(golden.diff["y"]), x.shape[2:], kernel, **geometry)
    np.testing.assert_array_equal(cupy.asnumpy(back), golden.expected_diff["x"])


@pytest.mark.parametrize("name", [name for name in case_names("conv_") if name != "conv_two_bottoms"])
def test_golden_conv2d(name: str, cupy: Any) -> None:
    golden = golden_op(name)
    weight, bias = (cupy.asarray(golden.params[i]) if i in golden.params else None for i in (0, 1))
    geometry = [golden.pair(key, default) for key, default in (("stride", 1), ("pad", 0), ("hole", 1))]
    groups = int(golden.parameters.get("group", ["1"])[0])
    x = gpu(cupy, golden)
    actual = ops.conv2d(x, weight, bias, *geometry, groups)
    assert relative_error(cupy.asnumpy(actual), golden.expected_data["y"]) < RELATIVE_TOLERANCE
    grads = ops.conv2d_backward(cupy.asarray(golden.diff["y"]), x, weight, *geometry, groups)
    expected = [golden.expected_diff["x"], *(golden.expected_param_diff[i] for i in sorted(golden.params))]
    for actual, wanted in zip(grads, expected, strict=False):
        assert relative_error(cupy.asnumpy(actual).reshape(wanted.shape), wanted) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("name", case_names("interp_"))
def test_golden_interp(name: str, cupy: Any) -> None:
    golden = golden_op(name)
    names = ("height", "width", "zoom_factor", "shrink_factor", "pad_beg", "pad_end")
    given = {key: int(golden.parameters[key][0]) for key in names if key in golden.parameters}
    x = gpu(cupy, golden)
    assert relative_error(cupy.asnumpy(ops.interp(x, **given)), golden.expected_data["y"]) < RELATIVE_TOLERANCE
    if "y" in golden.diff:
        pads = given.get("pad_beg", 0), given.get("pad_end", 0)
        actual = ops.interp_backward(cupy.asarray(golden.diff["y"]), x.shape[2:], *pads)
        assert relative_error(cupy.asnumpy(actual), golden.expected_diff["x"]) < RELATIVE_TOLERANCE


@pytest.mark.parametrize("name", [name for name in case_names("softmaxloss_") if name != "softmaxloss_all_ignored"])
def test_golden_softmax_loss(name: str, cupy: Any) -> None:
    golden = golden_op(name)
    weights = None
    if "weight_source" in golden.parameters:
        weights = np.loadtxt(case_dir(name) / golden.parameters["weight_source"][0].strip('"')).tolist()
    ignored = [int(label) for label in golden.parameters.get("ignore_label", [])]
    found = ops.softmax_loss(gpu(cupy, golden), gpu(cupy, golden, "label"), ignored, weights)
    assert cupy.asnumpy(found.loss).item() == pytest.approx(golden.expected_data["loss"].item(), rel=RELATIVE_TOLERANCE)
    # The original leaves what was in an ignored pixel's diff; here it is 0.
    expected = np.where(np.isin(golden.data["label"], ignored), 0.0, golden.expected_diff["x"])
    actual = found.backward(float(golden.parameters.get("loss_weight", ["1"])[0]))
    assert relative_error(cupy.asnumpy(actual), expected) < RELATIVE_TOLERANCE


def test_large_images_need_64_bit_indices(cupy: Any) -> None:
    # What matters is the rule's reach, not the tensor: this kernel of two taps covers 2^30 pixels.
    hole = (1 << 30) - 1
    x = cupy.asarray(np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2))
    columns = ops.im2col(x, (2, 1), pad=(1 << 29, 0), dilation=(hole, 1), stride=(1 << 29, 1))
    expected = torch_im2col.im2col(
        to_torch(cupy.asnumpy(x)), (2, 1), pad=(1 << 29, 0), dilation=(hole, 1), stride=(1 << 29, 1)
    )
    np.testing.assert_array_equal(cupy.asnumpy(columns), expected.numpy())
    assert _C.use_run_time_kernels() or _C.with_cuda
