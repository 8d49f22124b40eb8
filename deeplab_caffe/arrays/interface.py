"""The interface of each library's arrays."""

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
    """An array of any library, for type checkers."""

    @property
    def shape(self) -> Any:
        """Return the sizes, a tuple of integers."""


# A function's array and its result, which belong to the same library.
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
        """Return the exceptions that the library raises if there is not enough memory."""
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
        """Convert an array of any library to this library and device; return the array itself if it already is."""

    @abstractmethod
    def empty(self, shape: Shape, dtype: Any, *, channels_last: bool = False) -> Array:
        """Return a new array whose values are unspecified.

        Args:
            shape: shape of the array.
            dtype: by name ("float32"), or the library's own.
            channels_last: for (N, C, H, W): store the channels of a pixel contiguously.
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
            ValueError: the library has no dtype of this name.
        """

    @abstractmethod
    def cast(self, array: Array, dtype: Any) -> Array:
        """Convert an array to a dtype; return the array itself if it already has it."""

    @abstractmethod
    def contiguous(self, array: Array, *, channels_last: bool = False) -> Array:
        """Return a contiguous array, or one with contiguous (N, H, W, C) memory; the array itself if it already is."""

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
        """Return whether the minimum of each column is finite and no value is NaN; wait for the device."""

    @abstractmethod
    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Return an array on the host; wait for the device."""

    @abstractmethod
    def view(self, array: Array) -> _C.TensorView:
        """Return the extension's view of an array's memory; it keeps the array alive."""

    @abstractmethod
    def is_capturing(self) -> bool:
        """Return whether a CUDA graph is being captured on the current stream."""

    @abstractmethod
    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """Capture ``body`` as a CUDA graph; return a function that replays it on the current stream."""

    @abstractmethod
    def in_turn(self) -> Callable[[], AbstractContextManager[None]]:
        """Return a context manager whose work starts after the work of the last such context, on any stream."""
