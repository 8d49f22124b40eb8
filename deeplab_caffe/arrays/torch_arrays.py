"""torch's tensors, on any of its devices."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays.interface import Array, Arrays, Shape

# By name, because a lookup in a dictionary is faster than one of torch's attributes.
_DTYPES: dict[str, Any] = {}
_NAMES: dict[Any, str] = {}
# Smaller tensors come from memory that malloc has kept anyway.
_LEAST_KEPT_BYTES = 1 << 20


class _Here(threading.local):
    workspace: _C.Workspace | None = None


_HERE = _Here()


@contextmanager
def kept_memory(workspace: _C.Workspace) -> Iterator[None]:
    """Take the memory of new CPU tensors of this thread from a workspace: those that :meth:`TorchArrays.empty` makes.

    For tensors that are soon freed. The memory returns to the workspace with the last tensor that refers to it; the
    system would give new memory page by page, and clear it. Small tensors are made as usual.
    """
    before, _HERE.workspace = _HERE.workspace, workspace
    try:
        yield
    finally:
        _HERE.workspace = before


class TorchArrays(Arrays):
    """Memory and stream of torch on one device.

    Args:
        device: a ``torch.device``, or the index of a CUDA device.
    """

    library = "torch"

    def __init__(self, device: Any) -> None:
        import torch  # not by importlib, which torch.compile does not trace

        self.torch = torch
        self.torch_device = torch.device("cuda", device) if isinstance(device, int) else device
        self._is_cuda = self.torch_device.type == "cuda"
        self.index = (self.torch_device.index or 0) if self._is_cuda else -1

    @property
    def device(self) -> str:
        """Return the device's name: "cpu", "cuda:0", ..."""
        kind, index = self.torch_device.type, self.torch_device.index
        return kind if index is None else f"{kind}:{index}"

    @property
    def out_of_memory(self) -> tuple[type[Exception], ...]:
        """Return the exceptions that torch raises if there is not enough memory."""
        return MemoryError, self.torch.cuda.OutOfMemoryError

    @property
    def stream(self) -> int:
        """Return the handle of torch's current stream on the device; 0 on the CPU."""
        return int(self.torch.cuda.current_stream(self.torch_device).cuda_stream) if self._is_cuda else 0

    def take(self, array: Any) -> Array:
        """See :class:`Arrays`."""
        if isinstance(array, np.ndarray):
            native = array.astype(array.dtype.newbyteorder("="), copy=False)
            # torch does not support read-only memory, negative strides, or strides of parts of elements.
            fits = native.flags.writeable and native.flags.aligned
            fits = fits and all(step >= 0 and step % native.itemsize == 0 for step in native.strides)
            array = self.torch.from_numpy(native if fits else native.copy(order="C"))
        return self.torch.as_tensor(array, device=self.torch_device).detach()

    def empty(self, shape: Shape, dtype: Any, *, channels_last: bool = False) -> Array:
        """See :class:`Arrays`."""
        own = self.as_dtype(dtype)
        if _HERE.workspace is not None and self.torch_device.type == "cpu":
            count = shape if isinstance(shape, int) else math.prod(shape)
            if count * own.itemsize >= _LEAST_KEPT_BYTES:
                memory = self.torch.frombuffer(_HERE.workspace.buffer(count * own.itemsize), dtype=own, count=count)
                if not channels_last:
                    return memory.view(shape)
                n, c, h, w = shape  # type: ignore[misc]  # (N, C, H, W)
                return memory.view(n, h, w, c).permute(0, 3, 1, 2)
        if channels_last:
            layout = self.torch.channels_last
            return self.torch.empty(shape, dtype=own, device=self.torch_device, memory_format=layout)
        return self.torch.empty(shape, dtype=own, device=self.torch_device)

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """See :class:`Arrays`."""
        return self.torch.zeros(shape, dtype=self.as_dtype(dtype), device=self.torch_device)

    def dtype(self, array: Array) -> str:
        """See :class:`Arrays`."""
        name = _NAMES.get(array.dtype)
        if name is None:
            name = _NAMES[array.dtype] = str(array.dtype).removeprefix("torch.")
        return name

    def as_dtype(self, dtype: Any) -> Any:
        """See :class:`Arrays`."""
        if isinstance(dtype, self.torch.dtype):
            return dtype
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
        if name not in _DTYPES:
            found = getattr(self.torch, name, None)
            if not isinstance(found, self.torch.dtype):
                raise ValueError(f"torch has no dtype {name}")
            _DTYPES[name] = found
        return _DTYPES[name]

    def cast(self, array: Array, dtype: Any) -> Array:
        """See :class:`Arrays`."""
        return array.to(self.as_dtype(dtype))

    def contiguous(self, array: Array, *, channels_last: bool = False) -> Array:
        """See :class:`Arrays`."""
        return array.contiguous(memory_format=self.torch.channels_last) if channels_last else array.contiguous()

    def permute(self, array: Array, axes: Sequence[int]) -> Array:
        """See :class:`Arrays`."""
        return array.permute(*axes)

    def copy(self, array: Array) -> Array:
        """See :class:`Arrays`."""
        return array.clone(memory_format=self.torch.contiguous_format)

    def assign(self, target: Array, source: Array) -> None:
        """See :class:`Arrays`."""
        target.copy_(source)

    def matmul(self, a: Array, b: Array, out: Array, *, add: bool = False) -> None:
        """Write or add the products one by one: a batched product on the CPU may round differently.

        Products of a single row or a single summand round the same, and are too small for single calls: for example
        those of a convolution with a group for each channel.
        """
        if len(out) > 1 and not add and 1 in (out.shape[1], a.shape[2]):
            self.torch.bmm(a, b, out=out)
            return
        for group in range(len(out)):
            if add:
                out[group].addmm_(a[group], b[group])
            else:
                self.torch.mm(a[group], b[group], out=out[group])

    def columns_have_finite_minimum(self, array: Array) -> bool:
        """See :class:`Arrays`."""
        return bool(self.torch.isfinite(array.amin(0)).all())

    def numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """See :class:`Arrays`."""
        found: np.ndarray[Any, Any] = array.cpu().numpy()
        return found

    def view(self, array: Array) -> _C.TensorView:
        """See :class:`Arrays`."""
        found = _C.TensorView(array.data_ptr(), tuple(array.shape), array.stride(), self.dtype(array), self.index)
        found.array = array
        return found

    def is_capturing(self) -> bool:
        """See :class:`Arrays`."""
        return self._is_cuda and bool(self.torch.cuda.is_current_stream_capturing())

    def capture(self, body: Callable[[], None]) -> Callable[[], None]:
        """See :class:`Arrays`."""
        cuda = self.torch.cuda
        graph = cuda.CUDAGraph()
        # Torch's default stream for this is created once, on the first device that needs it.
        with cuda.device(self.torch_device), cuda.graph(graph, stream=cuda.Stream(self.torch_device)):
            body()
        replay: Callable[[], None] = graph.replay
        return replay

    def in_turn(self) -> Callable[[], AbstractContextManager[None]]:
        """See :class:`Arrays`."""
        done = self.torch.cuda.Event()

        @contextmanager
        def turn() -> Iterator[None]:
            stream = self.torch.cuda.current_stream(self.torch_device)
            stream.wait_event(done)
            yield
            done.record(stream)

        return turn
