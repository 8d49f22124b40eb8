"""NumPy's arrays, on the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from reprlib import repr as short_repr
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays.interface import Array, Arrays, Shape
from deeplab_caffe.arrays.libraries import is_torch
from deeplab_caffe.errors import KernelError

NDArray = np.ndarray[Any, Any]


def whole_strides(array: Array) -> bool:
    """Return whether strides are multiples of the element size, which fails for parts of records or complex numbers."""
    return all(stride % array.itemsize == 0 for stride in array.strides)


class NumpyArrays(Arrays):
    """Memory of NumPy."""

    library = "numpy"
    device = "cpu"
    index = -1
    stream = 0

    def take(self, array: Any) -> NDArray:
        """Convert an array on the CPU to NumPy, aligned and in native byte order, as :meth:`view` needs it."""
        array = to_numpy(array, "the arrays")
        return array if _viewable(array) else np.array(array, array.dtype.newbyteorder("="), order="C")

    def empty(self, shape: Shape, dtype: Any, *, channels_last: bool = False) -> NDArray:
        """See :class:`Arrays`."""
        if channels_last:
            n, c, h, w = shape  # type: ignore[misc]  # (N, C, H, W)
            return np.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
        return np.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: Any) -> NDArray:
        """See :class:`Arrays`."""
        return np.zeros(shape, dtype)

    def dtype(self, array: NDArray) -> str:
        """See :class:`Arrays`."""
        return str(array.dtype.name)

    def as_dtype(self, dtype: Any) -> Any:
        """See :class:`Arrays`."""
        return numpy_dtype(dtype)

    def cast(self, array: NDArray, dtype: Any) -> NDArray:
        """Convert an array to a dtype, in a form for :meth:`view`; return the array itself if it already is."""
        array = np.asarray(array, dtype)
        return array if _viewable(array) else np.array(array, dtype, order="C")

    def contiguous(self, array: NDArray, *, channels_last: bool = False) -> NDArray:
        """See :class:`Arrays`."""
        if channels_last:
            return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array).reshape(array.shape)

    def permute(self, array: NDArray, axes: Sequence[int]) -> NDArray:
        """See :class:`Arrays`."""
        return array.transpose(axes)

    def copy(self, array: NDArray) -> NDArray:
        """See :class:`Arrays`."""
        return array.copy()

    def assign(self, target: NDArray, source: NDArray) -> None:
        """See :class:`Arrays`."""
        target[...] = source

    def matmul(self, a: NDArray, b: NDArray, out: NDArray, *, add: bool = False) -> None:
        """See :class:`Arrays`."""
        if add:
            out += np.matmul(a, b)
        else:
            np.matmul(a, b, out=out)

    def columns_have_finite_minimum(self, array: NDArray) -> bool:
        """See :class:`Arrays`."""
        return bool(np.isfinite(array.min(axis=0)).all())

    def numpy(self, array: NDArray) -> NDArray:
        """See :class:`Arrays`."""
        return array

    def view(self, array: NDArray) -> _C.TensorView:
        """Return the extension's view of an array's memory, read-only arrays included; it keeps the array alive.

        The array must be aligned, in native byte order, and have strides of whole elements: see :meth:`take`.
        """
        strides = tuple(stride // array.itemsize for stride in array.strides)
        found = _C.TensorView(array.ctypes.data, array.shape, strides, array.dtype.name, -1)
        found.array = array
        return found

    def is_capturing(self) -> bool:
        """See :class:`Arrays`."""
        return False

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """Raise an error: the CPU has no CUDA graphs.

        Raises:
            KernelError: always.
        """
        raise KernelError("a CUDA graph needs arrays on a GPU, these are NumPy's")

    def in_turn(self) -> Callable[[], AbstractContextManager[None]]:
        """See :class:`Arrays`."""
        return nullcontext


def _viewable(array: NDArray) -> bool:
    return array.flags.aligned and array.dtype.isnative and whole_strides(array)


def numpy_dtype(dtype: Any) -> Any:
    """Return NumPy's dtype for a dtype of any library or its name.

    Raises:
        ValueError: NumPy has no dtype of this name.
    """
    try:
        return np.dtype(str(dtype).removeprefix("torch.") if not isinstance(dtype, (type, np.dtype)) else dtype)
    except TypeError as exc:
        raise ValueError(f"NumPy and CuPy have no dtype {str(dtype).removeprefix('torch.')}") from exc


def to_numpy(array: Any, name: str, error: type[Exception] = ValueError) -> NDArray:
    """Convert an array on the CPU that NumPy or torch understands to NumPy, without a copy if possible.

    Args:
        array: the array; torch's bfloat16 and float16 become float32.
        name: name of the arrays, in the plural, for messages.
        error: the class of error to raise.

    Raises:
        error: the array is on a GPU, sparse or quantized; or it is a file's name, bytes or None.
    """
    if is_torch(array):
        if array.device.type != "cpu":
            raise error(f"{name} are on {array.device}, where this does not compute: take array.cpu()")
        if array.is_quantized or str(array.layout) != "torch.strided":
            kind, how = ("quantized", "dequantize") if array.is_quantized else ("sparse", "to_dense")
            raise error(f"{name} are a {kind} tensor: take array.{how}()")
        array = array.detach().resolve_conj().resolve_neg()
        # bfloat16, which NumPy lacks
        found: NDArray = (
            array.float().numpy() if array.dtype.is_floating_point and array.itemsize < 4 else array.numpy()
        )
        return found
    if hasattr(array, "__cuda_array_interface__"):
        raise error(f"{name} are a {type(array).__name__} on a GPU, where this does not compute: take array.get()")
    if array is None or isinstance(array, (str, bytes, PathLike)):
        raise error(f"{name} must be of real numbers, an array, got {short_repr(array)}{file_advice(array)}")
    return np.asarray(array)


def file_advice(value: Any) -> str:
    """Return what to do about a file's name, or its bytes, in place of an array; "" for other values."""
    if not isinstance(value, (str, bytes, PathLike)):
        return ""
    return ": read the file first, an image by deeplab_caffe.data.load_image"


def like(array: Any, result: NDArray) -> Array:
    """Return a result as a torch tensor if ``array`` is one, else unchanged."""
    return sys.modules["torch"].from_numpy(result) if is_torch(array) else result
