"""A network built from a prototxt: :class:`Net`, its graph, its weights, its table and its drawing."""

import deeplab_caffe.arrays.needs_torch  # noqa: F401  # before what imports torch
from deeplab_caffe.net.net import Net, floating_dtype
from deeplab_caffe.net.optimized import OptimizeOptions, PrecisionName

__all__ = ["Net", "OptimizeOptions", "PrecisionName", "floating_dtype"]
