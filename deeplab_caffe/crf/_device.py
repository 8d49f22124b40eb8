"""Arrays on a GPU, whoever made them: torch, CuPy, or anything with ``__dlpack__`` or ``__cuda_array_interface__``.

Neither library is imported here unless the caller's arrays are of it, or numpy arrays are to be worked on there.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf.memory import CRFMemoryError
from deeplab_caffe.errors import CRFError
from deeplab_caffe.gpu_arrays import as_cupy, offers_gpu_memory


class TorchArrays:
    """Memory and stream of torch on one device."""

    def __init__(self, index: int) -> None:
        self.torch = importlib.import_module("torch")
        self.index = index
        self.device = self.torch.device("cuda", index)

    @property
    def stream(self) -> int:
        """The current stream's handle."""
        return self.torch.cuda.current_stream(self.device).cuda_stream

    def empty(self, shape: int | tuple[int, ...], dtype: str) -> Any:
        """An array whose values are whatever the memory held."""
        try:
            return self.torch.empty(shape, dtype=getattr(self.torch, dtype), device=self.device)
        except self.torch.cuda.OutOfMemoryError as exc:
            raise CRFMemoryError(f"cuda:{self.index}: not enough memory for {dtype} {shape}") from exc

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of zeros."""
        return self.empty(shape, dtype).zero_()

    def channels_last(self, array: Any) -> Any:
        """A view ``(H, W, C)`` of an array ``(C, H, W)``."""
        return array.permute(1, 2, 0)

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of what ``body`` does; calling it does that again on the current stream."""
        cuda = self.torch.cuda
        graph = cuda.CUDAGraph()
        # Torch's own stream for this is made once, on the device that was the first to need it.
        with cuda.device(self.device), cuda.graph(graph, stream=cuda.Stream(self.device)):
            body()
        return graph.replay

    def take(self, array: Any) -> Any:
        """The array on this device, itself where it is there already."""
        if isinstance(array, np.ndarray):
            native = array.astype(array.dtype.newbyteorder("="), copy=False)
            # torch knows no memory that is read-only, goes backwards or in parts of elements.
            fits = native.flags.writeable and native.flags.aligned
            fits = fits and all(step >= 0 and step % native.itemsize == 0 for step in native.strides)
            array = self.torch.from_numpy(native if fits else native.copy(order="C"))
        return self.torch.as_tensor(array, device=self.device).detach()

    def copy(self, array: Any) -> Any:
        """A contiguous copy of an array on this device."""
        return array.clone(memory_format=self.torch.contiguous_format)

    def assign(self, target: Any, source: Any) -> None:
        """Copies one array on this device into another."""
        target.copy_(source)

    def in_turn(self) -> Callable[[], AbstractContextManager]:
        """Has what is queued within the context follow, on any stream, what the context before queued."""
        done = self.torch.cuda.Event()

        @contextmanager
        def turn() -> Iterator[None]:
            stream = self.torch.cuda.current_stream(self.device)
            stream.wait_event(done)
            yield
            done.record(stream)

        return turn

    def dtype(self, array: Any) -> str:
        """The name of the array's dtype."""
        return str(array.dtype).removeprefix("torch.")

    def float32(self, array: Any) -> Any:
        """The array as float32."""
        return array.to(self.torch.float32)

    def columns_have_finite_minimum(self, array: Any) -> bool:
        """Whether the least value of each column is finite, and no value is NaN; waits for the device."""
        return bool(self.torch.isfinite(array.amin(0)).all())

    def numpy(self, array: Any) -> np.ndarray:
        """The array on the host; waits for the device."""
        return array.cpu().numpy()

    def view(self, array: Any) -> _C.TensorView:
        """The extension's view; the array must outlive what is done with it."""
        return _C.TensorView(array.data_ptr(), tuple(array.shape), array.stride(), self.dtype(array), self.index)


class CupyArrays:
    """Memory and stream of CuPy on one device."""

    def __init__(self, index: int) -> None:
        self.cupy = importlib.import_module("cupy")
        self.index = index

    @property
    def stream(self) -> int:
        """The current stream's handle."""
        with self.cupy.cuda.Device(self.index):
            return self.cupy.cuda.get_current_stream().ptr

    def empty(self, shape: int | tuple[int, ...], dtype: str) -> Any:
        """An array whose values are whatever the memory held."""
        try:
            with self.cupy.cuda.Device(self.index):
                return self.cupy.empty(shape, dtype)
        except self.cupy.cuda.memory.OutOfMemoryError as exc:
            raise CRFMemoryError(f"cuda:{self.index}: not enough memory for {dtype} {shape}") from exc

    def zeros(self, shape: tuple[int, ...], dtype: str) -> Any:
        """An array of zeros."""
        array = self.empty(shape, dtype)
        with self.cupy.cuda.Device(self.index):
            array.fill(0)
        return array

    def channels_last(self, array: Any) -> Any:
        """A view ``(H, W, C)`` of an array ``(C, H, W)``."""
        return array.transpose(1, 2, 0)

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """A CUDA graph of what ``body`` does; calling it does that again on the current stream."""
        cuda = self.cupy.cuda
        with cuda.Device(self.index) as device:
            pool = cuda.MemoryPool()  # of the graph alone: what body frees must go to nobody else
            stream = cuda.Stream(non_blocking=True)
            device.synchronize()
            with cuda.using_allocator(pool.malloc), stream:
                # Not the default, in which no memory can be taken meanwhile.
                stream.begin_capture(cuda.runtime.streamCaptureModeRelaxed)
                try:
                    body()
                finally:
                    graph = stream.end_capture()

        def replay(memory: Any = pool) -> None:
            with cuda.Device(self.index):
                graph.launch(cuda.get_current_stream())

        return replay

    def take(self, array: Any) -> Any:
        """The array on this device, itself where it is there already."""
        with self.cupy.cuda.Device(self.index):
            return as_cupy(self.cupy, array) if offers_gpu_memory(array) else self.cupy.asarray(array)

    def copy(self, array: Any) -> Any:
        """A contiguous copy of an array on this device."""
        with self.cupy.cuda.Device(self.index):
            return array.copy()

    def assign(self, target: Any, source: Any) -> None:
        """Copies one array on this device into another."""
        with self.cupy.cuda.Device(self.index):
            target[...] = source

    def in_turn(self) -> Callable[[], AbstractContextManager]:
        """Has what is queued within the context follow, on any stream, what the context before queued."""
        with self.cupy.cuda.Device(self.index):
            done = self.cupy.cuda.Event(disable_timing=True)

        @contextmanager
        def turn() -> Iterator[None]:
            with self.cupy.cuda.Device(self.index):
                stream = self.cupy.cuda.get_current_stream()
                stream.wait_event(done)
                yield
                done.record(stream)

        return turn

    def dtype(self, array: Any) -> str:
        """The name of the array's dtype."""
        return array.dtype.name

    def float32(self, array: Any) -> Any:
        """The array as float32."""
        with self.cupy.cuda.Device(self.index):
            return array.astype(self.cupy.float32, copy=False)

    def columns_have_finite_minimum(self, array: Any) -> bool:
        """Whether the least value of each column is finite, and no value is NaN; waits for the device."""
        with self.cupy.cuda.Device(self.index):
            return bool(self.cupy.isfinite(array.min(axis=0)).all())

    def numpy(self, array: Any) -> np.ndarray:
        """The array on the host; waits for the device."""
        return self.cupy.asnumpy(array)

    def view(self, array: Any) -> _C.TensorView:
        """The extension's view; the array must outlive what is done with it."""
        strides = tuple(stride // array.itemsize for stride in array.strides)
        return _C.TensorView(array.data.ptr, array.shape, strides, array.dtype.name, self.index)


Arrays = TorchArrays | CupyArrays


def _torch_tensor(array: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(array, torch.Tensor)


def real_colours(arrays: Arrays, image: Any, name: str) -> Any:
    """Colours as uint8 or float32, or CRFError where they are no real numbers. Not whether they are finite."""
    dtype = arrays.dtype(image)
    if dtype == "uint8":
        return image
    if not dtype.startswith(("uint", "int", "float", "bfloat")):
        raise CRFError(f"{name} must be of real numbers, got {dtype}")
    return arrays.float32(image)


def is_on_gpu(array: Any) -> bool:
    """Whether an array's memory is a CUDA device's."""
    if _torch_tensor(array):
        return array.is_cuda
    return offers_gpu_memory(array)


def arrays_of(array: Any) -> Arrays:
    """The library to allocate with for an array on a GPU: its own, and CuPy for one that is of neither."""
    _check_extension()
    if _torch_tensor(array):
        return TorchArrays(array.device.index)
    cupy = _imported("cupy")
    if cupy is None:
        raise CRFError(
            f"{type(array).__name__} on a GPU: torch tensors and CuPy arrays are known, and CuPy is not installed"
        )
    return CupyArrays(as_cupy(cupy, array).device.id)


def arrays_on(device: str) -> Arrays:
    """A library to work with on ``"cuda"`` or ``"cuda:1"``: torch where it is imported, else CuPy, else torch.

    Raises:
        CRFError: no such device, no library that knows it, or an extension without CUDA.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise CRFError(f"device must be cpu, cuda or cuda:<index>, got {device!r}")
    _check_extension()
    problems = []
    for name in ("torch", "cupy") if "torch" in sys.modules else ("cupy", "torch"):
        library = _imported(name)
        if library is None:
            problems.append(f"{name} is not installed")
            continue
        try:
            count = library.cuda.device_count() if name == "torch" else library.cuda.runtime.getDeviceCount()
        except RuntimeError as exc:  # CuPy's without a driver
            problems.append(f"{name}: {exc}")
            continue
        if count == 0:
            problems.append(f"{name} sees no CUDA device")
            continue
        if number and int(number) >= count:
            raise CRFError(f"device {device}: there are {count} CUDA devices")
        if name == "torch":
            return TorchArrays(int(number) if number else library.cuda.current_device())
        return CupyArrays(int(number) if number else library.cuda.runtime.getDevice())
    raise CRFError(f"device {device}: {', '.join(problems)}")


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _check_extension() -> None:
    if not _C.with_cuda and _imported("cupy") is None:
        raise CRFError(
            "deeplab_caffe was built without CUDA: rebuild it with nvcc on PATH or CUDA_HOME set, or install CuPy, "
            "which compiles the kernels at run time (pip install 'deeplab-caffe[cupy]')"
        )
