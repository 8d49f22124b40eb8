"""Optimized nets for fast inference: :func:`optimize` returns an :class:`OptimizedNet`."""

import deeplab_caffe.arrays.needs_torch  # noqa: F401  # before what imports torch
from deeplab_caffe.inference.optimized import optimize
from deeplab_caffe.net.optimized import OptimizedNet, TuningResult

__all__ = ["OptimizedNet", "TuningResult", "optimize"]
