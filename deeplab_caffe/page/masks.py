"""Conversion of masks (binary, label map or soft; image or .npy file) to probabilities for the CRF."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Literal, NamedTuple, get_args

import numpy as np
from PIL import Image

from deeplab_caffe.data import load_image
from deeplab_caffe.data.classes import Classes, class_name
from deeplab_caffe.data.colormap import VOC_COLORMAP, distinct_colormap
from deeplab_caffe.data.io.images import load_samples
from deeplab_caffe.data.io.npy import read_npy
from deeplab_caffe.errors import CRFError, DataError

MaskKind = Literal["auto", "binary", "labels", "soft"]

# A mask with more levels than this is soft; one with more colours is not a label map.
_MOST_LABELS = 40
_UNKNOWN = 255
MOST_PIXELS = 50_000_000


@dataclass(frozen=True)
class Mask:
    """The probabilities of a mask.

    Attributes:
        probabilities: float32 ``(C, H, W)``; they sum to 1.
        classes: names and colours of the C classes.
        kind: kind of the mask.
    """

    probabilities: np.ndarray
    classes: Classes
    kind: str


def read_mask(
    path: str | PathLike[str], size: tuple[int, int], *, kind: MaskKind = "auto", certainty: float = 0.8
) -> Mask:
    """Read a mask for a picture.

    * binary: two values; the larger is the foreground.
    * labels: a palette image or grey levels, each a class, 255 unknown; or colours, each a class.
    * soft: the foreground's probability, as 0 to 255 or 0 to 65535; in a .npy file 0 to 1, or logits. An image's alpha
      channel is used if it is not constant.

    ``"auto"``: palettes and colours are labels, two values are binary, up to 40 integers are labels, all other masks
    are soft. Grey JPEG files are soft or binary, because the compression adds values that are not labels. A probability
    p becomes ``a p + (1 - a) / C``, with the a that makes ``certainty`` of 1: of a label map these are the
    probabilities of pydensecrf's ``unary_from_labels``.

    Args:
        path: an image, or a .npy file ``(H, W)`` or ``(1, H, W)``.
        size: height and width of the picture; a mask of the same shape and another size is resized.
        kind: kind of the mask.
        certainty: probability of a class whose value in the mask is 1, above 1/C and below 1.

    Raises:
        DataError: the file cannot be read, does not fit the picture, or has only one value or too many.
        CRFError: another kind, or a certainty out of range.
    """
    if kind not in get_args(MaskKind):
        raise CRFError(f"kind of a mask must be {', '.join(get_args(MaskKind))}, got {kind!r}")
    content = _content(path)
    found = _apparent_kind(content) if kind == "auto" else kind
    if found == "soft" and content.levels.ndim != 2:
        raise DataError("is in colour: a soft mask has one channel", path)
    values = _fitted(content.levels if found == "soft" else content.samples, size, found == "soft", path)
    if found == "soft":
        plain, classes = _soft(values, path)
    else:
        plain, classes = _hard(values, found == "binary", path)
    count = len(plain)
    if not 1 / count < certainty < 1:
        raise CRFError(f"certainty must be above 1/{count} and below 1 for {count} classes, got {certainty:g}")
    share = (certainty - 1 / count) / (1 - 1 / count)
    return Mask((share * plain + (1 - share) / count).astype(np.float32), classes, found)


class _Content(NamedTuple):
    """The contents of a mask's file: numbers ``(H, W)`` or colours ``(H, W, 3)``.

    Attributes:
        levels: as a soft mask's, up to 255 or 65535.
        samples: as labels: of grey of less than 8 bits, or a PGM with a largest value of its own, as they stand there.
        is_labels: they are certainly labels.
        is_lossy: the file's compression has changed the numbers.
    """

    levels: np.ndarray
    samples: np.ndarray
    is_labels: bool = False
    is_lossy: bool = False


def _content(path: str | PathLike[str]) -> _Content:
    if str(path).lower().endswith(".npy"):
        values = _of_npy(path)
        return _Content(values, values)
    pixels = load_image(path, exif_orientation=False, max_pixels=MOST_PIXELS)  # all its checks
    with Image.open(path) as image:
        if image.mode in ("P", "PA"):
            values = np.asarray(image if image.mode == "P" else image.getchannel("P"))
            return _Content(values, values, True)
        if image.mode in ("RGBA", "LA"):
            alpha = np.asarray(image.getchannel("A"))
            if alpha.min() < alpha.max():
                return _Content(alpha, alpha)
        levels = np.asarray(image) if image.mode.startswith("I") else pixels[..., 0]
        grey = image.mode in ("1", "L") or image.mode.startswith("I")
        is_lossy = image.format == "JPEG"
    if grey:
        return _Content(levels, load_samples(path, max_pixels=MOST_PIXELS), is_lossy=is_lossy)
    if (pixels == pixels[..., :1]).all():
        return _Content(levels, levels, is_lossy=is_lossy)
    return _Content(pixels, pixels, True)


def _of_npy(path: str | PathLike[str]) -> np.ndarray:
    array = np.asarray(read_npy(path))
    array = array[0] if array.ndim == 3 and len(array) == 1 else array
    if array.ndim != 2 or array.dtype.kind not in "biuf" or array.size == 0 or array.size > MOST_PIXELS:
        raise DataError(f"expected a mask (H, W) of numbers, got {array.dtype} {array.shape}", path)
    if not np.isfinite(array).all():
        raise DataError("expected finite numbers, got some that are not", path)
    if array.dtype.kind == "f":
        if array.min() < 0 or array.max() > 1:  # logits
            return np.asarray(0.5 + 0.5 * np.tanh(array.astype(np.float64) / 2))
        return np.array(array, np.float64)
    return np.array(array)


def _apparent_kind(content: _Content) -> str:
    if content.is_labels:
        return "labels"
    levels = np.unique(content.samples)
    if len(levels) <= 2:
        return "binary"
    can_be_labels = content.samples.dtype.kind != "f" and not content.is_lossy
    return "labels" if can_be_labels and len(levels) <= _MOST_LABELS else "soft"


def _fitted(values: np.ndarray, size: tuple[int, int], smooth: bool, path: str | PathLike[str]) -> np.ndarray:
    """Return a mask at the picture's size.

    Raises:
        DataError: its sides are neither equal nor proportional to those of the picture.
    """
    height, width = values.shape[:2]
    if (height, width) == size:
        return values
    if abs(height * size[1] - width * size[0]) > max(size) * 2 + 0.01 * height * size[1]:
        hint = ": turned by 90 degrees?" if (width, height) == size else ""
        raise DataError(f"the mask is {width} x {height}, the picture {size[1]} x {size[0]}{hint}", path)
    if smooth:
        picture = Image.fromarray(values.astype(np.float32))
        return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR)).astype(np.float64)
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new) for new, old in zip(size, (height, width), strict=True)
    )
    return np.asarray(values[rows[:, None], columns])


def _soft(values: np.ndarray, path: str | PathLike[str]) -> tuple[np.ndarray, Classes]:
    high = float(values.max())
    foreground = values / (1 if high <= 1 else 255 if high <= 255 else 65535)
    if foreground.min() == foreground.max():
        raise DataError(f"has one value everywhere, {values.flat[0]:g}: there is nothing to refine", path)
    return np.stack([1 - foreground, foreground]), _foreground_classes()


def _hard(values: np.ndarray, binary: bool, path: str | PathLike[str]) -> tuple[np.ndarray, Classes]:
    """Return one-hot probabilities of a binary mask or label map; unknown pixels have equal probabilities."""
    coded = values if values.ndim == 2 else values.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    levels = np.unique(coded)
    if binary and len(levels) > 2:
        coded = coded > (int(levels[0]) + int(levels[-1])) / 2
        levels = np.unique(coded)
    grey = values.ndim == 2
    known = levels[levels != _UNKNOWN] if grey and not binary else levels
    if len(known) < 2:
        raise DataError(f"has {len(known)} label alone: there is nothing to refine", path)
    if len(known) > _MOST_LABELS:
        raise DataError(f"has {len(known)} values, more than {_MOST_LABELS}: no label map; a soft mask?", path)
    plain = (coded == known.reshape(-1, 1, 1)).astype(np.float32)
    plain[:, ~plain.any(axis=0)] = 1 / len(known)
    if binary:
        return plain, _foreground_classes()
    if grey and known.dtype.kind in "iu" and known.min() >= 0 and known.max() < 256:
        colours = VOC_COLORMAP[known.astype(int)]
        return plain, Classes(tuple(class_name((), int(one)) for one in known), colours)
    if grey:
        return plain, Classes(tuple(f"class {one:g}" for one in known), distinct_colormap(len(known)))
    colours = np.array([[one >> 16, one >> 8 & 255, one & 255] for one in known.tolist()], np.uint8)
    return plain, Classes(tuple(f"#{one:06x}" for one in known.tolist()), colours)


def _foreground_classes() -> Classes:
    return Classes(("background", "foreground"), VOC_COLORMAP[[0, 1]])
