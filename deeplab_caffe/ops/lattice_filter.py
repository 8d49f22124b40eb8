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
from deeplab_caffe.arrays import Arrays
from deeplab_caffe.ops.operator import operator


class LatticeLike(Protocol):
    """A lattice of either device: ``_C.Lattice``, :class:`deeplab_caffe.crf.cuda_lattice.CudaLattice`."""

    points: int

    filter: Any
    filter_all: Any  # on a GPU


_KEYS = itertools.count(1)
_LATTICES: WeakValueDictionary[int, LatticeLike] = WeakValueDictionary()


class _Owner:
    """The memory of a tensor of keys, which keeps the lattices alive as long as the tensor's storage exists."""

    def __init__(self, lattices: Sequence[LatticeLike]) -> None:
        self._lattices = tuple(lattices)
        self._keys = np.empty(len(lattices), np.int64)
        for index, lattice in enumerate(self._lattices):
            # Keys are never reused, so a copied tensor that outlives its lattices cannot find other lattices.
            self._keys[index] = key = next(_KEYS)
            _LATTICES[key] = lattice

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._keys.__array_interface__


def lattice_keys(lattices: Sequence[LatticeLike]) -> Tensor:
    """Return a tensor of keys that stand for lattices: an operator's arguments can only be tensors and numbers.

    Returns:
        int64 ``(N,)`` on the CPU. The tensor and its views keep the lattices alive; a copy does not.
    """
    return torch.from_numpy(np.asarray(_Owner(lattices)))


def _found(keys: Tensor) -> list[LatticeLike]:
    try:
        return [_LATTICES[key] for key in keys.tolist()]
    except KeyError as exc:
        raise ValueError(f"lattice_filter: lattice {exc} is not there any more: keep the tensor of its key") from None


def _filtered(xp: Arrays, values: Any, lattices: Any, adjoint: bool) -> Any:
    return xp.empty(values.shape, values.dtype)


@operator("lattice_filter(Tensor values, Tensor lattices, bool adjoint) -> Tensor", result=_filtered)
def _lattice_filter(xp: Arrays, filtered: Any, values: Any, lattices: Any, adjoint: bool) -> None:
    found = _found(lattices)
    for lattice in found:
        _check_place(lattice, values)
    if values.is_cuda and found:
        found[0].filter_all(found, xp.view(values), xp.view(filtered), adjoint, xp.stream)
        return
    for lattice, source, target in zip(found, values, filtered, strict=True):
        lattice.filter(xp.view(source), xp.view(target), adjoint)


def _check_place(lattice: LatticeLike, values: Tensor) -> None:
    if isinstance(lattice, _C.Lattice) and values.is_cuda:
        raise ValueError(f"lattice_filter: the lattice is on cpu, the values are on {values.device}")
    if not isinstance(lattice, _C.Lattice) and not values.is_cuda:
        raise ValueError(f"lattice_filter: the values are on {values.device}, the lattice is not")


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, lattices, ctx.adjoint = inputs
    ctx.save_for_backward(lattices)


def _gradient(ctx: Any, grad: Any) -> tuple[Any, ...]:
    (lattices,) = ctx.saved_tensors
    return _lattice_filter(grad, lattices, not ctx.adjoint), None, None


# The filter is linear: slice * blurs * splat. Slice is a multiple of the transposed splat, and the blur along each axis
# is symmetric. The blurs do not commute where vertices are missing, so the transposed filter blurs in reverse order.
_lattice_filter.differentiate(_save, _gradient)


def lattice_filter(values: Tensor, lattices: Tensor, *, adjoint: bool = False) -> Tensor:
    """Splat, blur and slice, each item of a batch on its own lattice.

    Args:
        values: ``(N, P, C)`` float32, or on the CPU float64 (slowly, for checks), any strides.
        lattices: int64 ``(N,)`` from :func:`lattice_keys`: lattices of P points on the device of the values.
        adjoint: apply the transposed filter.

    Returns:
        ``(N, P, C)``, contiguous. Differentiable with respect to the values, any number of times.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or a lattice no longer exists.
    """
    if values.dim() != 3:
        raise ValueError(f"lattice_filter: expected values (N, P, C), got {tuple(values.shape)}")
    if lattices.dtype != torch.int64 or tuple(lattices.shape) != (values.shape[0],):
        raise ValueError(
            f"lattice_filter: expected {values.shape[0]} keys of lattices, got {lattices.dtype} {tuple(lattices.shape)}"
        )
    filtered: Tensor = _lattice_filter(values, lattices, adjoint)
    return filtered
