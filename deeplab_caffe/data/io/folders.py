"""List the names in a folder, and find photographs by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath, PurePosixPath

from deeplab_caffe.errors import DataError, warn
from deeplab_caffe.files.names import is_folder, special

# Among images with the same name, the first format in this order is used; the first is the original programs' own.
_IMAGE_SUFFIXES = (".ppm", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".pnm", ".jp2")


def find_images(folder: str | os.PathLike[str], ids: Iterable[str] = ()) -> dict[str, Path]:
    """Return the images in a folder by their names without ending.

    If several images have one name, the first format in the order of preference is used.

    Args:
        folder: the folder.
        ids: names with folders, as in Cityscapes, ``aachen/aachen_000000_000019_leftImg8bit``: those folders inside
            ``folder`` are searched too.

    Raises:
        DataError: if the folder cannot be read.
    """
    images: dict[str, Path] = {}
    for inner in id_folders(folder, ids):
        for name in sorted(folder_names(Path(folder) / inner)):
            path = Path(folder) / inner / name
            known = str(inner / path.stem)
            if is_image(path) and (known not in images or _rank(path) < _rank(images[known])):
                images[known] = path
    return images


def validate_pairs(images: Mapping[str, Path], labels: Mapping[str, Path], names: Iterable[str]) -> None:
    """Validate that no image is its own label map, which happens if :func:`find_images` finds both in one folder.

    Raises:
        DataError: an image is its own label map.
    """
    for name in names:
        # Compare names first: most differ by their endings, and file system calls are slow.
        if images[name].name == labels[name].name and images[name].resolve() == labels[name].resolve():
            raise DataError(f"is both the image and the label map of '{name}': keep them in two folders", images[name])


def id_folders(folder: str | os.PathLike[str], ids: Iterable[str] = ()) -> list[PurePosixPath]:
    """Return the folders inside ``folder`` with files of the ids: itself, and the ids' own folders that exist."""
    inner = sorted({PurePosixPath(name).parent for name in ids if "/" in name})
    return [PurePosixPath(), *(one for one in inner if is_folder(Path(folder) / one))]


def folder_names(folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of the files and folders in a folder.

    Pipes, sockets and devices with an image's name are left out, with a warning.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            # Most file systems return an entry's type together with its name, so this needs no further call.
            return [entry.name for entry in entries if entry.is_file() or not _is_odd_image(entry)]
    except OSError as exc:
        raise DataError(f"cannot be read as a folder: {exc.strerror}", folder) from exc


def _is_odd_image(entry: os.DirEntry[str]) -> bool:
    what = special(entry) if is_image(PurePath(entry.name)) else ""
    if what:
        warn(f"{entry.path}: {what}, no file: it is left out")
    return bool(what)


def is_image(path: PurePath) -> bool:
    """Return whether a name has an image's ending."""
    return _rank(path) >= 0


def _rank(path: PurePath) -> int:
    """Return the format's rank among images with the same name; -1 for a file that is not an image."""
    suffix = path.suffix.lower()
    return _IMAGE_SUFFIXES.index(suffix) if suffix in _IMAGE_SUFFIXES else -1
