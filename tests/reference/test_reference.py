"""The slow rules by numbers that can be checked by hand, and as far as two of them must agree."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from deeplab_caffe import reference
from deeplab_caffe.reference import lattice as lattice_rules
from deeplab_caffe.reference.mean_field import fast_exp, softmax

NAN = float("nan")


def test_it_imports_neither_torch_nor_the_extension() -> None:
    code = (
        "import sys, deeplab_caffe.reference\n"
        "print([name for name in ('torch', 'deeplab_caffe._C', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_interp() -> None:
    x = np.array([[[[0.0, 2.0], [4.0, 6.0]]]])
    assert reference.interp(x, 3, 3)[0, 0].tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert reference.interp(x, 1, 1).item() == 0
    assert reference.interp(reference.interp(x, 3, 3), 2, 2, pad_beg=-1)[0, 0].tolist() == [[3, 4], [5, 6]]
    assert reference.interp(x[..., :1], 2, 3)[0, 0].tolist() == [[0, 0, 0], [4, 4, 4]]
    row = np.array([[[[0.0, 4.0]]]])
    assert reference.interp(row, 1, 4, align_corners=False).ravel().tolist() == [0, 1, 3, 4]
    assert reference.interp(row, 1, 1, align_corners=False).ravel().tolist() == [2]


def test_interp_argmax_and_softmax() -> None:
    scores = np.array([[[[0.0, 4.0]], [[2.0, 2.0]]]])  # 0 2 4 against 2 2 2
    assert reference.interp_argmax(scores, 1, 5).tolist() == [[[1, 1, 1, 0, 0]]]
    assert reference.interp_argmax(scores, 1, 5, ties="first").tolist() == [[[1, 1, 0, 0, 0]]]
    scores = np.array([[[[0.0, 2 * math.log(3)]], [[0.0, 0.0]]]])
    found = reference.interp_softmax(scores, 1, 3)[0, :, 0]
    np.testing.assert_allclose(found, [[1 / 2, 3 / 4, 9 / 10], [1 / 2, 1 / 4, 1 / 10]], rtol=1e-12)


def test_im2col_and_col2im() -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    columns = reference.im2col(x, (2, 2), (1, 1), (0, 0), (2, 2))
    assert columns.ravel().tolist() == [0, 2, 6, 8]
    image = reference.col2im(columns, (3, 3), (2, 2), (1, 1), (0, 0), (2, 2))
    assert image[0, 0].tolist() == [[0, 0, 2], [0, 0, 0], [6, 0, 8]]
    padded = reference.im2col(x + 1, (1, 3), (2, 2), (0, 1), (1, 1))
    assert padded.reshape(3, 4).tolist() == [[0, 2, 0, 8], [1, 3, 7, 9], [2, 0, 8, 0]]


def test_conv2d() -> None:
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    weight = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 1, 2, 2)
    assert reference.conv2d(x, weight, np.array([0.5]), dilation=(2, 2)).item() == 8620.5
    assert reference.conv2d(x, weight)[0, 0].tolist() == [[4310, 5421], [7643, 8754]]
    two = np.array([[[[3.0]], [[5.0]]]])
    grouped = reference.conv2d(two, np.array([2.0, 7.0]).reshape(2, 1, 1, 1), groups=2)
    assert grouped.ravel().tolist() == [6, 35]


def test_softmax_loss() -> None:
    # p = (1/4, 3/4) at both pixels, and a third, ignored one.
    scores = np.array([[[[0.0, 0.0, 9.0]], [[math.log(3), math.log(3), NAN]]]])
    labels = np.array([[[[0.0, 1.9, 255.0]]]])
    loss, grad = reference.softmax_loss(scores, labels)
    assert loss == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    np.testing.assert_allclose(grad[0, :, 0], [[-0.375, 0.125, 0], [0.375, -0.125, 0]])
    loss, _ = reference.softmax_loss(scores, labels, class_weights=[3.0, 1.0])
    assert loss == pytest.approx((3 * math.log(4) + math.log(4 / 3)) / 4)
    assert reference.softmax_loss(scores, np.full((1, 1, 3), 255))[0] == 0


def test_argmax() -> None:
    scores = np.array([3.0, 7.0, NAN, 7.0]).reshape(1, 4, 1, 1)
    indices, values = reference.argmax(scores, 4)
    assert indices.ravel().tolist() == [3, 1, 0, 2]
    assert values.ravel()[:3].tolist() == [7, 7, 3]
    assert reference.argmax_labels(scores).item() == 1
    assert reference.argmax_labels(scores, "last").item() == 3


def test_max_pool() -> None:
    x = np.array([[1, -2, 3], [-4, -5, -6]], np.float32).reshape(1, 1, 2, 3)
    assert reference.max_pool(x, (2, 2), (1, 1), (0, 0), (1, 2)).ravel().tolist() == [1, 3]
    assert reference.max_pool(-abs(x), (3, 3), (2, 2), (1, 1), (1, 2)).ravel().tolist() == [-1, -2]
    outside = reference.max_pool(x, (1, 1), (2, 1), (0, 0), (2, 1))
    assert outside.ravel().tolist() == [1, np.finfo(np.float32).min]


@pytest.mark.parametrize("tile", [2, 4])
def test_winograd(tile: int) -> None:
    # A kernel of one tap at its centre, transformed: G's middle column, with itself.
    weight = np.zeros((1, 1, 3, 3))
    weight[0, 0, 1, 1] = 2
    middle = {2: [0, 1 / 2, -1 / 2, 0], 4: [0, -1 / 6, 1 / 6, 1 / 12, -1 / 12, 0]}[tile]
    np.testing.assert_allclose(reference.winograd_weight(weight, tile)[0, 0], 2 * np.outer(middle, middle), rtol=1e-12)
    # It doubles an image, whatever its size, and with a hole too.
    x = np.arange(42.0).reshape(1, 1, 6, 7)
    np.testing.assert_allclose(reference.winograd_conv2d(x, weight, tile), 2 * x, atol=1e-12)
    np.testing.assert_allclose(reference.winograd_conv2d(x, weight, tile, (3, 2), (3, 2)), 2 * x, atol=1e-12)
    weight[0, 0] = 1
    found = reference.winograd_conv2d(x, weight, tile, (0, 0))
    np.testing.assert_allclose(found, reference.conv2d(x, weight), rtol=1e-12)


def test_preprocess() -> None:
    image = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    blob = reference.preprocess(image, [1, 2, 3], (2, 3))
    assert blob[0, :, 0].tolist() == [[29, 59, 0], [18, 48, 0], [7, 37, 0]]
    assert not blob[0, :, 1].any()


def test_lattice_of_one_point() -> None:
    # Weight 1 of feature 0 lies on one vertex; each axis' blur keeps it there, so that slicing gives alpha.
    keys, weights = lattice_rules.locate(np.zeros(2, np.float32))
    assert keys[0] == (0, 0)
    assert weights == [1, 0, 0]
    filtered = reference.lattice_filter(np.zeros((1, 2), np.float32), np.array([[3.0]]))
    # 0 of the two other vertices take half of a neighbour each and give half of that back.
    assert filtered.shape == (1, 1)
    assert 3 * 0.8 <= filtered.item() < 2 * 3 * 0.8


def test_neighbours() -> None:
    before, after = lattice_rules.neighbours((0, 0), 0)
    assert before == (2, -1)
    assert after == (-2, 1)
    assert lattice_rules.neighbours((0, 0), 2) == ((-1, -1), (1, 1))


def test_elevation_sums_to_zero() -> None:
    elevated = lattice_rules.elevate(np.array([1.5, -0.25], np.float32))
    assert sum(map(float, elevated)) == pytest.approx(0, abs=1e-6)


def test_fast_exp_and_softmax() -> None:
    assert fast_exp(np.array([0.0, -20.5])).tolist() == [1, 0]
    np.testing.assert_allclose(softmax(np.array([[0.0, math.log(3)]])), [[1 / 4, 3 / 4]], rtol=1e-6)


def test_mean_field_without_kernels_is_the_softmax() -> None:
    scores = np.array([[0.0, math.log(3)]], np.float32)
    np.testing.assert_allclose(reference.mean_field(scores, [], 3), [[1 / 4, 3 / 4]], rtol=1e-6)


def test_mean_field_of_two_equal_points_agrees() -> None:
    """Points of one feature send each other their marginals: with a great weight the surer one decides."""
    features = np.zeros((2, 2), np.float32)
    scores = np.array([[2.0, 0.0], [0.0, 0.5]], np.float32)
    found = reference.mean_field(scores, [(features, 50.0)], 5)
    assert found.argmax(axis=1).tolist() == [0, 0]


def test_image_features() -> None:
    image = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    found = reference.image_features(2, 3, (2.0, 4.0), image, (1.0, 2.0, 4.0))
    assert found.shape == (6, 5)
    assert found[4].tolist() == [0.5, 0.25, 12, 6.5, 3.5]
    assert reference.image_features(2, 3, (2.0, 4.0))[4].tolist() == [0.5, 0.25]


def test_domain_transform() -> None:
    # Weights of 1 / 2 at each pixel, in one iteration: sigma is spatial_sigma, and the edges are 0.
    half = math.sqrt(2) / math.log(2)
    edges = np.zeros((1, 1, 1, 3))
    x = np.array([[[[0.0, 4.0, 8.0]]]])
    # To the right: 0, 2, 5; back: 7 / 4, 7 / 2, 5.
    found = reference.domain_transform(x, edges, iterations=1, spatial_sigma=half)
    np.testing.assert_allclose(found.ravel(), [1.75, 3.5, 5], rtol=1e-12)
    np.testing.assert_allclose(
        reference.domain_transform(x.reshape(1, 1, 3, 1), edges.reshape(1, 1, 3, 1), None, 1, half).ravel(),
        found.ravel(),
    )
    # An edge keeps what is left of it apart from it, and the last pixel is outside of the size.
    edges[..., 1] = 1e9
    found = reference.domain_transform(x, edges, [(1, 2)], iterations=1, spatial_sigma=half)
    assert found.ravel().tolist() == [0, 4, 8]
    # A negative edge's weight would be 2: cut to 1, it copies the neighbour.
    edges[..., 1:] = 0, -2
    same = {"iterations": 1, "spatial_sigma": half, "range_sigma": half}
    assert reference.domain_transform(x, edges, **same).ravel() == pytest.approx([1, 2, 2])
    assert reference.domain_transform(x, edges, clamp=False, **same).ravel()[2] == pytest.approx(-4)
    assert reference.domain_transform(x, edges + 1e9, min_weight=0.5, **same).ravel() == pytest.approx([1.75, 3.5, 5])


def test_domain_transforms_gradients() -> None:
    rng = np.random.default_rng(1)
    x, grad = rng.normal(size=(2, 2, 2, 3, 4))
    edges, sizes, sigmas = rng.random((2, 1, 3, 4)), [(3, 4), (2, 3)], (2, 5.0, 0.7)
    found = reference.domain_transform(x, edges, sizes, *sigmas, grad=grad)
    step = 1e-6
    for given, gradient in ((x, found[0]), (edges, found[1])):
        for place in np.ndindex(*given.shape):
            sides = []
            for change in (step, -step):
                given[place] += change
                sides.append((reference.domain_transform(x, edges, sizes, *sigmas) * grad).sum())
                given[place] -= change
            assert gradient[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-7)
    # The slope of a weight that is cut is that of the weight it is cut to.
    x, edges = np.array([[[[0.0, 1.0]]]]), np.array([[[[0.0, 1e3]]]])
    kwargs = {"iterations": 1, "spatial_sigma": math.sqrt(2), "range_sigma": math.sqrt(2), "min_weight": 0.5}
    _, slope = reference.domain_transform(x, edges, grad=np.array([[[[0.0, 1.0]]]]), **kwargs)
    assert slope.ravel() == pytest.approx([0, 0.5])
