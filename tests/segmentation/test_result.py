from __future__ import annotations

import json

import numpy as np
import pytest

from deeplab_caffe import viz
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.segmentation import Segmentation

LABELS = np.array([[1, 1, 1, 0], [1, 1, 1, 0]], np.uint8)
IMAGE = np.full((2, 4, 3), 100, np.uint8)
CLASSES = Classes(("background", "cat"), np.array([(0, 0, 0), (200, 0, 100)], np.uint8))
FOUND = Segmentation(LABELS, np.zeros((2, 2, 4), np.float32), classes=CLASSES)


def test_the_picture_alone() -> None:
    picture = FOUND.overlay(IMAGE, legend=False, outlines=False)
    np.testing.assert_array_equal(picture, viz.overlay(IMAGE, LABELS, CLASSES.colormap))
    assert picture[0, 0].tolist() == [150, 50, 100]
    grey = np.full((2, 3), 60, np.uint8)
    assert FOUND.overlay(IMAGE, legend=False, outlines=False, colormap=grey, alpha=1)[0, 0].tolist() == [60] * 3


def test_outlines_and_legend() -> None:
    assert FOUND.overlay(IMAGE, legend=False)[0, :, 0].tolist() == [150, 150, 255, 0]
    picture = FOUND.overlay(IMAGE)
    np.testing.assert_array_equal(picture[:2, :4], FOUND.overlay(IMAGE, legend=False))
    np.testing.assert_array_equal(
        FOUND.overlay(IMAGE, outlines=False),
        viz.annotated(viz.overlay(IMAGE, LABELS, CLASSES.colormap), LABELS, CLASSES.names, CLASSES.colormap),
    )


def test_areas_as_json() -> None:
    assert FOUND.to_json() == {
        "size": [4, 2],
        "classes": [
            {"id": 1, "name": "cat", "pixels": 6, "share": 0.75, "boxes": [[0, 0, 3, 2]]},
            {"id": 0, "name": "background", "pixels": 2, "share": 0.25, "boxes": [[3, 0, 1, 2]]},
        ],
    }
    assert json.loads(json.dumps(FOUND.to_json())) == FOUND.to_json()
    assert [area.boxes for area in FOUND.areas(0.5)] == [((0, 0, 3, 2),), ()]
    assert [area.boxes for area in FOUND.areas(None)] == [(), ()]


def test_without_names() -> None:
    found = Segmentation(LABELS, np.zeros((2, 2, 4), np.float32))
    assert [area.name for area in found.areas()] == ["class 1", "class 0"]
    assert found.overlay(IMAGE, legend=False, outlines=False)[0, 0].tolist() == [114, 50, 50]


@pytest.mark.parametrize(("channels", "shown"), [(255, []), (256, ["class 255"])])
def test_the_256th_class_counts(channels: int, shown: list[str]) -> None:
    found = Segmentation(np.full((1, 1), 255, np.uint8), np.zeros((channels, 1, 1), np.float32))
    assert [area.name for area in found.areas()] == shown
    assert (len(found.overlay(IMAGE[:1, :1])) > 1) == bool(shown)


def test_an_image_of_another_size() -> None:
    with pytest.raises(ValueError, match="as the labels are"):
        FOUND.overlay(IMAGE[:1])
