from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe.viz import VOC_CLASSES, VOC_COLORMAP, beside, colorize, legend, overlay

IMAGE = np.array([[[10, 20, 30], [200, 100, 0]]], np.uint8)


def test_colorize() -> None:
    assert colorize(np.array([[0, 1, 255]]), VOC_COLORMAP[:2]).tolist() == [[[0, 0, 0], [128, 0, 0], [0, 0, 0]]]


def test_overlay_mixes_and_leaves_ignored_pixels() -> None:
    labels = np.array([[1, 255]])
    assert overlay(IMAGE, labels, VOC_COLORMAP).tolist() == [[[69, 10, 15], [200, 100, 0]]]
    assert overlay(IMAGE, labels, VOC_COLORMAP, ignore_label=None)[0, 1].tolist() == [212, 162, 96]


@given(st.floats(0, 1))
def test_overlay_is_between_photograph_and_colours(alpha: float) -> None:
    labels = np.array([[1, 2]])
    colours = colorize(labels, VOC_COLORMAP)
    mixed = overlay(IMAGE, labels, VOC_COLORMAP, alpha).astype(float)
    exact = (1 - alpha) * IMAGE + alpha * colours.astype(float)
    assert np.abs(mixed - exact).max() <= 1
    assert (mixed >= np.minimum(IMAGE, colours)).all()
    assert (mixed <= np.maximum(IMAGE, colours)).all()


def test_the_ends_of_alpha() -> None:
    labels = np.array([[1, 2]])
    np.testing.assert_array_equal(overlay(IMAGE, labels, VOC_COLORMAP, 0), IMAGE)
    np.testing.assert_array_equal(overlay(IMAGE, labels, VOC_COLORMAP, 1), colorize(labels, VOC_COLORMAP))


@pytest.mark.parametrize(
    ("labels", "colormap", "alpha", "message"),
    [
        (np.zeros((2, 2), int), VOC_COLORMAP, 0.5, "as the labels are"),
        (np.zeros((1, 2)), VOC_COLORMAP, 0.5, "whole-number labels"),
        (np.array([[0, 256]]), VOC_COLORMAP, 0.5, "got 0 to 256"),
        (np.array([[-1, 0]]), VOC_COLORMAP, 0.5, "got -1 to 0"),
        (np.zeros((1, 2), int), VOC_COLORMAP / 255, 0.5, "colormap"),
        (np.zeros((1, 2), int), VOC_COLORMAP, 1.5, "alpha must be from 0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(labels: np.ndarray, colormap: np.ndarray, alpha: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlay(IMAGE, labels, colormap, alpha)


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}


def test_a_legend_shows_every_colour_once_asked() -> None:
    whole = legend(VOC_CLASSES, VOC_COLORMAP)
    assert {tuple(colour) for colour in VOC_COLORMAP[:21].tolist()} <= colours_in(whole)
    some = legend(VOC_CLASSES, VOC_COLORMAP, present=np.array([[0, 15], [255, 15]]))
    assert (192, 128, 128) in colours_in(some)
    assert (128, 0, 0) not in colours_in(some)
    assert some.shape[1] < whole.shape[1]


def test_a_legend_keeps_to_its_width() -> None:
    narrow = legend(VOC_CLASSES, VOC_COLORMAP, width=300)
    assert narrow.shape[1] == 300
    assert narrow.shape[0] > 5 * legend(VOC_CLASSES, VOC_COLORMAP).shape[0] // 2
    assert (narrow[:, -1] == 255).all()


def test_a_legend_of_nothing_is_a_picture() -> None:
    assert legend(VOC_CLASSES, VOC_COLORMAP, present=np.array([[255]]), width=50).shape[1] == 50


def test_a_legend_needs_a_colour_for_every_name() -> None:
    with pytest.raises(ValueError, match="21 names, but 5 colours"):
        legend(VOC_CLASSES, VOC_COLORMAP[:5])


def test_beside() -> None:
    row = beside([IMAGE, IMAGE[:, :1]], gap=2)
    assert row.tolist() == [[[10, 20, 30], [200, 100, 0], [255] * 3, [255] * 3, [10, 20, 30]]]
    for pictures in ([], [IMAGE, np.zeros((2, 2, 3), np.uint8)]):
        with pytest.raises(ValueError, match="pictures of one height"):
            beside(pictures)
