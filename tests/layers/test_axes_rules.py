"""Layers over blobs of 0 to 5 axes, forward and backward, against slow rules in numpy (DeepLab v2's dialect)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make

Array = np.ndarray
Rule = Callable[..., Array | Sequence[Array]]
SHAPES = [(), (3,), (2, 3), (2, 3, 4), (2, 2, 3, 2), (2, 1, 3, 2, 2)]
STEP = 1e-5


def numbers(shape: Sequence[int], seed: int = 0) -> Array:
    """Numbers from -3 to 3 that lie apart, and away from 0."""
    count = math.prod(shape)
    found = (np.random.default_rng(seed).permutation(count) + 0.3 - count / 2) * (6 / max(count, 1))
    return found.reshape(shape)


def check(
    kind: str,
    params: str,
    bottoms: Sequence[Array],
    rule: Rule,
    *,
    tops: int = 1,
    fixed: Sequence[int] = (),
) -> None:
    """The layer's tops are the rule's; so are the gradients of bottoms, but the ``fixed`` ones, and of parameters."""
    bottoms = [np.asarray(x) for x in bottoms]
    shapes = [tuple(x.shape) for x in bottoms]
    layer = make(kind, params, shapes, tops=tops, dialect=V2, layout="V2").double()
    blobs = [numbers(blob.shape, 7 + i) for i, blob in enumerate(layer.blobs)]
    for blob, value in zip(layer.blobs, blobs, strict=True):
        blob.data.copy_(torch.from_numpy(value))
    given = [torch.from_numpy(x).requires_grad_(i not in fixed) for i, x in enumerate(bottoms)]
    found = layer(*given)

    def tops_of(*arrays: Array) -> list[Array]:
        made = rule(*arrays)
        return [np.asarray(made)] if tops == 1 else [np.asarray(top) for top in made]

    expected = tops_of(*bottoms, *blobs)
    assert [tuple(top.shape) for top in found] == [tuple(shape) for shape in layer.top_shapes(shapes)]
    for top, truth in zip(found, expected, strict=True):
        assert tuple(top.shape) == truth.shape
        np.testing.assert_allclose(top.detach().numpy(), truth, rtol=1e-9, atol=1e-9)
    if not layer.differentiable:
        return
    weights = [numbers(top.shape, 3 + i) for i, top in enumerate(expected)]
    total = sum((top * torch.from_numpy(weight)).sum() for top, weight in zip(found, weights, strict=True))
    total.backward()
    arrays = [*bottoms, *blobs]
    gradients = [None if i in fixed else x.grad for i, x in enumerate(given)] + [blob.grad for blob in layer.blobs]
    for place, gradient in enumerate(gradients):
        if gradient is None:
            continue
        slope = np.zeros_like(arrays[place])
        for index in np.ndindex(*arrays[place].shape):
            ends = []
            for step in (-STEP, STEP):
                moved = [np.array(x) for x in arrays]
                moved[place][index] += step
                ends.append(sum((a * b).sum() for a, b in zip(tops_of(*moved), weights, strict=True)))
            slope[index] = (ends[1] - ends[0]) / (2 * STEP)
        np.testing.assert_allclose(gradient.numpy(), slope, rtol=1e-4, atol=1e-5)


def axes_of(shapes: Sequence[tuple[int, ...]]) -> list[tuple[tuple[int, ...], int]]:
    """Shapes and each of their axes, the last and the first also counted from the back."""
    return [(s, axis) for s in shapes if s for axis in (*range(len(s)), *sorted({-1, -len(s)}))]


POINTWISE: dict[str, tuple[str, Rule]] = {
    "AbsVal": ("", np.abs),
    "BNLL": ("", lambda x: np.log1p(np.exp(x))),
    "Dropout": ("", lambda x: x),
    "Exp": ("exp_param { base: 2 scale: 0.5 shift: 1 }", lambda x: 2 ** (0.5 * x + 1)),
    "Power": ("power_param { power: 2 scale: 3 shift: -1 }", lambda x: (3 * x - 1) ** 2),
    "ReLU": ("relu_param { negative_slope: 0.25 }", lambda x: np.where(x > 0, x, 0.25 * x)),
    "Sigmoid": ("", lambda x: 1 / (1 + np.exp(-x))),
    "Split": ("", lambda x: x),
    "TanH": ("", np.tanh),
    "Threshold": ("threshold_param { threshold: 0.5 }", lambda x: (x > 0.5).astype(float)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", POINTWISE)
def test_number_by_number(kind: str, shape: tuple[int, ...]) -> None:
    check(kind, POINTWISE[kind][0], [numbers(shape)], POINTWISE[kind][1])


ELTWISE: dict[str, Rule] = {
    "operation: SUM coeff: 2 coeff: -1 coeff: 0.5": lambda a, b, c: 2 * a - b + 0.5 * c,
    "operation: PROD": lambda a, b, c: a * b * c,
    "operation: PROD stable_prod_grad: false": lambda a, b, c: a * b * c,
    "operation: MAX": lambda a, b, c: np.maximum(np.maximum(a, b), c),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("params", ELTWISE)
def test_eltwise(params: str, shape: tuple[int, ...]) -> None:
    check("Eltwise", f"eltwise_param {{ {params} }}", [numbers(shape, i) + 0.02 * i for i in range(3)], ELTWISE[params])


@pytest.mark.parametrize("shape", SHAPES)
def test_parameter(shape: tuple[int, ...]) -> None:
    dims = " ".join(f"dim: {size}" for size in shape)
    check("Parameter", f"parameter_param {{ shape {{ {dims} }} }}", [], lambda weight: weight)


def softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_softmax(shape: tuple[int, ...], axis: int) -> None:
    check("Softmax", f"softmax_param {{ axis: {axis} }}", [numbers(shape)], lambda x: softmax(x, axis))


@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_argmax_along_an_axis(shape: tuple[int, ...], axis: int) -> None:
    x = np.round(numbers(shape))  # with ties, which the larger index wins
    keys = np.moveaxis(x, axis, -1)
    order = np.lexsort((np.broadcast_to(np.arange(keys.shape[-1]), keys.shape), keys), axis=-1)[..., ::-1]
    for k, values in itertools.product({1, shape[axis]}, (False, True)):
        taken = order[..., :k]
        expected = np.moveaxis(np.take_along_axis(keys, taken, -1) if values else taken.astype(float), -1, axis)
        params = f"argmax_param {{ axis: {axis} top_k: {k} out_max_val: {str(values).lower()} }}"
        check("ArgMax", params, [x], lambda x, top=expected: top)


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_argmax_of_items(shape: tuple[int, ...]) -> None:
    rows = numbers(shape).reshape(shape[0], -1)
    best = rows.argmax(1).astype(float)
    more = (1,) * (len(shape) - 3)
    check("ArgMax", "", [numbers(shape)], lambda x: best.reshape(-1, 1, 1, *more))
    both = np.stack([best, rows.max(1)], axis=1).reshape(-1, 2, 1, *more)
    check("ArgMax", "argmax_param { out_max_val: true }", [numbers(shape)], lambda x: both)


@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_concat_and_slice(shape: tuple[int, ...], axis: int) -> None:
    longer = list(shape)
    longer[axis] += 2
    blobs = [numbers(shape), numbers(longer, 1), numbers(shape, 2)]
    check("Concat", f"concat_param {{ axis: {axis} }}", blobs, lambda *parts: np.concatenate(parts, axis))
    joined = np.concatenate(blobs, axis)
    points = [shape[axis], shape[axis] + longer[axis]]
    params = f"slice_param {{ axis: {axis} slice_point: {points[0]} slice_point: {points[1]} }}"
    check("Slice", params, [joined], lambda x: np.split(x, points, axis), tops=3)
    double = np.concatenate([blobs[0], blobs[2]], axis)
    check("Slice", f"slice_param {{ axis: {axis} }}", [double], lambda x: np.split(x, 2, axis), tops=2)
    if axis >= 0:
        check("Concat", f"concat_param {{ concat_dim: {axis} }}", blobs[:1], lambda x: x)
        check("Slice", f"slice_param {{ slice_dim: {axis} }}", [double], lambda x: np.split(x, 2, axis), tops=2)


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_flatten(shape: tuple[int, ...]) -> None:
    for first, last in itertools.product(range(-len(shape), len(shape)), repeat=2):
        begin, end = first % len(shape), last % len(shape)
        params = f"flatten_param {{ axis: {first} end_axis: {last} }}"
        if begin > end + 1:
            with pytest.raises(NetError, match="lies before axis"):
                make("Flatten", params, [shape], dialect=V2, layout="V2")
            continue
        top = (*shape[:begin], math.prod(shape[begin : end + 1]), *shape[end + 1 :])
        check("Flatten", params, [numbers(shape)], lambda x, top=top: x.reshape(top))


# Bottom, parameters, top.
RESHAPES = [
    ((), "shape { }", ()),
    ((), "shape { dim: 1 dim: 1 }", (1, 1)),
    ((), "shape { dim: -1 }", (1,)),
    ((6,), "shape { dim: 2 dim: 3 }", (2, 3)),
    ((2, 12), "shape { dim: 0 dim: 3 dim: -1 dim: 2 }", (2, 3, 2, 2)),
    ((2, 3, 4), "shape { dim: 0 dim: 0 dim: -1 }", (2, 3, 4)),
    ((2, 3, 4), "shape { dim: -1 dim: 0 }", (8, 3)),
    ((2, 3, 4), "shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 1)),
    ((2, 3, 4), "shape { dim: 1 } axis: -2 num_axes: 0", (2, 3, 1, 4)),
    ((2, 3, 4), "shape { dim: 1 dim: 1 } axis: -4 num_axes: 0", (1, 1, 2, 3, 4)),
    ((2, 3, 4), "shape { dim: 12 } axis: 1", (2, 12)),
    ((2, 3, 4), "shape { dim: -1 } axis: -3", (2, 12)),
    ((2, 3, 4, 5), "shape { dim: 2 dim: -1 } axis: 1 num_axes: 2", (2, 2, 6, 5)),
    ((2, 3, 4, 1, 2), "shape { dim: 0 dim: -1 dim: 2 } axis: 2", (2, 3, 4, 1, 2)),
    ((1, 3, 1), "shape { } axis: 2 num_axes: 1", (1, 3)),
    ((0, 3, 4), "shape { dim: 0 dim: -1 }", (0, 12)),
    ((0, 3, 4), "shape { dim: -1 dim: 6 }", (0, 6)),
]


@pytest.mark.parametrize(("bottom", "params", "top"), RESHAPES)
def test_reshape(bottom: tuple[int, ...], params: str, top: tuple[int, ...]) -> None:
    check("Reshape", f"reshape_param {{ {params} }}", [numbers(bottom)], lambda x: x.reshape(top))


@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_crop(shape: tuple[int, ...], axis: int) -> None:
    first = axis % len(shape)
    larger = [size + 2 * (place >= first) for place, size in enumerate(shape)]
    other = [size if place >= first else 9 for place, size in enumerate(shape)]
    for offsets in ([], [2], [place % 3 for place in range(len(shape) - first)]):
        starts = offsets * (len(shape) - first) if len(offsets) == 1 else offsets or [0] * (len(shape) - first)
        cut = (slice(None),) * first + tuple(
            slice(start, start + size) for start, size in zip(starts, shape[first:], strict=True)
        )
        params = f"crop_param {{ axis: {axis} {' '.join(f'offset: {n}' for n in offsets)} }}"
        check("Crop", params, [numbers(larger), numbers(other)], lambda x, other, cut=cut: x[cut], fixed=[1])


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_items(shape: tuple[int, ...]) -> None:
    indices = np.array([0, shape[0] - 1, 0, 0], float)
    check("BatchReindex", "", [numbers(shape), indices], lambda x, i: x[indices.astype(int)], fixed=[1])
    selector = (np.arange(shape[0]) % 2 == 1).astype(float)
    chosen = selector.astype(bool)
    with pytest.raises(AssertionError, match=r"^assert \[\("):  # fewer items than the shapes before say
        check("Filter", "", [numbers(shape), selector], lambda x, s: x[chosen], fixed=[1])
    everything = np.full((shape[0], 1), -0.5)
    check("Filter", "", [numbers(shape), numbers(shape, 1), everything], lambda x, y, s: (x, y), tops=2, fixed=[2])


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_inner_product(shape: tuple[int, ...], axis: int, transpose: bool) -> None:
    def rule(x: Array, weight: Array, bias: Array) -> Array:
        rows = x.reshape(*shape[: axis % len(shape)], -1)
        return rows @ (weight if transpose else weight.T) + bias

    params = f"inner_product_param {{ num_output: 4 axis: {axis} transpose: {str(transpose).lower()} }}"
    check("InnerProduct", params, [numbers(shape)], rule)


def places(x: Array, kernel: Sequence[int], geometry: Sequence[Sequence[int]]) -> Iterator[tuple[tuple, tuple, tuple]]:
    """Of a convolution over the last axes of ``x``: output, tap, and input place where it lies in the blob."""
    stride, pad, dilation = geometry
    sizes = x.shape[x.ndim - len(kernel) :]
    outputs = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(sizes, kernel, stride, pad, dilation, strict=True)
    ]
    for output, tap in itertools.product(np.ndindex(*outputs), np.ndindex(*kernel)):
        place = tuple(o * s - p + t * d for o, s, p, t, d in zip(output, stride, pad, tap, dilation, strict=True))
        if all(0 <= i < n for i, n in zip(place, sizes, strict=True)):
            yield output, tap, place


def convolution(x: Array, weight: Array, bias: Array, geometry: Sequence[Sequence[int]], group: int) -> Array:
    """Of x (N, C, ...) by the definition."""
    kernel = weight.shape[2:]
    stride, pad, dilation = geometry
    sizes = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    ]
    top = np.zeros((len(x), len(weight), *sizes)) + bias.reshape(-1, *(1,) * len(kernel))
    wide, deep = len(weight) // group, weight.shape[1]
    for output, tap, place in places(x, kernel, geometry):
        for g in range(group):
            rows = x[(slice(None), slice(g * deep, (g + 1) * deep), *place)]
            taps = weight[(slice(g * wide, (g + 1) * wide), slice(None), *tap)]
            top[(slice(None), slice(g * wide, (g + 1) * wide), *output)] += rows @ taps.T
    return top


def deconvolution(x: Array, weight: Array, bias: Array, geometry: Sequence[Sequence[int]], group: int) -> Array:
    """Of x (N, C, ...): each number is spread over the places that a convolution would read for it."""
    kernel = weight.shape[2:]
    stride, pad, dilation = geometry
    sizes = [
        s * (n - 1) + d * (k - 1) + 1 - 2 * p
        for n, k, s, p, d in zip(x.shape[2:], kernel, stride, pad, dilation, strict=True)
    ]
    deep, wide = len(weight) // group, weight.shape[1]
    top = np.zeros((len(x), wide * group, *sizes)) + bias.reshape(-1, *(1,) * len(kernel))
    for output, tap, place in places(top, kernel, geometry):
        if any(o >= n for o, n in zip(output, x.shape[2:], strict=True)):
            continue
        for g in range(group):
            rows = x[(slice(None), slice(g * deep, (g + 1) * deep), *output)]
            taps = weight[(slice(g * deep, (g + 1) * deep), slice(None), *tap)]
            top[(slice(None), slice(g * wide, (g + 1) * wide), *place)] += rows @ taps
    return top


# Bottom, axis, parameters; kernel, stride, pad and dilation for each spatial axis; group.
GEOMETRIES = [
    ((2, 4), 1, "kernel_size: 1", [()] * 4, 1),
    ((3, 4), -1, "kernel_size: 1 group: 2", [()] * 4, 2),
    ((4,), 0, "kernel_size: 1", [()] * 4, 1),
    ((2, 4), 1, "", [()] * 4, 1),
    ((3, 2, 4), -1, "pad: 1 stride: 2 dilation: 3 group: 2", [()] * 4, 2),
    ((2, 3, 6), 1, "kernel_size: 3 dilation: 2 pad: 1", [(3,), (1,), (1,), (2,)], 1),
    ((2, 7), 0, "kernel_size: 2 stride: 2", [(2,), (2,), (0,), (1,)], 2),
    ((2, 5, 4), 0, "kernel_size: 3 pad: 1", [(3, 3), (1, 1), (1, 1), (1, 1)], 1),
    ((2, 2, 5, 4), 1, "kernel_size: 3 kernel_size: 2 stride: 2 stride: 1 pad: 1", [(3, 2), (2, 1), (1, 1), (1, 1)], 1),
    ((1, 4, 4, 3), -3, "kernel_h: 2 kernel_w: 3 pad_h: 0 pad_w: 2", [(2, 3), (1, 1), (0, 2), (1, 1)], 4),
    ((2, 2, 4, 5), -2, "kernel_size: 3 stride: 2", [(3,), (2,), (0,), (1,)], 1),
    ((1, 2, 3, 3, 4), 1, "kernel_size: 2 pad: 1 dilation: 2", [(2,) * 3, (1,) * 3, (1,) * 3, (2,) * 3], 1),
    (
        (1, 2, 3, 3, 4),
        1,
        "kernel_size: 1 kernel_size: 2 kernel_size: 3 stride: 1 stride: 2 stride: 1",
        [(1, 2, 3), (1, 2, 1), (0,) * 3, (1,) * 3],
        2,
    ),
    ((2, 1, 2, 3, 3), 2, "kernel_size: 2", [(2, 2), (1, 1), (0, 0), (1, 1)], 1),
]


@pytest.mark.parametrize("engine", ["CAFFE", "CUDNN"])
@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize(("shape", "axis", "params", "geometry", "group"), GEOMETRIES)
def test_convolutions(
    kind: str, engine: str, shape: tuple[int, ...], axis: int, params: str, geometry: list[tuple], group: int
) -> None:
    function = {"Convolution": convolution, "Deconvolution": deconvolution}[kind]
    front = shape[: axis % len(shape)]

    def rule(x: Array, weight: Array, bias: Array) -> Array:
        assert weight.shape[2:] == geometry[0]
        y = function(x.reshape(-1, *shape[len(front) :]), weight, bias, geometry[1:], group)
        return y.reshape(*front, *y.shape[1:])

    grouped = "" if "group" in params else f"group: {group}"
    text = f"convolution_param {{ num_output: 4 axis: {axis} {params} {grouped} engine: {engine} }}"
    check(kind, text, [numbers(shape)], rule)


@pytest.mark.parametrize(
    ("shape", "axis", "params", "geometry", "group"), [case for case in GEOMETRIES if case[3][0] != ()]
)
def test_im2col(shape: tuple[int, ...], axis: int, params: str, geometry: list[tuple], group: int) -> None:
    kernel, front = geometry[0], shape[: axis % len(shape)]

    def rule(x: Array) -> Array:
        folded = x.reshape(-1, *shape[len(front) :])
        found = list(places(folded, kernel, geometry[1:]))
        top = np.zeros((*folded.shape[:2], *kernel, *(1 + max(o[i] for o, _, _ in found) for i in range(len(kernel)))))
        for output, tap, place in found:
            top[(slice(None), slice(None), *tap, *output)] = folded[(slice(None), slice(None), *place)]
        return top.reshape(*front, -1, *top.shape[2 + len(kernel) :])

    check("Im2col", f"convolution_param {{ axis: {axis} {params} }}", [numbers(shape)], rule)


def test_more_than_three_spatial_axes_are_refused() -> None:
    for kind in ("Convolution", "Deconvolution", "Im2col"):
        with pytest.raises(NetError, match="layer 'l': 4 spatial axes are not implemented, 3 at most"):
            make(
                kind,
                "convolution_param { num_output: 1 kernel_size: 1 }",
                [(1, 1, 1, 1, 1, 1)],
                dialect=V2,
                layout="V2",
            )


@pytest.mark.filterwarnings("ignore:.*every label is ignored")
@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_losses_along_an_axis(shape: tuple[int, ...], axis: int) -> None:
    rest = [size for place, size in enumerate(shape) if place != axis % len(shape)]
    labels = np.random.default_rng(1).integers(0, shape[axis], rest).astype(float)
    if labels.size:
        labels.flat[-1] = min(1, shape[axis] - 1)
    ignored = 1.0

    def loss(x: Array, labels: Array, divisor: Callable[[Array], float]) -> Array:
        probabilities = np.moveaxis(softmax(x, axis), axis, -1)
        own = np.take_along_axis(probabilities, labels.astype(int)[..., None], -1)[..., 0]
        counted = labels != ignored
        return np.array(-np.log(own[counted]).sum() / max(divisor(counted), 1))

    before = math.prod(shape[: axis % len(shape)])
    for mode, divisor in {
        "VALID": np.sum,
        "FULL": np.size,
        "BATCH_SIZE": lambda counted: before,
        "NONE": lambda counted: 1,
    }.items():
        params = f"softmax_param {{ axis: {axis} }} loss_param {{ ignore_label: 1 normalization: {mode} }}"
        check("SoftmaxWithLoss", params, [numbers(shape), labels], lambda x, y, d=divisor: loss(x, y, d), fixed=[1])
    best = np.moveaxis(numbers(shape), axis, -1).argmax(-1)
    counted = labels != ignored
    share = (best == labels)[counted].mean() if counted.any() else 0.0
    params = f"accuracy_param {{ axis: {axis} ignore_label: 1 }}"
    check("Accuracy", params, [numbers(shape), labels], lambda x, y: np.array(share), fixed=[1])


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_losses_of_items(shape: tuple[int, ...]) -> None:
    x, y = numbers(shape), numbers(shape, 1)
    check("EuclideanLoss", "", [x, y], lambda x, y: np.array(((x - y) ** 2).sum() / (2 * shape[0])))
    flat = y.reshape(shape[0], -1)
    check("EuclideanLoss", "", [x, flat], lambda x, y: np.array(((x.reshape(y.shape) - y) ** 2).sum() / (2 * shape[0])))
    labels = np.random.default_rng(2).integers(0, math.prod(shape[1:]), shape[0]).astype(float)
    own = np.eye(math.prod(shape[1:]))[labels.astype(int)]

    def hinge(x: Array, labels: Array) -> Array:
        return np.array(np.maximum(0, 1 + (1 - 2 * own) * x.reshape(own.shape)).sum() / shape[0])

    check("HingeLoss", "", [x, labels], hinge, fixed=[1])
    check(
        "MultinomialLogisticLoss",
        "",
        [np.abs(x), labels],
        lambda p, y: np.array(-(own * np.log(p.reshape(own.shape))).sum() / shape[0]),
        fixed=[1],
    )


@pytest.mark.parametrize("shape", SHAPES[1:])
@pytest.mark.parametrize("ignored", ["", "ignore_label: 2"])
@pytest.mark.parametrize("mode", ["", "normalization: VALID", "normalization: FULL", "normalization: NONE"])
def test_sigmoid_cross_entropy(mode: str, ignored: str, shape: tuple[int, ...]) -> None:
    targets = np.random.default_rng(4).integers(0, 3 if ignored else 2, shape).astype(float)
    counted = targets != 2
    divisor = {"VALID": max(counted.sum(), 1), "FULL": counted.size, "NONE": 1}.get(mode[15:], shape[0])

    def rule(x: Array, targets: Array) -> Array:
        return np.array((np.log1p(np.exp(x)) - targets * x)[counted].sum() / divisor)

    params = f"loss_param {{ {mode} {ignored} }}"
    check("SigmoidCrossEntropyLoss", params, [numbers(shape), targets], rule, fixed=[1])


@pytest.mark.parametrize(("shape", "axis"), axes_of(SHAPES))
def test_infogain_of_scores(shape: tuple[int, ...], axis: int) -> None:
    rest = [size for place, size in enumerate(shape) if place != axis % len(shape)]
    labels, classes = np.asarray(np.random.default_rng(1).integers(0, shape[axis], rest), float), shape[axis]
    own, before = labels.astype(int), math.prod(shape[: axis % len(shape)])
    for mode, divisor in {
        "VALID": max((own != 1).sum(), 1),
        "FULL": own.size,
        "BATCH_SIZE": before,
        "NONE": 1,
    }.items():

        def rule(x: Array, labels: Array, matrix: Array, divisor: int = divisor) -> Array:
            logs = np.log(np.moveaxis(softmax(x, axis), axis, -1))
            return np.array(-(matrix[own] * logs)[own != 1].sum() / divisor)

        params = f"infogain_loss_param {{ axis: {axis} }} loss_param {{ ignore_label: 1 normalization: {mode} }}"
        blobs = [numbers(shape), labels, numbers((classes, classes), 4)]
        check("InfogainLoss", params, blobs, rule, fixed=[1, 2])


@pytest.mark.parametrize("shape", SHAPES[3:5])
@pytest.mark.parametrize("across", [False, True])
def test_mvn(shape: tuple[int, ...], across: bool) -> None:
    def rule(x: Array) -> Array:
        rows = x.reshape(shape[0], 1 if across else shape[1], -1)
        centred = rows - rows.mean(-1, keepdims=True)
        top = centred / np.sqrt((centred**2).mean(-1, keepdims=True))
        return top.reshape(shape + (1,) * (4 - len(shape)))  # it has always four

    check("MVN", f"mvn_param {{ across_channels: {str(across).lower()} }}", [numbers(shape)], rule)


def test_argmax_of_a_single_number() -> None:
    with pytest.raises(NetError, match="layer 'l'.*: bottom 'b0' is a single number, expected axes"):
        make("ArgMax", "", [()], dialect=V2)
