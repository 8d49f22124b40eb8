"""DeepLab v1's operations on CuPy arrays: on CuPy's current stream, with memory of CuPy's pool, without torch.

The kernels are those of the torch operators: the extension's compiled ones or, where it was built without CUDA, the
same sources compiled by NVRTC (see :mod:`deeplab_caffe.arrays.nvrtc`). Besides CuPy arrays the functions take what
offers ``__cuda_array_interface__`` or ``__dlpack__`` on a GPU, without a copy; they give CuPy arrays. There is no
autograd: ``..._backward`` are the gradients.

>>> import cupy
>>> from deeplab_caffe.ops import cupy as ops
>>> scores = ops.interp(cupy.random.rand(1, 21, 41, 41, dtype="float32"), zoom_factor=8)  # (1, 21, 321, 321)
>>> labels = ops.argmax_labels(scores)  # (1, 321, 321) uint8
"""

from __future__ import annotations

from deeplab_caffe.ops.cupy._argmax import argmax, argmax_labels
from deeplab_caffe.ops.cupy._hole import conv2d, conv2d_backward
from deeplab_caffe.ops.cupy._im2col import col2im, im2col
from deeplab_caffe.ops.cupy._interp import interp, interp_backward
from deeplab_caffe.ops.cupy._interp_argmax import interp_argmax
from deeplab_caffe.ops.cupy._interp_softmax import interp_softmax
from deeplab_caffe.ops.cupy._preprocess import preprocess
from deeplab_caffe.ops.cupy._softmax_loss import SoftmaxLoss, softmax_loss
from deeplab_caffe.ops.sizes import conv_output_size, interp_size

__all__ = [
    "SoftmaxLoss",
    "argmax",
    "argmax_labels",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv_output_size",
    "im2col",
    "interp",
    "interp_argmax",
    "interp_backward",
    "interp_size",
    "interp_softmax",
    "preprocess",
    "softmax_loss",
]
