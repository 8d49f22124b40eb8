from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data.boxes import Box, label_map_boxes, rectangles
from deeplab_caffe.errors import BoxError
from deeplab_caffe.weak.boxes import segment_boxes


def discs() -> tuple[np.ndarray, np.ndarray]:
    """Two bright discs, of classes 9 and 4, on dark noise: image and labels."""
    rows, columns = np.mgrid[:60, :80]
    labels = np.zeros((60, 80), np.uint8)
    labels[(rows - 30) ** 2 + (columns - 24) ** 2 < 20**2] = 9
    labels[(rows - 20) ** 2 + (columns - 64) ** 2 < 12**2] = 4
    colours = np.zeros((10, 3)) + 30
    colours[9], colours[4] = (220, 60, 60), (60, 60, 220)
    noise = np.random.default_rng(0).normal(0, 8, (60, 80, 3))
    return (colours[labels] + noise).clip(0, 255).astype(np.uint8), labels


def test_objects_are_cut_out_of_their_boxes() -> None:
    image, labels = discs()
    boxes = label_map_boxes(labels)
    found = segment_boxes(boxes, image, CRFParams(3, 3, 3, 20, 20))
    assert (rectangles(boxes, labels.shape) == labels).mean() < 0.93
    assert (found == labels).mean() > 0.99
    assert found.dtype == np.uint8


def test_outside_and_centre_are_certain() -> None:
    # Colours say nothing here, and the pairwise terms are strong.
    image = np.full((50, 50, 3), 90, np.uint8)
    box = Box(5, 5, 45, 45, 3)
    found = segment_boxes([box], image)
    assert (found[box.centre(0.2).place] == 3).all()
    outside = np.ones((50, 50), bool)
    outside[box.place] = False
    assert (found[outside] == 0).all()


def test_no_boxes_and_a_box_outside() -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    assert segment_boxes([], image).tolist() == [[0] * 5] * 4
    with pytest.raises(BoxError):
        segment_boxes([Box(0, 0, 6, 4, 1)], image)
