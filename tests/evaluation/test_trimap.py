from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import EvaluationError
from deeplab_caffe.evaluation import Trimap, measure


def dilated(void: np.ndarray, width: int) -> np.ndarray:
    """imdilate(void, strel('square', 2 * width + 1)), pixel by pixel."""
    found = np.zeros_like(void)
    for y, x in np.argwhere(void):
        found[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1] = True
    return found


def test_by_hand() -> None:
    labels = np.array([[0, 0, 0, 0, 0], [0, 0, 255, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]])
    predicted = np.array([[0, 0, 0, 1, 0], [0, 1, 9, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0]])
    trimap = Trimap(2, [2, 1])
    trimap.accumulate(labels, predicted)
    # Width 1: the eight neighbours of the void pixel.
    assert trimap.band(1).matrix.tolist() == [[4, 2], [1, 1]]
    # Width 2: everything, for the fourth row is two rows away and both edges are two columns away.
    assert trimap.band(2).matrix.tolist() == [[11, 2], [2, 4]]
    assert measure(trimap.band(1), boundary=True).pixel_accuracy == 62.5
    assert measure(trimap.band(2), boundary=True).mean_iou == (100 * 11 / 15 + 50) / 2


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0, 0.2))
def test_bands_are_dilations_of_the_void_label(height: int, width: int, seed: int, void: float) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, (height, width))
    labels[rng.random((height, width)) < void] = 255
    predicted = rng.integers(0, 3, (height, width))
    trimap = Trimap(3, range(1, 6))
    trimap.accumulate(labels, predicted)
    for band in trimap.widths:
        expected = np.zeros((3, 3), int)
        inside = dilated(labels == 255, band) & (labels != 255)
        np.add.at(expected, (labels[inside], predicted[inside]), 1)
        np.testing.assert_array_equal(trimap.band(band).matrix, expected)


def test_without_void_or_with_nothing_else() -> None:
    for labels in (np.zeros((3, 3), np.uint8), np.full((3, 3), 255, np.uint8)):
        trimap = Trimap(2, [1, 3])
        trimap.accumulate(labels, np.zeros((3, 3), np.uint8))
        assert not trimap.counts.any()


def test_a_band_that_is_wider_than_all_images() -> None:
    labels, predicted = np.array([[255, 0, 1, 1]]), np.array([[0, 1, 1, 0]])
    trimap = Trimap(2, [1, 1000])
    trimap.accumulate(labels, predicted)
    trimap.accumulate(labels[:, :2], predicted[:, :2])
    assert trimap.band(1).matrix.tolist() == [[0, 2], [0, 0]]
    assert trimap.band(1000).matrix.tolist() == [[0, 2], [1, 1]]


def test_several_void_labels() -> None:
    trimap = Trimap(2, [1], [0, 255])
    # The first and the last pixel are void: whatever was predicted there counts nowhere.
    trimap.accumulate(np.array([[255, 1, 1, 0]]), np.array([[9, 1, 0, 9]]))
    assert trimap.band(1).matrix.tolist() == [[0, 0], [1, 1]]
    assert trimap.band(1).ignore_labels == {0, 255}


@pytest.mark.parametrize("widths", [[], [0], [1, -1], [1.5], [float("nan")], [float("inf")], [1, 10**30]])
def test_widths(widths: list) -> None:
    with pytest.raises(EvaluationError, match="trimap widths"):
        Trimap(2, widths)


def test_unknown_band() -> None:
    with pytest.raises(EvaluationError, match="no trimap of width 3: there are 1, 2"):
        Trimap(2, [1, 2]).band(3)
