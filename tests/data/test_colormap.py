from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.viz import CAMVID_CLASSES, CAMVID_COLORMAP, VOC_CLASSES, VOC_COLORMAP, voc_colormap


def test_vocs_colours() -> None:
    # The first labels and the border's, as in the palette of every SegmentationClass file.
    expected = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        3: (128, 128, 0),
        4: (0, 0, 128),
        7: (128, 128, 128),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {label: tuple(VOC_COLORMAP[label].tolist()) for label in expected} == expected
    assert VOC_COLORMAP.shape == (256, 3)
    assert VOC_COLORMAP.dtype == np.uint8
    assert len({tuple(colour) for colour in VOC_COLORMAP.tolist()}) == 256


def test_a_part_is_the_start_of_the_whole() -> None:
    np.testing.assert_array_equal(voc_colormap(21), VOC_COLORMAP[:21])
    for count in (0, 257):
        with pytest.raises(ValueError, match="count must be"):
            voc_colormap(count)


def test_names_and_colours_fit() -> None:
    assert len(VOC_CLASSES) == 21
    assert VOC_CLASSES[15] == "person"
    assert len(CAMVID_CLASSES) == len(CAMVID_COLORMAP) == 11
    assert CAMVID_CLASSES[3] == "Road"
    assert CAMVID_COLORMAP[3].tolist() == [128, 64, 128]
    assert len({tuple(colour) for colour in CAMVID_COLORMAP.tolist()}) == 11


def test_the_maps_cannot_be_changed_by_mistake() -> None:
    for colormap in (VOC_COLORMAP, CAMVID_COLORMAP):
        with pytest.raises(ValueError, match="read-only"):
            colormap[0] = 1
