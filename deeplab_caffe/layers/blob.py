"""Blobs with data and diff: live numpy arrays over the memory that a network computes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.errors import NetError


def _dims(shape: tuple[int | Sequence[int], ...]) -> tuple[int, ...]:
    """Return the dimensions that ``reshape(2, 3)`` or ``reshape((2, 3))`` was given."""
    return tuple(int(size) for size in np.atleast_1d(shape[0] if len(shape) == 1 else shape))


def _zeros(shape: tuple[int, ...]) -> Tensor:
    """Return zeros on the CPU that take memory only once they are written to, as a blob's do in Caffe (syncedmem.cpp).

    A net that only runs forwards never writes its gradients. torch.zeros writes to all memory at once.
    """
    return torch.from_numpy(np.zeros(shape, np.float32))


def _refit(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the first numbers in another shape and the same memory; new zeros if there are too few (blob.cpp)."""
    count = math.prod(shape)
    return tensor.reshape(-1)[:count].view(shape) if count <= tensor.numel() else tensor.new_zeros(shape)


class OneNumber(np.ndarray):
    """An array of one number, which converts to the number whatever its axes are, as in scripts of Caffe's time.

    A loss is (1, 1, 1, 1) in DeepLab v1, and (1,) in many Python layers; since 2.4, NumPy converts only arrays without
    axes. What is computed from such an array is one again if it is an array of one number.
    """

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Any:
        """Return the result of a function of this array."""
        if array.ndim == 0:
            return array[()]
        return _shown(array.view(np.ndarray))

    def _number(self) -> np.ndarray:
        plain = self.view(np.ndarray)
        return plain.reshape(()) if plain.size == 1 else plain

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __format__(self, spec: str) -> str:
        # Without a format it looks as printed, with its brackets.
        return format(self._number(), spec) if spec else str(self)

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))


def _shown(array: np.ndarray) -> np.ndarray:
    return array.view(OneNumber) if array.size == 1 and array.ndim else array


class Memory:
    """One tensor, on the CPU or a GPU, and the numpy array through which a script sees and changes it.

    On the CPU the array is the tensor's own memory. On a GPU it is a copy: reading it copies the numbers to the host,
    and because the script may have written to it, they are copied back before the next computation, as by Caffe's
    SyncedMemory.

    Args:
        get: returns the tensor: a method of the object that holds it, and not a lambda, which a deep copy of the object
            would still share with the original.
    """

    def __init__(self, get: Callable[[], Tensor]) -> None:
        self._get = get
        self._host: np.ndarray | None = None
        self._host_is_newer = False

    def array(self) -> np.ndarray:
        """Return the numbers as a numpy array, live."""
        tensor = self._get()
        if tensor.device.type == "cpu":
            return _shown(tensor.numpy())
        if self._host is None or not self._host_is_newer:
            fresh = tensor.cpu().numpy()
            if self._host is None or self._host.shape != fresh.shape:
                self._host = fresh
            else:
                self._host[...] = fresh
            self._host_is_newer = True
        return _shown(self._host)

    def tensor(self) -> Tensor:
        """Return the numbers as a tensor, with what the script wrote."""
        tensor = self._get()
        if self._host_is_newer and self._host is not None and tensor.device.type != "cpu":
            tensor.copy_(torch.from_numpy(self._host))
        self._host_is_newer = False
        return tensor

    def forget_host(self) -> None:
        """Note that the tensor has just been written, so that the host's copy is out of date."""
        self._host_is_newer = False


class Blob:
    """A blob with ``data`` and ``diff`` of one shape, as pycaffe shows it.

    Attributes:
        data: live float32 array; writing to it changes the network's values.
        diff: live float32 array of the gradient.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._data_tensor = _zeros(shape)
        self._diff_tensor = _zeros(shape)
        self._data = Memory(self._own_data)
        self._diff = Memory(self._own_diff)

    def _own_data(self) -> Tensor:
        return self._data_tensor

    def _own_diff(self) -> Tensor:
        return self._diff_tensor

    @property
    def data(self) -> np.ndarray:
        """Return a live array of the values."""
        return self._data.array()

    @property
    def diff(self) -> np.ndarray:
        """Return a live array of the gradient."""
        return self._diff.array()

    def tensor(self) -> Tensor:
        """Return the values as a tensor, with what a script wrote."""
        return self._data.tensor()

    def diff_tensor(self) -> Tensor:
        """Return the gradient as a tensor, with what a script wrote."""
        return self._diff.tensor()

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the dimensions."""
        return tuple(self._data._get().shape)

    @property
    def count(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)

    @property
    def num(self) -> int:
        """Return the number of items in the batch."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """Return the number of channels of an item."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """Return the number of rows of a channel."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """Return the number of columns of a channel."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        return self.shape[axis] if axis < len(self.shape) else 1

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Give the blob another shape; memory is kept where the count is the same, else it is new and zero.

        Raises:
            ValueError: a dimension is negative.
        """
        dims = _dims(shape)
        if min(dims, default=0) < 0:
            raise ValueError(f"a blob's dimensions must not be negative, got {dims}")
        if dims == self.shape:
            return
        same = math.prod(dims) == self.count
        for memory, name in ((self._data, "_data_tensor"), (self._diff, "_diff_tensor")):
            tensor = memory.tensor()
            setattr(self, name, tensor.view(dims) if same else _zeros(dims).to(tensor.device))

    def to(self, device: torch.device) -> None:
        """Move the memory to a device."""
        if self._data_tensor.device != device:
            self._data_tensor = self._data.tensor().to(device)
            self._diff_tensor = self._diff.tensor().to(device)

    def write_data(self, value: Tensor) -> None:
        """Store a computed value; arrays that a script holds stay live if the shape is the same."""
        self._write(self._data, value)

    def write_diff(self, value: Tensor) -> None:
        """Store a computed gradient, as :meth:`write_data` stores a value."""
        self._write(self._diff, value)

    def _write(self, memory: Memory, value: Tensor) -> None:
        self.reshape(*value.shape)
        memory.forget_host()
        memory.tensor().copy_(value.detach())


class ParameterBlob(Blob):
    """A layer's parameter as a blob, in the shape that it has in Caffe's files.

    Args:
        parameter: the parameter; ``data`` is its memory, wherever it is moved to.
        shape: the shape: with four axes in DeepLab v1.

    Attributes:
        parameter: as given.
        made_for: the shape of the parameter that its layer was set up with.
        held_by: why the shape must not change, and what to do instead; empty if it may change.
    """

    def __init__(self, parameter: Tensor, shape: tuple[int, ...]) -> None:
        self.parameter = parameter
        self.made_for = tuple(parameter.shape)
        self.held_by = ""
        self._made_as = shape
        self._diff_tensor = _zeros(shape)
        self._data = Memory(self._own_data)
        self._diff = Memory(self._own_diff)

    @property
    def _shape(self) -> tuple[int, ...]:
        now = tuple(self.parameter.shape)
        return self._made_as if now == self.made_for else (1,) * (len(self._made_as) - len(now)) + now

    def _own_data(self) -> Tensor:
        return self.parameter.data.view(self._shape)

    def _own_diff(self) -> Tensor:
        # Another net that shares the parameter may have reshaped it.
        if self._diff_tensor.shape != self._shape:
            self._diff_tensor = _refit(self._diff_tensor, self._shape)
        return self._diff_tensor

    def seen_as(self, shape: tuple[int, ...]) -> ParameterBlob:
        """Return a blob with the same numbers and gradient in another shape; this blob if it has that shape."""
        if shape == self._shape:
            return self
        other = ParameterBlob(self.parameter, shape)
        other._diff = Memory(partial(self._diff_as, shape))
        self.held_by = other.held_by = "layers that share it see it in several shapes: reshape it in a net without them"
        return other

    def _diff_as(self, shape: tuple[int, ...]) -> Tensor:
        return self._own_diff().view(shape)

    def reshape(self, *shape: int | Sequence[int]) -> None:
        """Give the parameter and its gradient another shape; :meth:`fits` says whether the layer can compute with it.

        As in Caffe, the first numbers in memory stay if the new shape has no more numbers than the old; else all are 0.

        Raises:
            ValueError: a dimension is negative.
            NetError: a solver, or a layer that sees the parameter in another shape, relies on its shape.
        """
        dims = _dims(shape)
        if min(dims, default=0) < 0:
            raise ValueError(f"a blob's dimensions must not be negative, got {dims}")
        if dims in (self._shape, tuple(self.parameter.shape)):
            return
        if self.held_by:
            raise NetError(f"a parameter blob of shape {self._shape} cannot become {dims}: {self.held_by}")
        # In DeepLab v1 a blob has four axes in files only; the layer's parameter may have fewer.
        more = len(dims) - len(self.made_for)
        if more > 0 and len(self._made_as) > len(self.made_for) and set(dims[:more]) == {1}:
            dims = dims[more:]
        data, _ = self._data.tensor(), self._diff.tensor()
        self.parameter.grad = None
        self.parameter.data = _refit(data, dims)
        self._diff.tensor()

    def fits(self) -> bool:
        """Return whether the parameter still has the shape that its layer was set up for and can compute with."""
        return tuple(self.parameter.shape) == self.made_for

    def to(self, device: torch.device) -> None:
        """Move the gradient; the parameter itself moves with its module."""
        if self._diff_tensor.device != device:
            self._diff_tensor = self._diff.tensor().to(device)

    def add_diff(self, value: Tensor) -> None:
        """Add a computed gradient to what is there."""
        self._diff.tensor().add_(value.detach().view(self._shape))

    def write_diff(self, value: Tensor) -> None:
        """Store a computed gradient."""
        self._diff.forget_host()
        self._diff.tensor().copy_(value.detach().view(self._shape))
