"""The samples in a label map's file where Pillow changes them, and warnings about files that cannot be trusted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from os import PathLike

import numpy as np
from PIL import Image

from deeplab_caffe.errors import DataError, warn

_EXIF_ORIENTATION = 0x0112

# Set after the first warning of a label map in JPEG.
_jpeg_seen = threading.Event()


@dataclass(frozen=True)
class SampleScale:
    """Pillow's scaling of samples: ``largest`` in the file becomes ``full``, and values in between are rounded."""

    largest: int
    full: int

    def samples(self, pixels: np.ndarray) -> np.ndarray:
        """Return the samples of Pillow's pixels, in their dtype."""
        return ((pixels.astype(np.int64) * self.largest + self.full // 2) // self.full).astype(pixels.dtype)


def sample_scale(image: Image.Image, path: str | PathLike[str]) -> SampleScale | None:
    """Return how Pillow will scale a grey image's samples; None if it does not. Call it before decoding.

    Grey samples with 2 and 4 bits (PNG, TIFF) are scaled to 0 to 255; samples of PGM and PPM are scaled by the maximum
    in the header.

    Raises:
        DataError: the image has 16 bits and alpha or colours, of which Pillow keeps only the upper byte.
    """
    tile = getattr(image, "tile", None)
    words = tile[0][3] if tile else None
    raw_mode, *others = words if isinstance(words, tuple) and words else (words,)
    if not isinstance(raw_mode, str):
        return None
    wide, largest = image.mode.startswith("I"), 0
    if image.format == "PPM" and tile and tile[0][0] in ("ppm", "ppm_plain") and others:
        largest = int(others[0])
    if not wide and (";16" in raw_mode or largest > 255):
        raise DataError("labels of 16 bits must be grey without alpha: save them as grey or palette PNG", path)
    # In TIFF a suffix I means inverted bits, R reversed bits.
    bits = {"L;2": 2, "L;4": 4}.get(raw_mode.rstrip("IR"))
    if bits is not None:
        return SampleScale((1 << bits) - 1, 255)
    full = 65535 if wide else 255
    return SampleScale(largest, full) if largest not in (0, full) else None


def is_jpeg(image: Image.Image) -> bool:
    """Return whether an image's file is JPEG, of one picture or of several."""
    return image.format in ("JPEG", "MPO")


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a broken EXIF block is no reason to refuse an image
        return 1


def warn_of_jpeg(image: Image.Image, path: str | PathLike[str]) -> None:
    """Warn of the first label map of a run that is a JPEG."""
    if is_jpeg(image) and not _jpeg_seen.is_set():
        _jpeg_seen.set()
        warn(f"{path}: a label map in JPEG, whose compression changes labels: save them as PNG")


def warn_of_orientation(image: Image.Image, path: str | PathLike[str], what: str) -> None:
    """Warn of a decoded image with an EXIF orientation that is not applied, because ``what`` fit the stored pixels."""
    # Looking for EXIF data takes time, and label maps rarely have any.
    has_exif = "exif" in image.info or "Raw profile type exif" in image.info
    if has_exif and (turned := orientation(image)) != 1:
        warn(f"{path}: EXIF orientation {turned} is not applied: {what} fit the photo's stored pixels")
