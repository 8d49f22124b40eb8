"""Inference convolutions on the CPU with weights in oneDNN's own order, with a fused ReLU.

torch's ordinary convolution brings the weights into that order at every call and writes its result to memory before a
ReLU reads it again: in bfloat16 a quarter of LargeFOV's time (`benchmarks/fps.py`). The operators used here are those
that torch's compiler emits for a frozen model; where a torch build lacks them, :func:`supported` says so.
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


class _Kept(NamedTuple):
    """A packed weight.

    Attributes:
        key: tells what it was packed of and for.
        weight: what it was packed of; not held: another tensor may come to lie where one lay that is gone.
        packed: the weight packed.
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
    if x.device.type != "cpu" or weight.device.type != "cpu" or torch.is_grad_enabled() or not operators_exist():
        return False
    if torch.compiler.is_compiling() or x.dtype != weight.dtype or x.numel() == 0:
        return False
    if weight.is_inference():  # it counts no versions: a change could not be seen
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and bfloat16_is_fast())


class Geometry(NamedTuple):
    """A convolution's numbers; pairs are (height, width)."""

    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def pack_weight(weight: Tensor, geometry: Geometry, shape: Sequence[int]) -> Tensor:
    """Return a weight (O, C / groups, kh, kw) in the order that suits inputs of ``shape`` best, but serves any."""
    stride, pad, dilation, groups = geometry
    blocked = weight.detach().contiguous().to_mkldnn()
    # torch's stub lacks the last argument.
    return torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]
        blocked, list(pad), list(stride), list(dilation), groups, list(shape)
    )


def same_order(a: Tensor, b: Tensor) -> bool:
    """Return whether two packed forms of one weight are in the same order; False where this torch build cannot tell."""
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
        geometry: the convolution's numbers.
        relu: rectify the result.
        ceiling: of a rectified result, the largest number that stays; not with ``other``.
        other: channels-last, of the result's shape: is added first.
        spare: the result may be written to the memory of ``other``.
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

    Bit for bit equal to ``torch.relu(torch.conv2d(...))`` on a channels-last input. Packed anew when the weight has
    been changed, is another tensor, or another shape comes. Changes are seen by torch's version counter, which writes
    through ``weight.data`` or a numpy view pass by: :meth:`clear` after those.

    Args:
        geometry: its numbers.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        # In one piece: other threads may pack for another shape meanwhile.
        self._kept: _Kept | None = None

    def clear(self) -> None:
        """Forget the packed weight."""
        self._kept = None

    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool, ceiling: float = math.inf
    ) -> Tensor:
        """Return the convolution of ``x`` (N, C, H, W), with a ReLU and its ``ceiling`` behind it if asked for."""
        key = (weight.data_ptr(), weight._version, weight.dtype, tuple(x.shape))
        kept = self._kept
        if kept is None or key != kept.key or kept.weight() is not weight:
            kept = self._kept = _Kept(key, weakref.ref(weight), pack_weight(weight, self._geometry, x.shape))
        x = x.contiguous(memory_format=torch.channels_last)
        bias = None if bias is None else bias.detach()
        return packed_conv2d(x, kept.packed, bias, self._geometry, relu=relu, ceiling=ceiling)

    def __deepcopy__(self, memo: dict[int, object]) -> PackedConv2d:
        return PackedConv2d(self._geometry)

    def __reduce__(self) -> tuple[object, ...]:
        return PackedConv2d, (self._geometry,)
