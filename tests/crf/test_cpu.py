from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays
from deeplab_caffe.crf import CRFParams, dense_crf, layer_inference
from deeplab_caffe.reference import image_features, mean_field

NO_KERNELS = CRFParams(pos_w=(), pos_xy_std=(), bi_w=(), bi_xy_std=(), bi_rgb_std=())


def pixels(marginals: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H * W, C)"""
    return marginals.reshape(len(marginals), -1).T


def test_without_kernels_it_is_the_softmax_of_the_scores() -> None:
    scores = np.log(np.array([[[1.0, 2.0]], [[3.0, 2.0]]]))
    for params, iterations in ((NO_KERNELS, 3), (CRFParams(), 0)):
        marginals = dense_crf(scores, np.zeros((1, 2, 3), np.uint8), params, iterations=iterations)
        np.testing.assert_allclose(marginals, [[[0.25, 0.5]], [[0.75, 0.5]]], rtol=1e-6)


def test_one_iteration_by_hand() -> None:
    # Two pixels so far apart that neither feels the other: the normalised filter gives Q back, and one iteration is
    # softmax(score + weight * Q).
    params = CRFParams(pos_w=2.0, pos_xy_std=0.01, bi_w=0.0)
    scores = np.log(np.array([[[1.0, 1.0]], [[3.0, 1.0]]], np.float32))
    actual = dense_crf(scores, None, params, iterations=1)
    first = np.exp([2 * 0.25, np.log(3) + 2 * 0.75])
    np.testing.assert_allclose(actual[:, 0, 0], first / first.sum(), rtol=1e-5)
    np.testing.assert_allclose(actual[:, 0, 1], [0.5, 0.5], rtol=1e-6)


def test_fast_exp_is_near_exp_and_zero_below_minus_twenty() -> None:
    gaps = np.concatenate([np.linspace(0, 20, 20001), 0.69 * 2.0 ** np.arange(-3, 5)]).astype(np.float32)
    scores = np.stack([np.zeros_like(gaps), -gaps])[:, None]
    expected = 1 / (1 + np.exp(gaps.astype(np.float64)))
    # Squaring five times makes the polynomial's float rounding 32 times what it was.
    np.testing.assert_allclose(dense_crf(scores, None, NO_KERNELS)[1, 0], expected, rtol=1e-5, atol=0)
    np.testing.assert_allclose(dense_crf(scores, None, NO_KERNELS)[1, 0], expected, rtol=0, atol=2e-7)

    beyond = np.array(
        [[[0, 0, 0, 0]], [[-20.0, np.nextafter(np.float32(-20), np.float32(-21)), -90, -3e38]]], np.float32
    )
    assert (dense_crf(beyond, None, NO_KERNELS)[1, 0] > 0).tolist() == [True, False, False, False]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7, 8, 9, 16, 21, 24, 25, 32, 33, 40, 65, 300])
def test_any_number_of_labels(channels: int, rng: np.random.Generator) -> None:
    height, width = 3, 7
    scores = rng.normal(scale=2, size=(channels, height, width)).astype(np.float32)
    image = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    params = CRFParams(3, 3, 5, 20, 60)
    if channels == 1:  # which dense_crf takes for a foreground
        actual = layer_inference(scores[None], None, image.transpose(2, 0, 1)[None], params, iterations=2)[0]
    else:
        actual = dense_crf(scores, image, params, iterations=2)
    features = [image_features(height, width, (3, 3)), image_features(height, width, (20, 20), image, (60, 60, 60))]
    expected = mean_field(pixels(scores), [(features[0], 3), (features[1], 5)], 2)
    np.testing.assert_allclose(pixels(actual), expected, atol=2e-6)
    np.testing.assert_allclose(actual.sum(axis=0), 1, rtol=1e-6)


@pytest.mark.parametrize("sse_padding", [True, False])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (5, 1), (8, 6)])
def test_several_kernels_and_sizes(height: int, width: int, sse_padding: bool, rng: np.random.Generator) -> None:
    scores = rng.normal(scale=2, size=(4, height, width)).astype(np.float32)
    image = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    params = CRFParams(
        pos_w=(2, 1), pos_xy_std=(3, (8, 5)), bi_w=(3, 2), bi_xy_std=((40, 30), 15), bi_rgb_std=((9, 20, 40), 50)
    )
    actual = dense_crf(scores, image, params, iterations=3, sse_padding=sse_padding)
    kernels = [
        (image_features(height, width, (3, 3)), 2),
        (image_features(height, width, (8, 5)), 1),
        (image_features(height, width, (40, 30), image, (9, 20, 40)), 3),
        (image_features(height, width, (15, 15), image, (50, 50, 50)), 2),
    ]
    np.testing.assert_allclose(pixels(actual), mean_field(pixels(scores), kernels, 3, sse_padding), atol=2e-6)


def test_smooth_colours_win_over_a_stray_label() -> None:
    image = np.zeros((9, 12, 3), np.uint8)
    image[:, 6:] = 200
    scores = np.zeros((2, 9, 12), np.float32)
    scores[0, :, :6] = scores[1, :, 6:] = 1
    scores[:, 4, 3] = 0, 1.5
    assert scores.argmax(axis=0)[4, 3] == 1
    expected = np.repeat([[0] * 6 + [1] * 6], 9, axis=0)
    np.testing.assert_array_equal(dense_crf(scores, image, CRFParams()).argmax(axis=0), expected)


def test_bit_equal_for_any_number_of_threads(for_threads: Callable, rng: np.random.Generator) -> None:
    scores = rng.normal(scale=3, size=(21, 93, 71)).astype(np.float32)
    image = rng.integers(0, 256, size=(93, 71, 3), dtype=np.uint8)
    first, *others = for_threads(lambda: dense_crf(scores, image, CRFParams(bi_rgb_std=40)))
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_step_by_step_is_the_same_as_at_once(rng: np.random.Generator) -> None:
    scores = rng.normal(scale=3, size=(3, 60)).astype(np.float32)
    features = image_features(6, 10, (3, 3))
    lattice = _C.Lattice.build(NumpyArrays().view(features), True)
    results = []
    for steps in ([5], [2, 0, 3]):
        field = _C.MeanField(NumpyArrays().view(scores), [(lattice, 2.5)])
        for count in steps:
            field.run(count)
        assert field.iterations == 5
        marginals = np.empty((3, 60), np.float32)
        field.marginals(NumpyArrays().view(marginals))
        results.append(marginals)
    np.testing.assert_array_equal(*results)


def test_the_extension_checks_what_it_is_given() -> None:
    scores, out = np.zeros((3, 8), np.float32), np.zeros((3, 8), np.float32)
    lattice = _C.Lattice.build(NumpyArrays().view(np.zeros((4, 2), np.float32)), True)
    with pytest.raises(ValueError, match="kernel 0: expected a lattice of 8 points"):
        _C.MeanField(NumpyArrays().view(scores), [(lattice, 1.0)])
    with pytest.raises(ValueError, match="scores: expected float32"):
        _C.MeanField(NumpyArrays().view(scores.astype(np.float64)), [])
    with pytest.raises(ValueError, match="at least one label and one pixel"):
        _C.MeanField(NumpyArrays().view(scores[:0]), [])
    field = _C.MeanField(NumpyArrays().view(scores), [])
    with pytest.raises(ValueError, match="iterations: expected 0 or more, got -1"):
        field.run(-1)
    with pytest.raises(ValueError, match=r"out: expected shape \(3, 8\)"):
        field.marginals(NumpyArrays().view(out[:2]))
    with pytest.raises(ValueError, match="out: expected contiguous memory"):
        field.marginals(NumpyArrays().view(np.zeros((8, 3), np.float32).T))


@pytest.mark.parametrize("normalization", ["NONE", "BEFORE", "AFTER", "SYMMETRIC"])
@pytest.mark.parametrize("picture", ["noise", "one colour", "half"])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (7, 9), (61, 43)])
def test_two_labels_have_the_bits_of_three_of_which_one_is_impossible(
    height: int, width: int, picture: str, normalization: str, for_threads: Callable, rng: np.random.Generator
) -> None:
    """Rows of two floats go several to a vector, wider ones one by one: by the same arithmetic."""
    image = rng.integers(0, 256, size=(height, width, 3), dtype=np.uint8)
    if picture != "noise":
        image[: height if picture == "one colour" else height // 2] = 90
    two = rng.normal(scale=3, size=(2, height * width)).astype(np.float32)
    three = np.concatenate([two, np.full_like(two[:1], -np.inf)])
    view = NumpyArrays().view
    features = [image_features(height, width, (3, 3)), image_features(height, width, (20, 20), image, (30, 30, 30))]
    lattices = [_C.Lattice.build(view(one), True) for one in features]

    def marginals(scores: np.ndarray, costs: list[float]) -> np.ndarray:
        kind = getattr(_C.Normalization, normalization)
        field = _C.MeanField(len(scores), height * width, [(one, 2.5, kind, costs) for one in lattices])
        field.start(view(scores))
        field.run(3)
        out = np.empty((len(scores), height * width), np.float32)
        field.marginals(view(out))
        return out

    wide = marginals(three, [])
    for narrow in for_threads(lambda: marginals(two, [])):
        np.testing.assert_array_equal(narrow, wide[:2])
    np.testing.assert_array_equal(
        marginals(two, [-1, 0.5, 0.25, -2]), marginals(three, [-1, 0.5, 0, 0.25, -2, 0, 0, 0, 0])[:2]
    )
