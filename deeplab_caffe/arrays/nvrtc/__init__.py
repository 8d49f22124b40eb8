"""CUDA kernels compiled at run time, by NVRTC through CuPy: for a GPU without the CUDA toolkit.

The extension's host code is the same with and without compiled CUDA kernels (csrc/common/kernel_launch.h): it checks
the arguments, computes the launch and, if it has no compiled kernel, calls :func:`launch`. No other code calls it.

>>> from deeplab_caffe.arrays import nvrtc
>>> nvrtc.enable()  # even if the extension has compiled kernels; DEEPLAB_CAFFE_NVRTC=1 does the same
"""

from __future__ import annotations

from deeplab_caffe.arrays.nvrtc.kernels import enable, enabled, launch
from deeplab_caffe.arrays.nvrtc.sources import program

__all__ = ["enable", "enabled", "launch", "program"]
