"""Functions of tensors captured as CUDA graphs, and a small cache of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from deeplab_caffe.errors import NetError

Function = Callable[..., dict[str, Tensor]]
Value = TypeVar("Value")

# The first run loads kernels and measures algorithms; the second allocates the memory that stays.
_WARMUP_RUNS = 2


class LRUCache(Generic[Value]):
    """A cache of the most recently used values."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise NetError(f"the cache must hold at least one graph, got {size}")
        self.size = size
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of a key; if it is missing, drop the least recently used value and make a new one."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self.size:
            self._values.popitem(last=False)
        self._values[key] = make()
        return self._values[key]

    def keys(self) -> list[Hashable]:
        """Return the keys, the most recently used one last."""
        return list(self._values)

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()


class CapturedFunction:
    """A function captured as one CUDA graph; its inputs and outputs stay at fixed addresses.

    Calls on several streams wait for each other.

    Args:
        function: must not synchronize; returns a dict of tensors.
        inputs: example inputs, for shapes, dtypes and the device.
    """

    def __init__(self, function: Function, inputs: Sequence[Tensor]) -> None:
        device = inputs[0].device
        with torch.cuda.device(device):
            self.inputs = [x.clone() for x in inputs]
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARMUP_RUNS):
                    function(*self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=stream):
                self.outputs = function(*self.inputs)
            self._done = torch.cuda.Event()

    def __call__(self, *inputs: Tensor, copy: bool) -> dict[str, Tensor]:
        """Return the outputs: copies with ``copy``, else tensors that the next call overwrites."""
        stream = torch.cuda.current_stream(self.inputs[0].device)
        stream.wait_event(self._done)
        for kept, given in zip(self.inputs, inputs, strict=True):
            kept.copy_(given, non_blocking=True)
        self.graph.replay()
        found = {name: x.clone() if copy else x for name, x in self.outputs.items()}
        self._done.record(stream)
        return found
