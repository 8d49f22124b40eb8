from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.data.colormap import _oklab
from deeplab_caffe.viz import (
    CAMVID_CLASSES,
    CAMVID_COLORMAP,
    VOC_CLASSES,
    VOC_COLORMAP,
    distinct_colormap,
    voc_colormap,
)


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
    for count in (1, 21, 256):
        np.testing.assert_array_equal(voc_colormap(count), VOC_COLORMAP[:count])
    for count in (0, 257):
        with pytest.raises(ValueError, match="count must be"):
            voc_colormap(count)


def test_names_and_colours_fit() -> None:
    assert len(VOC_CLASSES) == 21
    assert VOC_CLASSES[15] == "person"
    assert len(CAMVID_CLASSES) == len(CAMVID_COLORMAP) == 11
    assert CAMVID_CLASSES[3] == "Road"
    # As SegNet's page has them.
    assert dict(zip(CAMVID_CLASSES, map(tuple, CAMVID_COLORMAP.tolist()), strict=True)) == {
        "Sky": (128, 128, 128),
        "Building": (128, 0, 0),
        "Pole": (192, 192, 128),
        "Road": (128, 64, 128),
        "Pavement": (60, 40, 222),
        "Tree": (128, 128, 0),
        "SignSymbol": (192, 128, 128),
        "Fence": (64, 64, 128),
        "Car": (64, 0, 128),
        "Pedestrian": (64, 64, 0),
        "Bicyclist": (0, 128, 192),
    }


def test_the_maps_cannot_be_changed_by_mistake() -> None:
    for colormap in (VOC_COLORMAP, CAMVID_COLORMAP):
        with pytest.raises(ValueError, match="read-only"):
            colormap[0] = 1


def test_distinct_colours_are_far_apart() -> None:
    colours = distinct_colormap(256)
    assert len({tuple(colour) for colour in colours.tolist()} - {(0, 0, 0), (255, 255, 255)}) == 256
    np.testing.assert_array_equal(distinct_colormap(12), colours[:12])
    first = colours[:12].astype(int)
    apart = np.abs(first[:, None] - first[None]).max(-1)[~np.eye(12, dtype=bool)]
    assert apart.min() >= 64
    assert distinct_colormap(0).shape == (0, 3)


def test_distinct_colours_keep_away_from_those_taken() -> None:
    first = distinct_colormap(3)
    np.testing.assert_array_equal(distinct_colormap(3, first[:1]), distinct_colormap(4)[1:])
    with pytest.raises(ValueError, match="from 0 to 256"):
        distinct_colormap(257)


def test_oklab_of_known_colours() -> None:
    """White, red and blue, as the table of its author's page and CSS Color 4 have them."""
    found = _oklab(np.array([(255, 255, 255), (255, 0, 0), (0, 0, 255)], np.uint8))
    expected = [(1, 0, 0), (0.628, 0.2249, 0.1258), (0.452, -0.0324, -0.3115)]
    np.testing.assert_allclose(found, expected, atol=5e-4)
