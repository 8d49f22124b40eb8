"""How CuPy arrays reach the extension."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.arrays import import_cupy as library
from deeplab_caffe.arrays import offers_gpu_memory
from deeplab_caffe.arrays.libraries import as_cupy

if TYPE_CHECKING:
    import cupy


def take(operation: str, name: str, array: Any) -> cupy.ndarray:
    """An array on a GPU as CuPy's, without a copy.

    Raises:
        ValueError: it is not on a GPU.
    """
    cp = library()
    if not isinstance(array, cp.ndarray) and not offers_gpu_memory(array):
        raise ValueError(f"{operation}: expected {name} as an array on a GPU, got {type(array).__name__}")
    array = as_cupy(cp, array)
    # Parts of records and of complex numbers: their strides are no whole elements.
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    if whole:
        return array
    with cp.cuda.Device(array.device.id):
        return cp.ascontiguousarray(array)


# What the operations that resize scores and then do something with them read, widened to float32 or float64.
SCORES = ("float32", "float64", "float16", "bfloat16")


def take_images(
    operation: str, name: str, array: Any, dtypes: tuple[str, ...] = ("float32", "float64")
) -> cupy.ndarray:
    """Like :func:`take`, for what must be (N, C, H, W) of one of some dtypes."""
    array = take(operation, name, array)
    if array.ndim != 4:
        raise ValueError(f"{operation}: expected {name} (N, C, H, W), got shape {array.shape}")
    if array.dtype.name not in dtypes:
        raise ValueError(f"{operation}: expected {name} of {' or '.join(dtypes)}, got {array.dtype}")
    return array


@contextmanager
def stream_of(array: cupy.ndarray) -> Iterator[int]:
    """Makes an array's device current, and gives CuPy's current stream there."""
    cuda = library().cuda
    with cuda.Device(array.device.id):
        yield cuda.get_current_stream().ptr


def view(array: cupy.ndarray) -> _C.TensorView:
    """The extension's view; the array must outlive what is done with it."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return _C.TensorView(array.data.ptr, array.shape, strides, array.dtype.name, array.device.id)
