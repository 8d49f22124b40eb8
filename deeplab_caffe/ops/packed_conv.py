"""Inference convolutions on the CPU with weights in oneDNN's own order, and the ReLU that follows taken along.

torch's ordinary convolution brings the weights into that order at every call and writes its result to memory before a
ReLU reads it again: in bfloat16 a quarter of LargeFOV's time (`benchmarks/fps.py`). The operators used here are those
that torch's compiler emits for a frozen model; where a torch build lacks them, :func:`supported` says so.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from deeplab_caffe.ops.sizes import Size

_Key = tuple[object, ...]


@lru_cache
def operators_exist() -> bool:
    """Return whether this torch build has the operators."""
    try:
        available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's own
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


class PackedConv2d:
    """A convolution that keeps its weight packed for the shape of the last input.

    Bit for bit equal to ``torch.relu(torch.conv2d(...))`` on a channels-last input. Packed anew when the weight has
    been changed or another shape comes. Changes are seen by torch's version counter, which writes through
    ``weight.data`` or a numpy view pass by: :meth:`clear` after those.

    Args:
        stride: (height, width).
        pad: (height, width).
        dilation: (height, width).
        groups: how many.
    """

    def __init__(self, stride: Size, pad: Size, dilation: Size, groups: int) -> None:
        self._arguments = stride, pad, dilation, groups
        self._stride, self._pad, self._dilation, self._groups = list(stride), list(pad), list(dilation), groups
        self._key: _Key | None = None
        self._packed: Tensor | None = None

    def clear(self) -> None:
        """Forget the packed weight."""
        self._key = self._packed = None

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, *, relu: bool) -> Tensor:
        """Return the convolution of ``x`` (N, C, H, W), followed by a ReLU if asked for."""
        key = (weight.data_ptr(), weight._version, weight.dtype, tuple(x.shape))
        if key != self._key:
            self._packed = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]  # torch's stub is behind
                weight.detach().contiguous().to_mkldnn(),
                self._pad,
                self._stride,
                self._dilation,
                self._groups,
                list(x.shape),
            )
            self._key = key
        x = x.contiguous(memory_format=torch.channels_last)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x,
            self._packed,
            None if bias is None else bias.detach(),
            self._pad,
            self._stride,
            self._dilation,
            self._groups,
            "relu" if relu else "none",
            [],
            "",
        )
        return y

    def __deepcopy__(self, memo: dict[int, object]) -> PackedConv2d:
        return PackedConv2d(*self._arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return PackedConv2d, self._arguments
