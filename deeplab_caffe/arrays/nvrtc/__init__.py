"""CUDA kernels compiled at run time, by NVRTC through CuPy: for a GPU, pip and no toolkit.

The extension's host code is the same with and without a compiled CUDA half (csrc/common/kernel_launch.h): it checks,
computes the launch and, where it has no compiled kernel, calls :func:`launch` here, and only it needs to.

>>> from deeplab_caffe.arrays import nvrtc
>>> nvrtc.enable()  # also where the extension has compiled kernels; DEEPLAB_CAFFE_NVRTC=1 says the same
"""

from __future__ import annotations

from deeplab_caffe.arrays.nvrtc.kernels import enable, enabled, launch
from deeplab_caffe.arrays.nvrtc.sources import program

__all__ = ["enable", "enabled", "launch", "program"]
