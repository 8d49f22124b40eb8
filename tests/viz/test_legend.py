from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageDraw

from deeplab_caffe.viz import VOC_CLASSES, VOC_COLORMAP, annotated, legend


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


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written into pictures, one text after the other."""
    written: list[str] = []
    text = ImageDraw.ImageDraw.text

    def noted(self: ImageDraw.ImageDraw, place: tuple[float, float], what: str, **options: object) -> None:
        written.append(what)
        text(self, place, what, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", noted)
    return written


def test_shares_the_largest_first(texts: list[str]) -> None:
    labels = np.array([[0, 15, 15, 15, 255], [255, 255, 255, 30, 15]])
    legend(VOC_CLASSES, VOC_COLORMAP, present=labels, shares=True)
    assert texts == ["person 67 %", "background 17 %", "class 30 17 %"]
    with pytest.raises(ValueError, match="give it as present"):
        legend(VOC_CLASSES, VOC_COLORMAP, shares=True)


def test_a_column_has_a_row_for_each_name() -> None:
    one = legend(("a",), VOC_COLORMAP)
    three = legend(("a", "b", "c"), VOC_COLORMAP, column=True)
    assert len(three) - len(one) == 2 * 24
    assert three.shape[1] <= one.shape[1] + 8


def test_letters_that_the_font_lacks(texts: list[str]) -> None:
    legend(("\u00e9l\u00e9phant", "stra\u00dfe", "\u732b", "ok\u732b", "two\nlines", "\ud83d?"), VOC_COLORMAP)
    assert texts == ["elephant", "stra?e", "class 2", "ok?", "two?lines", "class 5"]


def test_long_names_are_cut_before_their_share(texts: list[str]) -> None:
    picture = legend(("x" * 10_000,), VOC_COLORMAP, width=200, present=np.zeros((1, 1), int), shares=True)
    assert picture.shape[1] == 200
    assert (picture[:, -8:] == 255).all()
    assert "..." in texts[0]
    assert texts[0].endswith("x 100 %")


def test_the_legend_lies_below_and_covers_nothing(texts: list[str]) -> None:
    picture = np.full((300, 400, 3), 7, np.uint8)
    labels = np.zeros((300, 400), np.uint8)
    labels[:30] = 9
    found = annotated(picture, labels, ("background",), VOC_COLORMAP)
    assert found.shape[1] == 400
    assert found.shape[0] > 300
    np.testing.assert_array_equal(found[:300], picture)
    assert texts == ["background 90 %", "class 9 10 %"]
    assert tuple(VOC_COLORMAP[9].tolist()) in colours_in(found[300:])


def test_the_legend_lies_beside_a_tall_picture() -> None:
    picture = np.full((400, 300, 3), 7, np.uint8)
    found = annotated(picture, np.zeros((400, 300), np.uint8), ("background",), VOC_COLORMAP)
    assert found.shape[0] == 400
    np.testing.assert_array_equal(found[:, :300], picture)
    assert (found[200:, 300:] == 255).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (20, 30), (3000, 20)])
@pytest.mark.parametrize("count", [1, 255])
def test_any_size_and_any_number_of_classes(shape: tuple[int, int], count: int) -> None:
    labels = (np.arange(shape[0] * shape[1]) % count).reshape(shape)
    names = ["a very long name of a class, number " + str(label) for label in range(count)]
    found = annotated(np.full((*shape, 3), 7, np.uint8), labels, names, VOC_COLORMAP)
    assert (found[: shape[0], : shape[1]] == 7).all()
    assert {tuple(VOC_COLORMAP[label]) for label in np.unique(labels)} <= colours_in(found)


def test_nothing_but_ignored_pixels() -> None:
    picture = np.full((2, 3, 3), 7, np.uint8)
    np.testing.assert_array_equal(annotated(picture, np.full((2, 3), 255), VOC_CLASSES, VOC_COLORMAP), picture)
