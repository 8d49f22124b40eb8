"""Write the images and labels of a list to an LMDB, as Caffe's convert_imageset does."""

from __future__ import annotations

import random
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from deeplab_caffe.data.io.images import image_size, load_grey, load_image
from deeplab_caffe.data.io.lists import LabelledEntry, read_labelled_list
from deeplab_caffe.data.io.lmdb_write import write_lmdb
from deeplab_caffe.data.io.resize import resize_bilinear
from deeplab_caffe.data.sources.transform import bgr_planes
from deeplab_caffe.errors import DataError
from deeplab_caffe.proto import caffe_pb2


def read_imageset(path: str | PathLike[str], seed: int | None = None) -> list[LabelledEntry]:
    """Read a list of images with one label each.

    Args:
        path: the list.
        seed: seed to shuffle by; None: keep the order.

    Raises:
        DataError: the list cannot be read, or a line does not have exactly one label.
    """
    entries = read_labelled_list(path, 1)
    for entry in entries:
        if not entry.labels:
            raise DataError(f"expected 'image label', got '{entry.image}' alone", path, entry.line)
    if seed is not None:
        random.Random(seed).shuffle(entries)
    return entries


def write_imageset(
    entries: list[LabelledEntry],
    root: str,
    out: str | PathLike[str],
    *,
    size: tuple[int, int] | None = None,
    grey: bool = False,
    encoded: bool = False,
    done: Callable[[], None] = lambda: None,
) -> set[tuple[int, int]]:
    """Write images as Datum messages, B, G, R, under keys ``00000000_NAME``.

    Args:
        entries: the images.
        root: text that is put before the images' names.
        out: the LMDB, a new folder.
        size: ``(height, width)`` to resize images to.
        grey: store one channel.
        encoded: store the files' bytes, which takes less space; not together with ``size`` or ``grey``.
        done: function that is called after each image.

    Returns:
        The sizes of the records; DATA needs a single size for batches.

    Raises:
        DataError: an image cannot be read, or the LMDB cannot be written.
        NetError: lmdb is not installed.
    """
    if encoded and (size is not None or grey):
        raise ValueError("encoded stores the files as they are: give neither size nor grey")
    load, sizes = load_grey if grey else load_image, set()
    with write_lmdb(out) as put:
        for number, entry in enumerate(entries):
            path = Path(root + entry.image)
            if encoded:
                sizes.add(image_size(path))
                datum = caffe_pb2.Datum(data=path.read_bytes(), encoded=True)
            else:
                image = load(path, exif_orientation=False)
                planes = bgr_planes(image if size is None else resize_bilinear(image, *size))
                channels, height, width = planes.shape
                sizes.add((height, width))
                datum = caffe_pb2.Datum(channels=channels, height=height, width=width, data=planes.tobytes())
            datum.label = entry.labels[0]
            put(f"{number:08d}_{entry.image}".encode("utf-8", "surrogateescape"), datum.SerializeToString())
            done()
    return sizes
