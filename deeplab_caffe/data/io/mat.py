"""MAT files of one blob: what MAT_WRITE writes and MAT_READ reads (blob.cpp:320-391).

The variable ``data`` has dimensions (width, height, channels, num). MATLAB stores the first dimension contiguously, so
the bytes have the same order as the blob ``(N, C, H, W)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.mat5 import MAX_BYTES, MatFormatError, NumericArray, encode_header, find_variable
from deeplab_caffe.errors import DataError, how_to_install
from deeplab_caffe.files.hdf5 import SIGNATURE, find_datasets, has_h5py, read_dataset

_VARIABLE = "data"


def blob_mat_name(stem: str, blob: int = 0) -> str:
    """Return the name of the file that MAT_WRITE writes for bottom number ``blob`` (layers/mat_write_layer.cpp)."""
    return f"{stem}_blob_{blob}.mat"


# What follows an image's id in the name of its file of scores, which are the layer's only bottom.
SCORES_SUFFIX = blob_mat_name("")


def write_blob_mat(path: str | PathLike[str], blob: np.ndarray) -> None:
    """Write a blob as the original does: MAT version 5, uncompressed, class single. Missing folders are created.

    The bytes are matio's except for the header's text, which names this package and has no date, so that equal blobs
    give equal files.

    Args:
        path: the file.
        blob: ``(N, C, H, W)``, cast to float32.

    Raises:
        DataError: the blob is empty, not 4-D or of 2 GiB or more, or the file cannot be written.
    """
    blob = np.asarray(blob)
    if blob.ndim != 4 or blob.size == 0:
        raise DataError(f"expected a blob (N, C, H, W), got shape {blob.shape}", path)
    if blob.size * 4 > MAX_BYTES:
        raise DataError(
            f"a MAT file of version 5 holds up to 2 GiB, the blob {blob.shape} needs {blob.size * 4:,} bytes", path
        )
    blob = np.ascontiguousarray(blob, "<f4")
    with atomic_write(path, make_folders=True) as stream:
        stream.write(encode_header(_VARIABLE, blob.shape[::-1], blob.nbytes))
        stream.write(blob.reshape(-1).data)
        stream.write(bytes(-blob.nbytes % 8))


def read_blob_mat(path: str | PathLike[str]) -> np.ndarray:
    """Read a blob from the variable ``data``.

    Files of version 5 (MATLAB's ``save`` with -v6 and -v7, compressed or not, in either byte order) are read here;
    files of version 7.3 need h5py. Class double is converted to single. Trailing dimensions of 1, which MATLAB drops,
    are restored.

    Returns:
        float32 ``(N, C, H, W)``.

    Raises:
        DataError: the file is missing, damaged or not a MAT file, or has no ``data`` of class single or double with up
            to four dimensions.
    """
    dims, values = _load(path, with_values=True)
    return values.astype(np.float32, copy=False).reshape(_blob_shape(dims, path))


def blob_mat_shape(path: str | PathLike[str]) -> tuple[int, int, int, int]:
    """Read the shape ``(N, C, H, W)`` of a MAT file's blob without its values; errors as :func:`read_blob_mat`."""
    dims, _ = _load(path, with_values=False)
    return _blob_shape(dims, path)


def read_scores_mat(path: str | PathLike[str], size: tuple[int, int] | None = None) -> np.ndarray:
    """Read the scores of one image, as ``prog_refine_pascal_v4`` does from ``<image>_blob_0.mat``.

    Args:
        path: the file.
        size: ``(height, width)`` of the image, which is at the top left of the padded scores; None: return all.

    Returns:
        float32 ``(C, H, W)``.

    Raises:
        DataError: as :func:`read_blob_mat`; or the file has several images, or is smaller than ``size``.
    """
    blob = read_blob_mat(path)
    if len(blob) != 1:
        raise DataError(f"expected the scores of 1 image, got {len(blob)}", path)
    if size is None:
        return np.asarray(blob[0])
    if blob.shape[2] < size[0] or blob.shape[3] < size[1]:
        raise DataError(
            f"the scores are {blob.shape[2]} x {blob.shape[3]} (height x width), smaller than the image of "
            f"{size[0]} x {size[1]}",
            path,
        )
    return np.ascontiguousarray(blob[0, :, : size[0], : size[1]])


def _blob_shape(dims: Sequence[int], path: str | PathLike[str]) -> tuple[int, int, int, int]:
    if len(dims) > 4:
        raise DataError(f"'{_VARIABLE}' cannot have more than 4 dimensions, got {tuple(dims)}", path)
    if 0 in dims:
        raise DataError(f"'{_VARIABLE}' is empty: dimensions {tuple(dims)}", path)
    width, height, channels, num = (*dims, 1, 1, 1, 1)[:4]
    return num, channels, height, width


def _load(path: str | PathLike[str], *, with_values: bool) -> tuple[Sequence[int], np.ndarray]:
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(520)
            if SIGNATURE in (head[:8], head[512:520]):
                return _load_hdf5(path, with_values)
            stream.seek(0)
            found = find_variable(stream, Path(path).stat().st_size, _VARIABLE)
            if found is None:
                raise DataError(f"the MAT file has no variable '{_VARIABLE}'", path)
            _check_class(found, path)
            return found.dims, found.values() if with_values else np.empty(0, np.float32)
    except MatFormatError as exc:
        raise DataError(str(exc), path) from exc
    except (OSError, ValueError, MemoryError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError(f"cannot be read: {getattr(exc, 'strerror', None) or exc or type(exc).__name__}", path) from exc


def _check_class(found: NumericArray, path: str | PathLike[str]) -> None:
    if found.class_name not in ("single", "double") or found.is_complex or found.is_logical:
        kind = ("complex " if found.is_complex else "") + ("logical" if found.is_logical else found.class_name)
        raise DataError(f"'{_VARIABLE}' must be of class single or double, got {kind}", path)


def _load_hdf5(path: str | PathLike[str], with_values: bool) -> tuple[Sequence[int], np.ndarray]:
    if not has_h5py():
        raise DataError(f"a MAT file of version 7.3 (HDF5) needs h5py: {how_to_install('h5py')}", path)
    data = find_datasets(path, [_VARIABLE])[0].get(_VARIABLE)
    if data is None:
        raise DataError(f"the MAT file has no variable '{_VARIABLE}'", path)
    if data.dtype.kind != "f" or data.dtype.itemsize not in (4, 8) or "MATLAB_empty" in data.attributes:
        raise DataError(f"'{_VARIABLE}' must be of class single or double and not empty, got {data.dtype}", path)
    # HDF5 lists the slowest dimension first, so MATLAB's order is the reverse.
    dims = data.shape[::-1]
    if math.prod(dims) * data.dtype.itemsize > MAX_BYTES:
        raise DataError(f"'{_VARIABLE}' of {dims} is larger than 2 GiB", path)
    return dims, read_dataset(data) if with_values else np.empty(0, np.float32)
