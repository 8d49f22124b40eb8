"""Filtering on permutohedral lattices as a torch operator, with its gradient."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._view import check_device, stream, view


class LatticeLike(Protocol):
    """A lattice of either device: ``_C.Lattice``, :class:`deeplab_caffe.crf.cuda_lattice.CudaLattice`."""

    points: int


_KEYS = itertools.count(1)
_LATTICES: WeakValueDictionary[int, LatticeLike] = WeakValueDictionary()


class _Owner:
    """Memory of a tensor of keys; it lives as long as the tensor's storage does, and the lattices with it."""

    def __init__(self, lattices: Sequence[LatticeLike]) -> None:
        self._lattices = tuple(lattices)
        self._keys = np.empty(len(lattices), np.int64)
        for index, lattice in enumerate(self._lattices):
            # Never a key twice: a copy of the tensor that outlives its lattices finds none, instead of another's.
            self._keys[index] = key = next(_KEYS)
            _LATTICES[key] = lattice

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._keys.__array_interface__


def lattice_keys(lattices: Sequence[LatticeLike]) -> Tensor:
    """What :func:`lattice_filter` takes for lattices, since an operator's arguments are tensors and numbers.

    Returns:
        int64 ``(N,)`` on the CPU. It and its views keep the lattices alive; a copy of it does not.
    """
    return torch.from_numpy(np.asarray(_Owner(lattices)))


def _found(keys: Tensor) -> list[LatticeLike]:
    try:
        return [_LATTICES[key] for key in keys.tolist()]
    except KeyError as exc:
        raise ValueError(f"lattice_filter: lattice {exc} is not there any more: keep the tensor of its key") from None


@torch.library.custom_op("deeplab_caffe::lattice_filter", mutates_args=())
def _lattice_filter(values: Tensor, lattices: Tensor, adjoint: bool) -> Tensor:
    check_device("lattice_filter", values)
    filtered = values.new_empty(values.shape)
    lattices = _found(lattices)
    for lattice in lattices:
        _check_place(lattice, values)
    if values.is_cuda and lattices:
        lattices[0].filter_all(lattices, view(values), view(filtered), adjoint, stream(values))
        return filtered
    for lattice, source, target in zip(lattices, values, filtered, strict=True):
        lattice.filter(view(source), view(target), adjoint)
    return filtered


def _check_place(lattice: LatticeLike, values: Tensor) -> None:
    if isinstance(lattice, _C.Lattice) and values.is_cuda:
        raise ValueError(f"lattice_filter: the lattice is on cpu, the values are on {values.device}")
    if not isinstance(lattice, _C.Lattice) and not values.is_cuda:
        raise ValueError(f"lattice_filter: the values are on {values.device}, the lattice is not")


@_lattice_filter.register_fake
def _(values: Tensor, lattices: Tensor, adjoint: bool) -> Tensor:
    return values.new_empty(values.shape)


def _save(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
    _, lattices, ctx.adjoint = inputs
    ctx.save_for_backward(lattices)


def _gradient(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple:
    (lattices,) = ctx.saved_tensors
    return _lattice_filter(grad, lattices, not ctx.adjoint), None, None


# The filter is linear: slice * blurs * splat. Slice is a multiple of splat transposed; each axis' blur is symmetric,
# but they do not commute where vertices are missing. So the transpose blurs along the axes in reverse order.
_lattice_filter.register_autograd(_gradient, setup_context=_save)


def lattice_filter(values: Tensor, lattices: Tensor, *, adjoint: bool = False) -> Tensor:
    """Splat, blur and slice, each item of a batch on its own lattice.

    Args:
        values: ``(N, P, C)`` float32, or on the CPU float64 (slowly, for checks), any strides.
        lattices: int64 ``(N,)`` from :func:`lattice_keys`: lattices of P points on the device of the values.
        adjoint: the transposed filter.

    Returns:
        ``(N, P, C)``, contiguous. Differentiable with respect to the values, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, or lattices that are gone.
    """
    if values.dim() != 3:
        raise ValueError(f"lattice_filter: expected values (N, P, C), got {tuple(values.shape)}")
    if lattices.dtype != torch.int64 or tuple(lattices.shape) != (values.shape[0],):
        raise ValueError(
            f"lattice_filter: expected {values.shape[0]} keys of lattices, got {lattices.dtype} {tuple(lattices.shape)}"
        )
    return _lattice_filter(values, lattices, adjoint)
