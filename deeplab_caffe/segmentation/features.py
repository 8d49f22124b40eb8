"""Write any blobs of a network, for photographs or its own data layers, to files, as Caffe's extract_features does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from deeplab_caffe.arrays.devices import resolve_device
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.lmdb_write import write_lmdb
from deeplab_caffe.data.io.mat import write_blob_mat
from deeplab_caffe.data.io.npy import save_npy
from deeplab_caffe.data.io.resize import resize_bilinear
from deeplab_caffe.data.sources.transform import image_to_blob
from deeplab_caffe.errors import NetError
from deeplab_caffe.files.atomic import all_or_none
from deeplab_caffe.net import Net
from deeplab_caffe.net.hdf5 import import_h5py, write_tree
from deeplab_caffe.proto import caffe_pb2

Features = dict[str, np.ndarray]
FORMATS = ("npy", "mat", "hdf5", "lmdb")


class FeatureNet:
    """A network that returns the values of chosen blobs.

    Args:
        prototxt: path of the net's prototxt.
        weights: path of the weights; None: the fillers' values.
        blobs: names of the blobs.
        phase: ``"TRAIN"`` or ``"TEST"``.
        device: device to compute on.
        mean: B, G, R to subtract from photographs; None: the net's own mean, or ImageNet's.
        size: ``(height, width)`` to resize photographs to, for nets with InnerProduct layers.
        crop_size: pad photographs to at least this side, as test.prototxt does.
        **options: further arguments of :class:`Net`.

    Raises:
        NetError: the net cannot be built, has no such blob, or no blob is given.
    """

    def __init__(
        self,
        prototxt: str | PathLike[str],
        weights: str | PathLike[str] | None,
        blobs: Sequence[str],
        *,
        phase: str = "TEST",
        device: str = "auto",
        mean: tuple[float, float, float] | None = None,
        size: tuple[int, int] | None = None,
        crop_size: int | None = None,
        **options: Any,
    ) -> None:
        self.blobs = list(dict.fromkeys(blobs))
        if not self.blobs:
            raise NetError("blobs: expected one name or more, got none")
        self.net = Net(prototxt, weights, phase, **options)
        self.net.graph.wanted(self.blobs)
        self.device = resolve_device(device)
        self.net.to(self.device)
        self._mean, self._size, self._crop = mean, size, crop_size or 1

    def of_image(self, image: np.ndarray) -> Features:
        """Return the blobs of a photograph.

        Args:
            image: uint8 RGB ``(H, W, 3)``.

        Returns:
            float32 arrays by blob, most of them ``(1, C, H, W)``.

        Raises:
            NetError: the net does not have exactly one input, or the image's size does not fit.
        """
        if len(self.net.inputs) != 1:
            held = ", ".join(self.net.inputs) or "none, but data layers"
            raise NetError(f"photographs need a net with one input, net '{self.net.name}' has {held}")
        if self._size is not None:
            image = resize_bilinear(image, *self._size)
        padded = max(image.shape[0], self._crop), max(image.shape[1], self._crop)
        mean = self.net.mean_value if self._mean is None else self._mean
        return self._run(torch.from_numpy(image_to_blob(image, mean_value=mean, size=padded)).to(self.device))

    def of_batches(self, count: int) -> Iterator[Features]:
        """Yield the blobs of the next ``count`` batches of the net's data layers.

        Raises:
            NetError: the net has inputs.
            DataError: the data cannot be read.
        """
        if self.net.inputs:
            raise NetError(f"net '{self.net.name}' has no data layers but inputs: give photographs")
        for _ in range(count):
            yield self._run()

    @torch.no_grad()
    def _run(self, *inputs: torch.Tensor) -> Features:
        found = self.net(*inputs, blobs=self.blobs)
        return {name: found[name].float().cpu().numpy() for name in self.blobs}


def save_features(stem: Path, features: Features, form: str) -> list[Path]:
    """Write a photograph's blobs: ``STEM_BLOB.npy`` or ``.mat`` for each, or ``STEM.h5`` with all of them.

    If one cannot be written, none is kept.

    Raises:
        NetError: two blobs would have the same file.
        DataError, CaffeModelError: a file cannot be written, or the format cannot hold a blob.
    """
    if form == "hdf5":
        path = stem.with_name(f"{stem.name}.h5")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tree(path, dict(features))
        return [path]
    save = {"npy": _save_npy, "mat": _save_mat}[form]
    paths = _files(stem.parent, features, form, f"{stem.name}_")
    with all_or_none() as written:
        for path, blob in zip(paths, features.values(), strict=True):
            save(path, blob)
            written.append(path)
    return written


def save_batches(
    folder: Path, batches: Iterator[Features], count: int, form: str, done: Callable[[], None] = lambda: None
) -> list[Path]:
    """Write the blobs of several batches, concatenated: ``FOLDER/BLOB.npy``, ``.mat``, or ``FOLDER/features.h5``.

    Or ``FOLDER/BLOB.lmdb`` with a Datum per item, as extract_features writes it. .npy and .lmdb files are written batch
    by batch; the other formats need all batches in memory.

    Args:
        folder: the folder; created if it does not exist.
        batches: the batches' blobs.
        count: number of batches.
        form: one of :data:`FORMATS`.
        done: function that is called after each batch.

    Raises:
        NetError: the batches' blobs differ in shape, one has no axes, or two would have the same file.
        DataError, CaffeModelError: as :func:`save_features`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if form == "hdf5":
        import_h5py(folder / "features.h5")
    first = next(batches)
    done()
    for name, blob in first.items():
        if not blob.ndim:
            # A loss, for example.
            raise NetError(f"blob '{name}' has no axes, so no rows to put below each other: leave it out")
    paths = [] if form == "hdf5" else _files(folder, first, form)
    if form == "npy":
        with ExitStack() as stack:
            files = {n: stack.enter_context(atomic_write(p)) for n, p in zip(first, paths, strict=True)}
            for name, blob in first.items():
                _start_npy(files[name], blob, count)
            for found in _alike(batches, first, done):
                for name, blob in found.items():
                    files[name].write(np.ascontiguousarray(blob, np.float32).data)
        return paths
    if form == "lmdb":
        with ExitStack() as stack:
            puts = {n: stack.enter_context(write_lmdb(p)) for n, p in zip(first, paths, strict=True)}
            items = dict.fromkeys(first, 0)
            for found in chain([first], _alike(batches, first, done)):
                for name, blob in found.items():
                    for item in blob:
                        puts[name](b"%010d" % items[name], _datum(item))
                        items[name] += 1
        return paths
    rows = {name: [blob] for name, blob in first.items()}
    for found in _alike(batches, first, done):
        for name, blob in found.items():
            rows[name].append(blob)
    whole = {name: np.concatenate(parts) for name, parts in rows.items()}
    if form == "hdf5":
        return save_features(folder / "features", whole, form)
    for name, path in zip(first, paths, strict=True):
        _save_mat(path, whole[name])
    return paths


def _alike(batches: Iterator[Features], first: Features, done: Callable[[], None]) -> Iterator[Features]:
    for found in batches:
        for name, blob in found.items():
            if blob.shape != first[name].shape:
                raise NetError(f"blob '{name}' was {first[name].shape}, now {blob.shape}: one array cannot hold both")
        yield found
        done()


def _start_npy(file: BinaryIO, blob: np.ndarray, count: int) -> None:
    shape = (count * len(blob), *blob.shape[1:])
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    file.write(np.ascontiguousarray(blob, np.float32).data)


def _datum(item: np.ndarray) -> bytes:
    """Return an item as a Datum of floats, as extract_features.cpp writes it."""
    channels, height, width = (*item.shape, 1, 1, 1)[:3]
    if channels * height * width != item.size:
        raise NetError(f"a Datum has channels, height and width, the blob's items are {item.shape}")
    datum = caffe_pb2.Datum(channels=channels, height=height, width=width, float_data=item.reshape(-1))
    return datum.SerializeToString()


def _save_npy(path: Path, blob: np.ndarray) -> None:
    save_npy(path, blob, make_folders=True)


def _save_mat(path: Path, blob: np.ndarray) -> None:
    write_blob_mat(path, blob.reshape(blob.shape + (1,) * (4 - blob.ndim)))


def _files(folder: Path, blobs: Iterable[str], form: str, start: str = "") -> list[Path]:
    """Return the file of each blob; a slash in a name, such as ``inception/1x1``, becomes ``_``.

    Raises:
        NetError: two blobs would have the same file.
    """
    paths: dict[Path, list[str]] = {}
    for blob in blobs:
        paths.setdefault(folder / f"{start}{blob.replace('/', '_')}.{form}", []).append(blob)
    for path, names in paths.items():
        if len(names) > 1:
            raise NetError(f"blobs {', '.join(names)} would all go to {path.name}: write them one by one, or to hdf5")
    return list(paths)
