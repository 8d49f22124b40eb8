"""CuPy's arrays, on one GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays.interface import Array, Arrays, Shape
from deeplab_caffe.arrays.libraries import as_cupy, import_cupy, offers_gpu_memory
from deeplab_caffe.arrays.numpy_arrays import numpy_dtype, whole_strides


class CupyArrays(Arrays):
    """Memory and stream of CuPy on one device.

    Args:
        index: of the CUDA device.

    Raises:
        KernelError: CuPy is not installed.
    """

    library = "cupy"

    def __init__(self, index: int) -> None:
        self.cupy = import_cupy()
        self.index = index

    @property
    def device(self) -> str:
        """Return the device's name: "cuda:0", ..."""
        return f"cuda:{self.index}"

    @property
    def out_of_memory(self) -> tuple[type[Exception], ...]:
        """Return the exceptions that CuPy raises if there is not enough memory."""
        return MemoryError, self.cupy.cuda.memory.OutOfMemoryError

    @property
    def stream(self) -> int:
        """Return the handle of CuPy's current stream on the device."""
        with self.scope():
            return int(self.cupy.cuda.get_current_stream().ptr)

    def scope(self) -> AbstractContextManager[Any]:
        """See :class:`Arrays`."""
        device: AbstractContextManager[Any] = self.cupy.cuda.Device(self.index)
        return device

    def take(self, array: Any) -> Array:
        """See :class:`Arrays`."""
        with self.scope():
            array = as_cupy(self.cupy, array) if offers_gpu_memory(array) else self.cupy.asarray(array)
            return array if whole_strides(array) else self.cupy.ascontiguousarray(array)

    def empty(self, shape: Shape, dtype: Any, *, channels_last: bool = False) -> Array:
        """See :class:`Arrays`."""
        with self.scope():
            if channels_last:
                n, c, h, w = shape  # type: ignore[misc]  # (N, C, H, W)
                return self.cupy.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
            return self.cupy.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """See :class:`Arrays`."""
        array = self.empty(shape, dtype)
        with self.scope():
            array.fill(0)
        return array

    def dtype(self, array: Array) -> str:
        """See :class:`Arrays`."""
        return str(array.dtype.name)

    def as_dtype(self, dtype: Any) -> Any:
        """See :class:`Arrays`."""
        return numpy_dtype(dtype)

    def cast(self, array: Array, dtype: Any) -> Array:
        """See :class:`Arrays`."""
        with self.scope():
            return array.astype(dtype, copy=False)

    def contiguous(self, array: Array, *, channels_last: bool = False) -> Array:
        """See :class:`Arrays`."""
        with self.scope():
            if channels_last:
                return self.cupy.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
            return self.cupy.ascontiguousarray(array).reshape(array.shape)

    def permute(self, array: Array, axes: Sequence[int]) -> Array:
        """See :class:`Arrays`."""
        return array.transpose(*axes)

    def copy(self, array: Array) -> Array:
        """See :class:`Arrays`."""
        with self.scope():
            return array.copy()

    def assign(self, target: Array, source: Array) -> None:
        """See :class:`Arrays`."""
        with self.scope():
            target[...] = source

    def matmul(self, a: Array, b: Array, out: Array, *, add: bool = False) -> None:
        """See :class:`Arrays`."""
        if 0 in out.shape:
            return
        with self.scope():
            if add:
                out += self.cupy.matmul(a, b)
            else:
                self.cupy.matmul(a, b, out=out)

    def columns_have_finite_minimum(self, array: Array) -> bool:
        """See :class:`Arrays`."""
        with self.scope():
            return bool(self.cupy.isfinite(array.min(axis=0)).all())

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """See :class:`Arrays`."""
        found: np.ndarray[Any, Any] = self.cupy.asnumpy(array)
        return found

    def view(self, array: Array) -> _C.TensorView:
        """See :class:`Arrays`."""
        strides = tuple(stride // array.itemsize for stride in array.strides)
        found = _C.TensorView(array.data.ptr, array.shape, strides, array.dtype.name, self.index)
        found.array = array
        return found

    def is_capturing(self) -> bool:
        """See :class:`Arrays`."""
        with self.scope():
            return bool(self.cupy.cuda.runtime.streamIsCapturing(self.cupy.cuda.get_current_stream().ptr))

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """See :class:`Arrays`."""
        cuda = self.cupy.cuda
        with cuda.Device(self.index) as device:
            pool = cuda.MemoryPool()  # for the graph only: memory that body frees must not be reused by others
            stream = cuda.Stream(non_blocking=True)
            device.synchronize()
            with cuda.using_allocator(pool.malloc), stream:
                # Not the default mode, in which memory cannot be allocated during the capture.
                stream.begin_capture(cuda.runtime.streamCaptureModeRelaxed)
                try:
                    body()
                finally:
                    graph = stream.end_capture()

        def replay(memory: Any = pool) -> None:
            with cuda.Device(self.index):
                graph.launch(cuda.get_current_stream())

        return replay

    def in_turn(self) -> Callable[[], AbstractContextManager[None]]:
        """See :class:`Arrays`."""
        with self.scope():
            done = self.cupy.cuda.Event(disable_timing=True)

        @contextmanager
        def turn() -> Iterator[None]:
            with self.scope():
                stream = self.cupy.cuda.get_current_stream()
                stream.wait_event(done)
                yield
                done.record(stream)

        return turn
