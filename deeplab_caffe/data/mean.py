"""The mean of images per channel and per pixel, like Caffe's convert_imageset followed by compute_image_mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from deeplab_caffe.data.io.database import DATABASES, Database
from deeplab_caffe.data.io.folders import find_images, is_image
from deeplab_caffe.data.io.images import load_grey, load_image
from deeplab_caffe.data.io.lists import read_image_list
from deeplab_caffe.data.io.npy import save_npy
from deeplab_caffe.data.io.resize import resize_bilinear
from deeplab_caffe.data.sources.database import Decoding, decode_datum
from deeplab_caffe.data.sources.transform import bgr_planes
from deeplab_caffe.errors import DataError
from deeplab_caffe.files.names import is_file, is_folder
from deeplab_caffe.proto import write_blob

# A file by which each backend's folder is recognised.
_MARKS = {"LMDB": "data.mdb", "LEVELDB": "CURRENT"}


@dataclass(frozen=True)
class Mean:
    """The mean of images.

    Attributes:
        count: number of images.
        channels: mean of each channel over all pixels of all images, float64 ``(C,)``, B, G, R for colour.
        image: mean of each pixel, float32 ``(C, H, W)``; None if the images differ in size.
        other: the first image whose size differs from the first image's, and both sizes; None if there is none.
    """

    count: int
    channels: np.ndarray
    image: np.ndarray | None
    other: str | None = None

    def save(self, path: str | PathLike[str]) -> None:
        """Write the mean image: ``.npy`` ``(C, H, W)``, or ``.binaryproto`` ``(1, C, H, W)`` for ``mean_file``.

        Raises:
            DataError: there is no mean image, or the ending is another one.
            CaffeModelError: the ``.binaryproto`` cannot be written.
        """
        if self.image is None:
            raise DataError(f"a mean image needs images of one size: {self.other}; give a size", path)
        suffix = Path(path).suffix.lower()
        if suffix == ".npy":
            save_npy(path, self.image)
        elif suffix == ".binaryproto":
            write_blob(path, self.image)
        else:
            raise DataError(f"expected a file name that ends in .binaryproto or .npy, got '{suffix}'", path)


class MeanImages:
    """The images whose mean is computed.

    Args:
        sources: images, folders of images, lists of the data layers (their first words), LMDBs and LevelDBs.
        root: text that is put before a list's names.
        size: ``(height, width)`` to resize images to; None: do not resize. Records of databases are never resized.
        grey: read images in grey, including encoded images in databases, which otherwise keep their channels.

    Raises:
        DataError: a source is missing or of another kind, or there is no image.
        NetError: a database's library is not installed.
    """

    def __init__(
        self,
        sources: Sequence[str | PathLike[str]],
        *,
        root: str = "",
        size: tuple[int, int] | None = None,
        grey: bool = False,
    ) -> None:
        self._size, self._load = size, load_grey if grey else load_image
        self._decoding: Decoding = "grey" if grey else "native"
        self._found: list[Path | tuple[Database, bytes]] = []
        for source in sources:
            before = len(self._found)
            self._found += _found(Path(source), root)
            if len(self._found) == before:
                raise DataError("holds no image", source)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def files(self) -> list[Path]:
        """Return the image files among the sources."""
        return [one for one in self._found if isinstance(one, Path)]

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the numbers ``(C, H, W)``, B, G, R, of each image."""
        for one in self._found:
            if isinstance(one, Path):
                image = self._load(one, exif_orientation=False, view=True)
                yield str(one), bgr_planes(image if self._size is None else resize_bilinear(image, *self._size))
            else:
                database, key = one
                name = f"{database.path}: key {key.decode('utf-8', 'backslashreplace')!r}"
                try:
                    yield name, decode_datum(database.get(key), name, self._decoding).planes
                except ValueError as error:
                    raise error if isinstance(error, DataError) else DataError(str(error), name) from error


def _found(source: Path, root: str) -> Iterable[Path | tuple[Database, bytes]]:
    if is_folder(source):
        for backend, mark in _MARKS.items():
            if is_file(source / mark):
                database = DATABASES[backend](source)
                return [(database, key) for key in database.keys()]  # noqa: SIM118 - no mapping
        return list(find_images(source).values())
    if is_image(source):
        return [source]
    if source.suffix == ".mdb":
        database = DATABASES["LMDB"](source)
        return [(database, key) for key in database.keys()]  # noqa: SIM118
    return [Path(root + entry.image) for entry in read_image_list(source)]


def compute_mean(images: Iterable[tuple[str, np.ndarray]]) -> Mean:
    """Return the mean of images; sums are in float64.

    Args:
        images: name and numbers ``(C, H, W)`` of each image.

    Raises:
        DataError: there is no image, or one has another number of channels.
    """
    count, pixels = 0, 0
    channels, image = np.zeros(0), np.zeros(0)
    first, other = "", None
    for name, planes in images:
        if not count:
            first, channels, image = name, np.zeros(len(planes)), np.zeros(planes.shape)
        if len(planes) != len(channels):
            raise DataError(f"has {len(planes)} channels, '{first}' has {len(channels)}", name)
        if other is None and planes.shape != image.shape:
            sizes = ["{} x {}".format(*shape[1:]) for shape in (planes.shape, image.shape)]
            other = f"'{name}' is {sizes[0]} (height x width), '{first}' {sizes[1]}"
        if other is None:
            image += planes
        channels += planes.sum(axis=(1, 2), dtype=np.float64)
        pixels += planes[0].size
        count += 1
    if not count:
        raise DataError("there is no image", "mean")
    whole = None if other else (image / count).astype(np.float32)
    return Mean(count, channels / pixels, whole, other)
