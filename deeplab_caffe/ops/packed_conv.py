"""Inference convolutions on the CPU with weights prepacked in oneDNN's own layout, and with a fused ReLU.

torch's ordinary convolution packs the weights at every call, and writes its result to memory before a ReLU reads it
again: in bfloat16 this takes a quarter of LargeFOV's time (`benchmarks/fps.py`). The operators used here are those that
torch's compiler emits for a frozen model; :func:`supported` is False if a torch build lacks them.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class _Packed(NamedTuple):
    """A packed weight.

    Attributes:
        key: address, version and dtype of the original weight, and the shape of the input.
        weight: weak reference to the original weight, because another tensor may later have the same address.
        packed: the packed weight.
    """

    key: tuple[object, ...]
    weight: weakref.ref[Tensor]
    packed: Tensor


@lru_cache
def operators_exist() -> bool:
    """Return whether this torch build has the operators."""
    try:
        available = torch.backends.mkldnn.is_available()
        return bool(available and torch.ops.mkldnn._convolution_pointwise)
    except (AttributeError, RuntimeError):
        return False


@lru_cache
def bfloat16_is_fast() -> bool:
    """Return whether oneDNN has bfloat16 kernels for this processor."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False


def supported(x: Tensor, weight: Tensor) -> bool:
    """Return whether :class:`PackedConv2d` can take this input with this weight."""
    if x.device.type != "cpu" or weight.device.type != "cpu" or torch.is_grad_enabled() or not takes_dtype(x):
        return False
    if torch.compiler.is_compiling() or x.dtype != weight.dtype or x.numel() == 0:
        return False
    # Inference tensors have no version counter, so a change would go unnoticed.
    return not weight.is_inference()


def takes_dtype(x: Tensor) -> bool:
    """Return whether this torch build has :func:`packed_conv2d` for a dtype."""
    return operators_exist() and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and bfloat16_is_fast()))


class Geometry(NamedTuple):
    """The geometry of a convolution; pairs are (height, width)."""

    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def pack_weight(weight: Tensor, geometry: Geometry, shape: Sequence[int]) -> Tensor:
    """Return a weight (O, C / groups, kh, kw) packed for inputs of ``shape``; it works for inputs of any shape."""
    stride, pad, dilation, groups = geometry
    blocked = weight.detach().contiguous().to_mkldnn()
    # torch's stub lacks the last argument.
    return torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
        blocked, list(pad), list(stride), list(dilation), groups, list(shape)
    )


def same_order(a: Tensor, b: Tensor) -> bool:
    """Return whether two packed forms of one weight have the same layout; False if this torch build cannot tell."""
    try:
        pieces = [(torch.ops.mkldnn.data_ptr(x), torch.ops.mkldnn._nbytes(x)) for x in (a, b)]
    except (AttributeError, RuntimeError):
        return False
    first, second = (np.frombuffer((ctypes.c_char * size).from_address(at), np.uint8) for at, size in pieces)
    return np.array_equal(first, second)


def packed_conv2d(
    x: Tensor,
    packed: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    *,
    relu: bool,
    ceiling: float = math.inf,
    other: Tensor | None = None,
    spare: bool = False,
) -> Tensor:
    """Return the convolution of channels-last ``x`` (N, C, H, W) with a packed weight.

    Args:
        x: the input.
        packed: the weight, from :func:`pack_weight`.
        bias: (O,), or None.
        geometry: the convolution's geometry.
        relu: apply ReLU to the result.
        ceiling: upper bound of a rectified result; not with ``other``.
        other: channels-last, in the result's shape: added before the ReLU.
        spare: the result may overwrite ``other``.
    """
    stride, pad, dilation, groups = geometry
    if other is not None:
        unary = "relu" if relu else None
        numbers: tuple[object, ...] = (packed, bias, pad, stride, dilation, groups, "add", 1.0, unary, [], "")
        if spare:
            found: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(other, x, *numbers)
        else:
            found = torch.ops.mkldnn._convolution_pointwise.binary(x, other, *numbers)
        return found
    activation, bounds = ("relu" if relu else "none"), []
    if relu and ceiling < math.inf:
        activation, bounds = "hardtanh", [0.0, ceiling]
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, packed, bias, pad, stride, dilation, groups, activation, bounds, ""
    )
    return y


class PackedConv2d:
    """A convolution that keeps its weight packed for the shape of the last input.

    The result equals ``torch.relu(torch.conv2d(...))`` on a channels-last input bit for bit. The weight is packed again
    when it was changed, is another tensor, or when an input has another shape. Changes are found by torch's version
    counter, which does not count writes through ``weight.data`` or a numpy view: call :meth:`clear` after those.

    Args:
        geometry: the convolution's geometry.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        # One object, so that it is replaced atomically: another thread may pack for another shape at the same time.
        self._kept: _Packed | None = None

    def clear(self) -> None:
        """Forget the packed weight."""
        self._kept = None

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool, ceiling: float = math.inf
    ) -> Tensor:
        """Return the convolution of ``x`` (N, C, H, W), with ``relu`` followed by a ReLU with an upper bound."""
        key = (weight.data_ptr(), weight._version, weight.dtype, tuple(x.shape))
        kept = self._kept
        if kept is None or key != kept.key or kept.weight() is not weight:
            kept = self._kept = _Packed(key, weakref.ref(weight), pack_weight(weight, self._geometry, x.shape))
        x = x.contiguous(memory_format=torch.channels_last)
        bias = None if bias is None else bias.detach()
        return packed_conv2d(x, kept.packed, bias, self._geometry, relu=relu, ceiling=ceiling)

    def __deepcopy__(self, memo: dict[int, object]) -> PackedConv2d:
        return PackedConv2d(self._geometry)

    def __reduce__(self) -> tuple[object, ...]:
        return PackedConv2d, (self._geometry,)
