"""Label maps from bounding boxes of objects: the weak labels of Papandreou, Chen, Murphy, Yuille (ICCV 2015)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from deeplab_caffe.errors import BoxError, DataError, needed_for, warn

# As in the authors' script: boxes with smaller areas or sides are all foreground, and the centre's share may exceed the
# wanted share by this much.
MIN_AREA = 121
MIN_SIDE = 10
CENTRE_MARGIN = 0.05


@dataclass(frozen=True)
class Box:
    """A box: the pixels ``left <= x < right``, ``top <= y < bottom``, with the class of the object in it.

    Raises:
        BoxError: the box is empty or has negative coordinates, or its label is not from 1 to 254.
    """

    left: int
    top: int
    right: int
    bottom: int
    label: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise BoxError(f"a box must have 0 <= left < right and 0 <= top < bottom, got {self}")
        if not 1 <= self.label <= 254:
            raise BoxError(f"the class of a box must be from 1 to 254, got {self.label}")

    @property
    def area(self) -> int:
        """Return the number of pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def place(self) -> tuple[slice, slice]:
        """Return the rows and columns as slices, to index an array ``(H, W, ...)``."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def centre(self, share: float, image: tuple[int, int] | None = None) -> Box:
        """Return the centre of the box: the same number of pixels is cut on all sides, leaving ``share`` of the area.

        As in the authors' script, the cut grows until less than ``share`` + 0.05 of the area is left, and boxes of less
        than 121 pixels or with a side below 10 are not cut. With ``image``, (H, W), the outermost pixels of the image
        are cut off first, as there too.
        """
        width, height = self.right - self.left, self.bottom - self.top
        if share >= 1 or self.area < MIN_AREA or min(width, height) < MIN_SIDE:
            return self
        left, top, right, bottom = self.left, self.top, self.right, self.bottom
        if image is not None:
            left, top, right, bottom = max(left, 1), max(top, 1), min(right, image[1] - 1), min(bottom, image[0] - 1)
            width, height = right - left, bottom - top
        border = 1
        while (width - 2 * border) * (height - 2 * border) >= (share + CENTRE_MARGIN) * width * height:
            border += 1
        # Keep at least a pixel of a long, thin box, which would vanish before its area is small enough.
        border = min(border, (min(width, height) - 1) // 2)
        return Box(left + border, top + border, right - border, bottom - border, self.label)


def label_map_boxes(labels: np.ndarray, instances: np.ndarray | None = None, *, min_area: int = 1) -> list[Box]:
    """Return the boxes around the objects of a label map.

    Args:
        labels: ``(H, W)``; 0 is background, 255 is ignored.
        instances: ``(H, W)``, numbers of objects (VOC's SegmentationObject); 0 and 255 are not objects. None: every
            connected region (8 neighbours) of a class is an object.
        min_area: objects with fewer pixels get no box.

    Raises:
        BoxError: the shapes differ.
    """
    labels = np.asarray(labels)
    if instances is not None and np.shape(instances) != labels.shape:
        raise BoxError(f"labels are {labels.shape}, instances {np.shape(instances)}")
    boxes = []
    for value in sorted(set(np.unique(labels).tolist()) - {0, 255}):
        if instances is None:
            regions = connected_regions(labels == value)
        else:
            objects = np.where((labels == value) & (np.asarray(instances) != 255), instances, 0).astype(np.int32)
            regions = _numbered_regions(objects)
        for rows, columns, pixels in regions:
            if pixels >= min_area:
                boxes.append(Box(columns.start, rows.start, columns.stop, rows.stop, int(value)))
    return boxes


class Region(NamedTuple):
    """The rows and columns of a region's bounding box, and the region's number of pixels."""

    rows: slice
    columns: slice
    pixels: int


def connected_regions(mask: np.ndarray) -> list[Region]:
    """Return the connected regions (8 neighbours) of the True pixels in a bool array ``(H, W)``, from the top down."""
    with needed_for("connected regions"):
        from scipy.ndimage import label

    return _numbered_regions(label(mask, np.ones((3, 3)))[0])


def _numbered_regions(objects: np.ndarray) -> list[Region]:
    """Return the region of each number from 1 on that occurs in an array ``(H, W)``."""
    with needed_for("objects' boxes"):
        from scipy.ndimage import find_objects

    counts = np.bincount(objects.ravel())
    return [
        Region(place[0], place[1], int(counts[number]))
        for number, place in enumerate(find_objects(objects), 1)
        if place is not None
    ]


def read_voc_boxes(
    path: str | PathLike[str], classes: Sequence[str], shape: tuple[int, int] | None = None
) -> list[Box]:
    """Return the boxes of a PASCAL VOC annotation file (``Annotations/<id>.xml``), including difficult objects.

    Args:
        path: the XML file; its coordinates count from 1 and are inclusive.
        classes: names of labels 0, 1, 2, ...
        shape: ``(H, W)`` of the image, to compare with the annotation's and to cut boxes to; None: do neither.

    Raises:
        DataError: the file cannot be read or is not such an annotation, is for an image of another size, or has another
            class, or a box that is none.
    """
    try:
        root = ElementTree.fromstring(Path(path).read_bytes())
    # Unknown encodings raise LookupError; multi-byte encodings raise ValueError.
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"cannot be read as an annotation: {error}", path) from None
    size = tuple(_number(root.findtext(f"size/{side}")) for side in ("height", "width"))
    # Some files say 0 x 0, which means that the size is unknown.
    if shape is not None and all(size) and size != shape:
        raise DataError(
            f"is of an image of {size[1]} x {size[0]} pixels (width x height), the stored one has {shape[1]} x "
            f"{shape[0]}: was it annotated as its EXIF orientation turns it?",
            path,
        )
    boxes = []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        if name not in classes:
            raise DataError(
                f"expected an object of one of {len(classes)} classes, got '{name}': say --classes for others", path
            )
        try:
            left, top, right, bottom = (
                round(float(item.findtext(f"bndbox/{side}") or "")) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if min(left, top) < 1:
                warn(f"{path}: xmin or ymin of '{name}' is {min(left, top)}, VOC counts from 1: cut to the image")
            over = 0 if shape is None else max(right - shape[1], bottom - shape[0])
            # Without a size, a box that ends farther outside is probably of another image: whoever draws it refuses it.
            if shape is not None and 0 < over <= (math.inf if all(size) else 1):
                warn(
                    f"{path}: xmax, ymax of '{name}' are {right}, {bottom}, the image has {shape[1]} x {shape[0]} "
                    "pixels (width x height): cut to the image"
                )
                right, bottom = min(right, shape[1]), min(bottom, shape[0])
            box = Box(max(left, 1) - 1, max(top, 1) - 1, right, bottom, list(classes).index(name))
        except (ValueError, OverflowError, BoxError) as error:
            raise DataError(f"the bndbox of '{name}' cannot be used: {error}", path) from None
        boxes.append(box)
    # A picture may show no object. But in another tool's file objects have other names, and all would be background.
    if not boxes and root.tag != "annotation":
        raise DataError(f"expected an <annotation> with <object>s as PASCAL VOC has them, got <{root.tag}>", path)
    return boxes


def _number(text: str | None) -> int:
    # int refuses very long digit strings, and no size has that many digits.
    return int(text) if text is not None and text.strip().isdecimal() and len(text) < 20 else 0


def _largest_first(boxes: Iterable[Box], shape: tuple[int, int]) -> list[Box]:
    found = sorted(boxes, key=lambda box: -box.area)
    for box in found:
        if box.bottom > shape[0] or box.right > shape[1]:
            raise BoxError(f"{box} reaches outside an image of {shape[1]} x {shape[0]} pixels")
    return found


def rectangles(boxes: Iterable[Box], shape: tuple[int, int]) -> np.ndarray:
    """Label each pixel with the class of the smallest box around it, 0 outside of all boxes (Bbox-Rect).

    Returns:
        uint8 ``(H, W)``.

    Raises:
        BoxError: a box reaches outside the image.
    """
    labels = np.zeros(shape, np.uint8)
    for box in _largest_first(boxes, shape):
        labels[box.place] = box.label
    return labels


def box_probabilities(
    boxes: Iterable[Box],
    shape: tuple[int, int],
    num_classes: int,
    *,
    centre: float = 0.2,
    occluder_bias: float = 0.1,
) -> np.ndarray:
    """Return class probabilities from boxes, for the CRF of Bbox-Seg: float32 ``(num_classes, H, W)``, sums of 1.

    Pixels outside of all boxes are certainly background. In its centre a box's class is certain; in the rest of the box
    its class and the background are equally likely. Where boxes overlap, their probabilities are averaged. The class of
    the n-th box from the largest gets an extra n times ``occluder_bias`` in the box's centre, because the smaller of
    two objects tends to be in front. This is the authors' script for bboxErode20 (PasteSoftSegmentBboxByArea.m), with
    one difference: it gives impossible labels 1e-12, which its CRF's pairwise terms (60 in all) outweigh. Here they get
    0, so that what the paper calls constrained stays constrained.

    Args:
        boxes: boxes inside the image, with labels below ``num_classes``.
        shape: ``(H, W)``.
        num_classes: number of classes with the background.
        centre: share of a box's area that its centre has.
        occluder_bias: bias for smaller boxes, see above; 0: none.

    Raises:
        BoxError: a box reaches outside the image or has no such class, or ``centre`` is not from 0 to 1.
    """
    if not 0 < centre <= 1:
        raise BoxError(f"the centre's share of a box must be above 0 and at most 1, got {centre}")
    ordered = _largest_first(boxes, shape)
    said = np.zeros((num_classes, *shape))
    bonus = np.zeros((num_classes, *shape))
    count = np.zeros((num_classes, *shape), np.int64)
    for number, box in enumerate(ordered, 1):
        if box.label >= num_classes:
            raise BoxError(f"{box}: the classes are 0 to {num_classes - 1}")
        middle = box.centre(centre, shape).place
        own = np.zeros(shape)
        own[box.place] = 0.5
        own[middle] = 1
        inside = own > 0
        said[box.label] += own
        said[0] += np.where(inside, 1 - own, 0)
        count[box.label] += inside
        count[0] += inside
        bonus[box.label][middle] += number * occluder_bias
    outside = count[0] == 0
    said[0][outside] = count[0][outside] = 1
    found = np.where(count > 0, (said + bonus) / np.maximum(count, 1), 0)
    return np.asarray(found / found.sum(axis=0), np.float32)
