"""As much of CuPy as deeplab_caffe uses, on numpy's memory."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
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
    """Full of rubbish, so that whoever reads what nobody wrote is found out."""
    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[:] = np.random.default_rng(0).integers(0, 256, array.nbytes, np.uint8)
    return array.view(ndarray)


class Stream:
    ptr = 0

    def __init__(self, non_blocking: bool = False) -> None:
        pass

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def synchronize(self) -> None:
        pass


@contextlib.contextmanager
def device(index: int) -> Iterator[None]:
    assert index == 0
    yield


def install() -> None:
    """Makes ``import cupy`` find this."""
    cupy = types.ModuleType("cupy")
    cupy.ndarray, cupy.asarray, cupy.empty, cupy.float32, cupy.stack = ndarray, asarray, empty, np.float32, np.stack
    cupy.asnumpy = lambda array: np.array(array.view(np.ndarray))
    cupy.cuda = SimpleNamespace(
        Device=device,
        Stream=Stream,
        get_current_stream=Stream,
        memory=SimpleNamespace(OutOfMemoryError=MemoryError),
        runtime=SimpleNamespace(getDeviceCount=lambda: 1, getDevice=lambda: 0),
    )
    sys.modules["cupy"] = cupy
