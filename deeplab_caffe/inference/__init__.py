"""A net made ready to run fast: :meth:`deeplab_caffe.Net.optimize` gives an :class:`OptimizedNet`."""

from deeplab_caffe.inference.optimized import OptimizedNet

__all__ = ["OptimizedNet"]
