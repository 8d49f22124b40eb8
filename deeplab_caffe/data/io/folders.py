"""What is in a folder: names, and photographs by their names."""

from __future__ import annotations

import os
from pathlib import Path

from deeplab_caffe.errors import DataError

# Among images of one name the format of the original's programs goes first.
_IMAGE_SUFFIXES = (".ppm", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".pnm", ".jp2")


def find_images(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the images in a folder by their names without ending.

    Of several of one name the first of the formats counts.

    Raises:
        DataError: if the folder cannot be read.
    """
    images: dict[str, Path] = {}
    for name in sorted(folder_names(folder)):
        path = Path(folder) / name
        if _rank(path) >= 0 and (path.stem not in images or _rank(path) < _rank(images[path.stem])):
            images[path.stem] = path
    return images


def folder_names(folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of what is in a folder.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return [path.name for path in Path(folder).iterdir()]
    except OSError as exc:
        raise DataError(f"cannot be read as a folder: {exc.strerror}", folder) from exc


def _rank(path: Path) -> int:
    """Return where the image's format stands among those that share a name; -1 for a file that is no image."""
    suffix = path.suffix.lower()
    return _IMAGE_SUFFIXES.index(suffix) if suffix in _IMAGE_SUFFIXES else -1
