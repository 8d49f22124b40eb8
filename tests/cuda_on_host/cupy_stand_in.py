"""As much of CuPy as deeplab_caffe uses, on numpy's memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


class ndarray(np.ndarray):
    """An array that says it is on GPU 0."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.__array_interface__)

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self.ctypes.data)

    @property
    def device(self) -> SimpleNamespace:
        return SimpleNamespace(id=0)


def asarray(array: Any) -> ndarray:
    return array if type(array) is ndarray else np.array(array).view(ndarray)


def empty(shape: int | tuple[int, ...], dtype: str) -> ndarray:
    """Filled with arbitrary bytes, so that reads of uninitialized memory show."""
    array = np.empty(shape, dtype)
    if CAPTURED is not None:
        CAPTURED.append(array)
    array.reshape(-1).view(np.uint8)[:] = np.random.default_rng(0).integers(0, 256, array.nbytes, np.uint8)
    return array.view(ndarray)


LIBRARY: ctypes.CDLL | None = None
CAPTURED: list[np.ndarray] | None = None  # memory of the graph that is being captured


class Graph:
    """What a stream was told while it was captured."""

    def __init__(self, number: int, memory: list[np.ndarray]) -> None:
        self.number = number
        self.memory = memory

    def launch(self, stream: Stream) -> None:
        for array in self.memory:  # what a replay leaves there must not matter to the next
            array.reshape(-1).view(np.uint8)[:] = 0xAB
        LIBRARY.host_replay(self.number)


class Stream:
    ptr = 0

    def __init__(self, non_blocking: bool = False) -> None:
        pass

    def begin_capture(self, mode: int) -> None:
        global CAPTURED
        CAPTURED = []
        LIBRARY.host_begin_capture()

    def end_capture(self) -> Graph:
        global CAPTURED
        graph, CAPTURED = Graph(LIBRARY.host_end_capture(), CAPTURED), None
        return graph

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def wait_event(self, event: Event) -> None:
        pass


class Event:
    def __init__(self, disable_timing: bool = False) -> None:
        pass

    def record(self, stream: Stream) -> None:
        pass


@contextlib.contextmanager
def device(index: int) -> Iterator[SimpleNamespace]:
    assert index == 0
    yield SimpleNamespace(synchronize=lambda: None)


def make() -> types.ModuleType:
    """A module to stand in for ``cupy``."""
    cupy = types.ModuleType("cupy")
    cupy.ndarray, cupy.asarray, cupy.empty, cupy.float32 = ndarray, asarray, empty, np.float32
    cupy.concatenate = lambda parts, axis: np.concatenate(parts, axis).view(ndarray)
    cupy.log, cupy.expm1 = np.log, np.expm1
    cupy.IS_STAND_IN = True
    cupy.isfinite = np.isfinite
    cupy.asnumpy = lambda array: np.array(array.view(np.ndarray))
    cupy.cuda = SimpleNamespace(
        Device=device,
        Stream=Stream,
        Event=Event,
        get_current_stream=Stream,
        memory=SimpleNamespace(OutOfMemoryError=MemoryError),
        MemoryPool=lambda: SimpleNamespace(malloc=None),
        using_allocator=lambda malloc: contextlib.nullcontext(),
        runtime=SimpleNamespace(getDeviceCount=lambda: 1, getDevice=lambda: 0, streamCaptureModeRelaxed=2),
    )
    return cupy


def install(library: Path) -> types.ModuleType:
    """Makes ``import cupy`` find this; ``library`` is the extension that was compiled for the host."""
    global LIBRARY
    LIBRARY = ctypes.CDLL(str(library), os.RTLD_LAZY)
    sys.modules["cupy"] = make()
    return sys.modules["cupy"]
