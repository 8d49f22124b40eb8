"""What each library's arrays must offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import numpy as np

from deeplab_caffe import _C

# An array of numpy, torch or CuPy.
Array = Any
Shape = int | Sequence[int]


class HasShape(Protocol):
    """An array of any library, as far as types tell."""

    @property
    def shape(self) -> Any:
        """Return the sizes, a tuple of integers."""


# A function's array and its result, which are of one library.
ArrayT = TypeVar("ArrayT", bound=HasShape)


class Arrays(ABC):
    """One library's memory and stream on one device.

    Attributes:
        library: "numpy", "torch" or "cupy".
        index: the CUDA device's index; -1 on the CPU.
    """

    library: str
    index: int

    @property
    @abstractmethod
    def device(self) -> str:
        """Return the device's name: "cpu", "cuda:0", ..."""

    @property
    def out_of_memory(self) -> tuple[type[Exception], ...]:
        """Return what the library raises if there is not enough memory."""
        return (MemoryError,)

    @property
    @abstractmethod
    def stream(self) -> int:
        """Return the handle of the current CUDA stream; 0 on the CPU."""

    def scope(self) -> AbstractContextManager[Any]:
        """Return a context in which the device is the library's current one."""
        return nullcontext()

    @abstractmethod
    def take(self, array: Any) -> Array:
        """Return an array of any library as this one's on this device; itself if it is that already."""

    @abstractmethod
    def empty(self, shape: Shape, dtype: Any, *, channels_last: bool = False) -> Array:
        """Return a new array whose values are unspecified.

        Args:
            shape: of the array.
            dtype: by name ("float32"), or the library's own.
            channels_last: for (N, C, H, W): have the channels of a pixel lie together in memory.
        """

    @abstractmethod
    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """Return a new array of zeros."""

    @abstractmethod
    def dtype(self, array: Array) -> str:
        """Return the name of an array's dtype: "float32", "bfloat16", ..."""

    @abstractmethod
    def as_dtype(self, dtype: Any) -> Any:
        """Return the library's own dtype for a dtype of any library or its name.

        Raises:
            ValueError: the library has none of this name.
        """

    @abstractmethod
    def cast(self, array: Array, dtype: Any) -> Array:
        """Return an array as another dtype; itself if it has that already."""

    @abstractmethod
    def contiguous(self, array: Array, *, channels_last: bool = False) -> Array:
        """Return an array as contiguous memory, or as contiguous (N, H, W, C) memory; itself if it is that already."""

    @abstractmethod
    def permute(self, array: Array, axes: Sequence[int]) -> Array:
        """Return a view with the axes in another order."""

    @abstractmethod
    def copy(self, array: Array) -> Array:
        """Return a contiguous copy."""

    @abstractmethod
    def assign(self, target: Array, source: Array) -> None:
        """Copy one array into another of the same shape."""

    @abstractmethod
    def matmul(self, a: Array, b: Array, out: Array, *, add: bool = False) -> None:
        """Write the products of matrices (G, M, K) and (G, K, N) to ``out`` (G, M, N), or add them to it."""

    @abstractmethod
    def columns_have_finite_minimum(self, array: Array) -> bool:
        """Return whether the least value of each column is finite and no value is NaN; waits for the device."""

    @abstractmethod
    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Return an array on the host; waits for the device."""

    @abstractmethod
    def view(self, array: Array) -> _C.TensorView:
        """Return the extension's view of an array's memory; it keeps the array alive."""

    @abstractmethod
    def is_capturing(self) -> bool:
        """Return whether a CUDA graph is being captured on the current stream."""

    @abstractmethod
    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """Return a CUDA graph of what ``body`` does; calling it does that again on the current stream."""

    @abstractmethod
    def in_turn(self) -> Callable[[], AbstractContextManager[None]]:
        """Return a context manager whose work starts after the work of the last such context, on any stream."""
