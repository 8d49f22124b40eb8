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

    The bits of a label are given to R, G and B in turn, one bit of each colour per three label bits; the lowest label
    bits become the highest colour bits: 1 is (128, 0, 0), 255 is (224, 224, 192).

    Args:
        count: number of labels, up to 256.

    Returns:
        uint8 RGB ``(count, 3)``.

    Raises:
        ValueError: the count is not from 1 to 256.
    """
    if not 1 <= count <= 256:
        raise ValueError(f"count must be from 1 to 256, got {count}")
    labels = np.arange(count)
    colormap = np.zeros((count, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            colormap[:, channel] |= ((labels >> (3 * level + channel) & 1) << (7 - level)).astype(np.uint8)
    return colormap


def distinct_colormap(count: int, taken: np.ndarray | None = None) -> np.ndarray:
    """Return colours that are as far as possible from each other, from black and white, and from those taken.

    Each colour is the one of a 9 x 9 x 9 grid of the RGB cube that is farthest from the nearest of all colours before
    it, by Euclidean distance in Oklab (Björn Ottosson, "A perceptual color space for image processing", 2020). The
    first colours do not depend on the count.

    Args:
        count: number of colours, up to 256.
        taken: uint8 RGB ``(K, 3)``, colours that are already in use.

    Returns:
        uint8 RGB ``(count, 3)``.

    Raises:
        ValueError: the count is not from 0 to 256.
    """
    if not 0 <= count <= 256:
        raise ValueError(f"count must be from 0 to 256, got {count}")
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    places, used = _oklab(grid), [np.array([(0, 0, 0), (255, 255, 255)], np.uint8)]
    if taken is not None:
        used.append(taken)
    nearest = np.full(len(grid), np.inf)
    for colour in _oklab(np.concatenate(used)):
        nearest = np.minimum(nearest, ((places - colour) ** 2).sum(axis=1))
    found = np.zeros((count, 3), np.uint8)
    for index in range(count):
        # Rounded, so that the last bits of a sum do not decide between equally good colours.
        best = int(nearest.round(6).argmax())
        found[index] = grid[best]
        nearest = np.minimum(nearest, ((places - places[best]) ** 2).sum(axis=1))
    return found


def _oklab(colours: np.ndarray) -> np.ndarray:
    """Return uint8 sRGB ``(K, 3)`` as Oklab's lightness, a and b: float64 ``(K, 3)``."""
    share = colours / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T)


_TO_CONES = np.array(
    [
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    ]
)
_TO_LAB = np.array(
    [
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    ]
)

VOC_COLORMAP = voc_colormap()
VOC_COLORMAP.setflags(write=False)

# The colours of SegNet's 11-class version of CamVid, which the palettes of its label maps have.
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
