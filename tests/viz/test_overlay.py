from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe.viz import VOC_COLORMAP, beside, colorize, outlined, overlay

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


# What each pixel of a black picture becomes: W light, B dark, . as it was.
def lines(labels: np.ndarray, **options: int | None) -> list[str]:
    drawn = outlined(np.full((*labels.shape, 3), 7, np.uint8), labels, **options)
    return ["".join({255: "W", 0: "B", 7: "."}[value] for value in row) for row in drawn[..., 0].tolist()]


def test_outlines_by_hand() -> None:
    labels = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 3, 3], [0, 0, 3, 3]])
    assert lines(labels) == ["....", ".BBB", ".BWW", ".BW."]
    assert lines(np.zeros((4, 4), int)) == ["...."] * 4
    assert lines(np.array([[0, 0, 0, 0, 2, 2, 2, 2]]), thickness=2) == ["..BBWW.."]
    # Between a smaller and a larger label: light.
    assert lines(np.array([[1, 2, 3]])) == ["BWW"]


def test_outlines_around_ignored_pixels() -> None:
    labels = np.array([[0, 0, 0, 255, 255]])
    assert lines(labels) == ["..W.."]
    assert lines(labels, ignore_label=None) == ["..BW."]


def test_outlines_are_thicker_on_large_pictures() -> None:
    labels = np.zeros((1, 1200), int)
    labels[:, 600:] = 1
    assert lines(labels)[0].count("W") == 2
    assert lines(np.zeros((1, 1), int)) == ["."]


def test_outlines_leave_the_picture_as_it_is() -> None:
    picture = np.zeros((1, 2, 3), np.uint8)
    outlined(picture, np.array([[0, 1]]))
    assert not picture.any()
    with pytest.raises(ValueError, match="as the labels are"):
        outlined(picture, np.array([[0]]))
    with pytest.raises(ValueError, match="thickness must be at least 1"):
        outlined(picture, np.array([[0, 1]]), thickness=0)


def test_beside() -> None:
    row = beside([IMAGE, IMAGE[:, :1]], gap=2)
    assert row.tolist() == [[[10, 20, 30], [200, 100, 0], [255] * 3, [255] * 3, [10, 20, 30]]]
    for pictures in ([], [IMAGE, np.zeros((2, 2, 3), np.uint8)]):
        with pytest.raises(ValueError, match="pictures of one height"):
            beside(pictures)
