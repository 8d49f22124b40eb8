from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deeplab_caffe.errors import CRFError
from deeplab_caffe.pydensecrf import utils

LN2, CLIPPED = np.log(2), -np.log(1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, bool, np.float32])
def test_one_hot_of_any_dtype(dtype: Any) -> None:
    one_hot = np.array([[[1, 0]], [[0, 1]], [[0, 0]]], dtype)
    expected = [[0, CLIPPED], [CLIPPED, 0], [CLIPPED, CLIPPED]]
    found = utils.unary_from_softmax(one_hot)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(utils.unary_from_softmax(one_hot, clip=None)[0], [0, np.inf])
    # scale * p + (1 - scale) / 3
    half = -np.log([[4 / 6, 1 / 6], [1 / 6, 4 / 6], [1 / 6, 1 / 6]])
    np.testing.assert_allclose(utils.unary_from_softmax(one_hot, scale=0.5), half, rtol=1e-6)


def test_a_resizes_overshoot_is_clipped() -> None:
    found = utils.unary_from_softmax(np.array([[1.02], [-0.02]]))
    np.testing.assert_allclose(found, [[0], [CLIPPED]], rtol=1e-6, atol=1e-7)
    with pytest.raises(CRFError, match=r"holds -0.02, which has no logarithm: are these scores\? .* are -sm"):
        utils.unary_from_softmax(np.array([[1.02], [-0.02]]), clip=None)


@pytest.mark.parametrize(
    ("sm", "message"),
    [
        (np.array([[np.nan], [1.0]]), "holds NaN"),
        (np.array([[np.nan], [-3.0]]), "holds NaN"),
        (np.array([["a"], ["b"]]), "must be real numbers"),
        (np.array([[1j], [0]]), "must be real numbers"),
        (np.float32(0.5), "must be real numbers"),
        (np.zeros((0, 4, 5)), "has no class"),
        (np.full((1, 4, 5), 0.5), r"has one class: of a foreground p take np.stack\(\[1 - p, p\]\)"),
    ],
)
def test_no_probabilities(sm: np.ndarray, message: str) -> None:
    with pytest.raises(CRFError, match=message):
        utils.unary_from_softmax(sm)


def test_values_above_1_are_named() -> None:
    with pytest.warns(UserWarning, match="holds 255: scores, or from 0 to 255"):
        found = utils.unary_from_softmax(np.array([[255], [0]], np.uint8))
    np.testing.assert_allclose(found, [[0], [CLIPPED]], rtol=1e-6)


def test_negative_numbers_are_named_and_clipped_as_pydensecrf_does() -> None:
    with pytest.warns(UserWarning, match=r"holds -3: scores \(logits\)\? Their unary energies are -sm"):
        found = utils.unary_from_softmax(np.array([[-3.0, 0.5], [1.0, 0.5]]))
    np.testing.assert_allclose(found, [[CLIPPED, LN2], [0, LN2]], rtol=1e-6)
    with pytest.warns(UserWarning, match="holds -3"):
        found = utils.unary_from_softmax(np.array([[-3.0], [0.5]]), scale=0.5)  # -1.25 and 0.5
    np.testing.assert_allclose(found, [[CLIPPED], [LN2]], rtol=1e-6)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_a_mask_as_labels(dtype: Any) -> None:
    mask = np.array([[1, 0]], dtype)
    found = utils.unary_from_labels(mask, 2, 0.5, zero_unsure=False)
    np.testing.assert_allclose(found, [[LN2, LN2], [LN2, LN2]], rtol=1e-6)
    found = utils.unary_from_labels(mask, 2, 0.75, zero_unsure=False)
    np.testing.assert_allclose(found, -np.log([[0.25, 0.75], [0.75, 0.25]]), rtol=1e-6)
    found = utils.unary_from_labels(mask, 2, 0.75)  # 1 is the first label, 0 unknown
    np.testing.assert_allclose(found, -np.log([[0.75, 0.5], [0.25, 0.5]]), rtol=1e-6)


def test_one_label() -> None:
    with pytest.raises(CRFError, match="`n_labels` must be 2 or more, got 1: a mask has two"):
        utils.unary_from_labels(np.ones((2, 3), int), 1, 0.7)


def test_features_of_two_axes_and_an_rgb_image() -> None:
    # The first deviation goes with the rows, as in pydensecrf.
    np.testing.assert_array_equal(
        utils._create_pairwise_gaussian_2d(2, 4, (2, 2)), [[0, 0, 0.5, 0.5], [0, 0.25, 0, 0.25]]
    )
    image = np.array([[[10, 20, 30], [40, 50, 60]]], np.uint8)
    expected = [[0, 0], [0, 0.25], [1, 4], [1, 2.5], [1, 2]]
    np.testing.assert_array_equal(utils._create_pairwise_bilateral_2d(2, 4, 10, 20, 30, image), expected)


def test_last_axes_of_length_one_need_no_deviation() -> None:
    image = np.random.default_rng(1).random((4, 5, 1)).astype(np.float32)
    found = utils.create_pairwise_bilateral((10, 20), (0.5,), image, chdim=-1)
    rows, columns = np.mgrid[:4, :5]
    expected = [rows / 10, columns / 20, 0 * rows, image[..., 0] / 0.5]
    np.testing.assert_allclose(found, np.reshape(expected, (4, 20)), rtol=1e-6)
    assert utils.create_pairwise_gaussian((3,), (6, 1, 1)).shape == (3, 6)
    for shape in ((1, 4, 5), (4, 5, 6, 1)):  # pydensecrf leaves the axis of 5, or of 6, in pixels
        with pytest.raises(CRFError, match=f"`sdims` has 2 entries, but there are {len(shape)} axes"):
            utils.create_pairwise_gaussian((10, 20), shape)


def test_a_batch_of_one_image() -> None:
    sm = np.random.default_rng(1).dirichlet(np.ones(3), (2, 4, 5)).transpose(3, 0, 1, 2)
    found = utils.unary_from_softmax(sm[None])  # volumes (1, C, D, H, W) of torch's nets
    assert found.shape == (1, 3 * 40)
    np.testing.assert_array_equal(found.reshape(3, -1), utils.unary_from_softmax(sm))
    for wrong, scale in ((sm[None], 0.5), (sm[None, :1], None), (sm[None, :2], None)):
        with pytest.raises(CRFError, match=r"has one class: .*, of a batch of one sm\[0\]"):
            utils.unary_from_softmax(wrong, scale=scale)
