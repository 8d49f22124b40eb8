"""The precisions of a computation, by name, and torch's switches for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import get_args

import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.net.optimized import Precision, PrecisionName
from deeplab_caffe.ops.packed_conv import bfloat16_is_fast, operators_exist

_ALL = {
    "float32": Precision("float32", torch.float32, False, 1e-5),
    "tf32": Precision("tf32", torch.float32, True, 3e-3),
    "bfloat16": Precision("bfloat16", torch.bfloat16, False, 1e-2),
    "float16": Precision("float16", torch.float16, False, 2e-3),
}


# Relative error (of norms) of Winograd's larger tiles, for the released networks' shapes.
_FAST_TOLERANCE = 5e-5


def check_precision(name: str) -> None:
    """Check the name of a precision.

    Raises:
        NetError: there is no precision of this name.
    """
    if name not in get_args(PrecisionName):
        raise NetError(f"precision must be {' or '.join(get_args(PrecisionName))}, got {name!r}")


def precision_of(dtype: torch.dtype | str, device: torch.device, precision: str = "strict") -> Precision:
    """Return the precision of a torch dtype or a name, on a device.

    Args:
        dtype: dtype of the numbers that are multiplied, or its name.
        device: the device.
        precision: ``"strict"`` or ``"fast"``.

    Raises:
        NetError: there is no such precision, or the device does not support it.
    """
    check_precision(precision)
    name = str(dtype).removeprefix("torch.")
    if name not in _ALL:
        raise NetError(f"dtype must be one of {', '.join(_ALL)}, got {name}")
    found = _ALL[name]
    if device.type == "cpu" and found.tf32:
        raise NetError("dtype tf32 is a GPU's: on the CPU use float32 or bfloat16")
    if device.type == "cpu" and found.dtype == torch.float16 and not _float16_on_cpu():
        raise NetError("dtype float16: this processor, or this torch build, cannot multiply it: use bfloat16")
    if device.type == "cpu" and found.dtype == torch.bfloat16 and operators_exist() and not bfloat16_is_fast():
        raise NetError("dtype bfloat16: this processor has no instructions for it: use float32")
    return replace(found, fast=True, tolerance=max(found.tolerance, _FAST_TOLERANCE)) if precision == "fast" else found


def _float16_on_cpu() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    except (AttributeError, RuntimeError):
        return False


@contextmanager
def switched(precision: Precision, device: torch.device) -> Iterator[None]:
    """Set torch's switches for a precision, and disable gradients, within the block; restore them afterwards.

    cuDNN measures its algorithms and uses only those that give the same bits in every run.
    """
    with torch.no_grad():
        if device.type != "cuda":
            yield
            return
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if precision.tf32 else "highest")
        try:
            with torch.backends.cudnn.flags(
                enabled=True, benchmark=True, deterministic=True, allow_tf32=precision.tf32
            ):
                yield
        finally:
            torch.set_float32_matmul_precision(before)
