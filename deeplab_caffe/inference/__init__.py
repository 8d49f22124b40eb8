"""A net made ready to run fast: :func:`optimize` gives an :class:`OptimizedNet`."""

from deeplab_caffe.inference.autotune import TuningResult
from deeplab_caffe.inference.optimized import OptimizedNet, optimize

__all__ = ["OptimizedNet", "TuningResult", "optimize"]
