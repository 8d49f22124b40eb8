"""Colour maps: PASCAL VOC's, by its rule, and CamVid's with 11 classes."""

from __future__ import annotations

import numpy as np

VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

CAMVID_CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)


def voc_colormap(count: int = 256) -> np.ndarray:
    """Return PASCAL VOC's colours (VOClabelcolormap.m of its development kit).

    The bits of a label go in turn to R, G and B, three label bits giving one bit of each, the lowest label bits the
    highest colour bits: 1 is (128, 0, 0), 255 is (224, 224, 192).

    Args:
        count: how many labels, up to 256.

    Returns:
        uint8 RGB ``(count, 3)``.
    """
    if not 1 <= count <= 256:
        raise ValueError(f"count must be from 1 to 256, got {count}")
    labels = np.arange(count)
    colormap = np.zeros((count, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            colormap[:, channel] |= ((labels >> (3 * level + channel) & 1) << (7 - level)).astype(np.uint8)
    return colormap


VOC_COLORMAP = voc_colormap()
VOC_COLORMAP.setflags(write=False)

# As SegNet's 11-class version of CamVid paints them, and the palette of its label maps has them.
CAMVID_COLORMAP = np.array(
    [
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ],
    np.uint8,
)
CAMVID_COLORMAP.setflags(write=False)
