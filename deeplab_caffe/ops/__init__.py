"""DeepLab's operations on arrays of torch, CuPy and NumPy, each defined once.

For tensors, an operation is a torch custom operator: it can be traced, compiled and exported, and most have a gradient.
A module that is imported after torch registers its operators as ``torch.ops.deeplab_caffe.<name>``; a module that is
imported before torch registers them when it gets its first tensor.
"""

__all__ = [
    "argmax",
    "cupy",
    "depthwise",
    "domain_transform",
    "hole",
    "im2col",
    "interp",
    "interp_argmax",
    "interp_softmax",
    "max_pool",
    "preprocess",
    "softmax_loss",
    "stem",
    "winograd",
]
