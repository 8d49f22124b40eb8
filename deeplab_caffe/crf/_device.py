"""The CRF's use of :mod:`deeplab_caffe.arrays`: its own errors, and colours."""

from __future__ import annotations

from typing import Any

from deeplab_caffe import arrays as _arrays
from deeplab_caffe.arrays import is_on_gpu
from deeplab_caffe.arrays.libraries import check_cuda_kernels
from deeplab_caffe.crf.memory import CRFMemoryError
from deeplab_caffe.errors import CRFError

__all__ = ["Arrays", "CupyArrays", "TorchArrays", "arrays_of", "arrays_on", "is_on_gpu", "real_colours"]


class _CRFArrays(_arrays.Arrays):
    def empty(self, shape: _arrays.Shape, dtype: Any, *, channels_last: bool = False) -> Any:
        """See :class:`deeplab_caffe.arrays.Arrays`; raises CRFMemoryError."""
        try:
            return super().empty(shape, dtype, channels_last=channels_last)  # type: ignore[safe-super]
        except self.out_of_memory as exc:
            raise CRFMemoryError(f"{self.device}: not enough memory for {dtype} {shape}") from exc

    def zeros(self, shape: _arrays.Shape, dtype: Any) -> Any:
        """See :class:`deeplab_caffe.arrays.Arrays`; raises CRFMemoryError."""
        try:
            return super().zeros(shape, dtype)  # type: ignore[safe-super]
        except self.out_of_memory as exc:
            raise CRFMemoryError(f"{self.device}: not enough memory for {dtype} {shape}") from exc

    def channels_last(self, array: Any) -> Any:
        """Return a view ``(H, W, C)`` of an array ``(C, H, W)``."""
        return self.permute(array, (1, 2, 0))

    def float32(self, array: Any) -> Any:
        """Return the array as float32."""
        return self.cast(array, "float32")


class TorchArrays(_CRFArrays, _arrays.TorchArrays):
    """torch's."""


class CupyArrays(_CRFArrays, _arrays.CupyArrays):
    """CuPy's."""


Arrays = TorchArrays | CupyArrays


def real_colours(arrays: Arrays, image: Any, name: str) -> Any:
    """Return colours as uint8 or float32, or raise CRFError if they are no real numbers; they may be infinite."""
    dtype = arrays.dtype(image)
    if dtype == "uint8":
        return image
    if not dtype.startswith(("uint", "int", "float", "bfloat")):
        raise CRFError(f"{name} must be of real numbers, got {dtype}")
    return arrays.float32(image)


def _crf_arrays(found: _arrays.Arrays) -> Arrays:
    return TorchArrays(found.index) if isinstance(found, _arrays.TorchArrays) else CupyArrays(found.index)


def arrays_of(array: Any) -> Arrays:
    """Return the library and device of an array on a GPU."""
    check_cuda_kernels(CRFError)
    return _crf_arrays(_arrays.arrays_of(array, CRFError))


def arrays_on(device: str) -> Arrays:
    """Return the library to work with on ``"cuda"`` or ``"cuda:1"``, or raise CRFError."""
    return _crf_arrays(_arrays.arrays_on(device, CRFError))
