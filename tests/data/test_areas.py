from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.data.areas import Area, class_areas, percent

# 6 pixels of class 1, in regions of 3, 2 and 1; 5 of class 0, 4 of class 2, 1 ignored.
LABELS = np.array(
    [
        [1, 0, 0, 1],
        [1, 2, 0, 1],
        [1, 2, 2, 0],
        [255, 2, 0, 1],
    ],
    np.uint8,
)


def test_areas_and_boxes_by_hand() -> None:
    found = class_areas(LABELS, ("background", "cat"), min_share=0)
    assert found == [
        Area(1, "cat", 6, 6 / 15, ((0, 0, 1, 3), (3, 0, 1, 2), (3, 3, 1, 1))),
        # Neighbours at a corner are connected.
        Area(0, "background", 5, 5 / 15, ((1, 0, 3, 4),)),
        Area(2, "class 2", 4, 4 / 15, ((1, 1, 2, 3),)),
    ]


def test_small_regions_get_no_box() -> None:
    for min_share, count in ((0.0, 3), (1 / 15, 3), (2 / 15, 2), (0.15, 1), (1.0, 0)):
        assert len(class_areas(LABELS, min_share=min_share)[0].boxes) == count
    assert class_areas(LABELS)[0].boxes == ()


def test_what_is_ignored() -> None:
    assert [area.label for area in class_areas(LABELS, ignore_label=1)] == [0, 2, 255]
    assert class_areas(LABELS, ignore_label=None)[-1] == Area(255, "class 255", 1, 1 / 16)
    assert class_areas(np.full((1, 1), 255), min_share=0) == []
    assert class_areas(np.zeros((1, 1), int), min_share=0) == [Area(0, "class 0", 1, 1.0, ((0, 0, 1, 1),))]


def test_equal_areas_go_by_their_label() -> None:
    assert [area.label for area in class_areas(np.array([[3, 1, 2, 0, 0]]))] == [0, 1, 2, 3]


@pytest.mark.parametrize("min_share", [-0.1, 1.1, float("nan")])
def test_min_share_is_a_share(min_share: float) -> None:
    with pytest.raises(ValueError, match="min_share must be from 0 to 1"):
        class_areas(LABELS, min_share=min_share)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        *((1, "100 %"), (0.414, "41 %"), (0.01, "1 %"), (0.0095, "1 %"), (0.0094, "0.9 %")),
        *((0.001, "0.1 %"), (0.0009, "< 0.1 %")),
    ],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
