"""A simple, slow implementation of every kernel, element by element in NumPy.

Each function defines the result of a kernel, with its source in the original; the tests compare the kernels with it.
This needs neither torch nor the extension.

>>> import numpy as np
>>> from deeplab_caffe import reference
>>> reference.interp(np.array([[[[0.0, 2.0], [4.0, 6.0]]]]), 3, 3)[0, 0]
array([[0., 1., 2.],
       [2., 3., 4.],
       [4., 5., 6.]])
"""

from __future__ import annotations

from deeplab_caffe.reference.argmax import argmax, argmax_labels
from deeplab_caffe.reference.domain_transform import domain_transform
from deeplab_caffe.reference.im2col import col2im, conv2d, im2col
from deeplab_caffe.reference.interp import interp, interp_argmax, interp_softmax
from deeplab_caffe.reference.lattice import image_features, lattice_filter
from deeplab_caffe.reference.max_pool import max_pool
from deeplab_caffe.reference.mean_field import mean_field
from deeplab_caffe.reference.preprocess import preprocess
from deeplab_caffe.reference.softmax_loss import softmax_loss
from deeplab_caffe.reference.winograd import winograd_conv2d, winograd_weight

__all__ = [
    "argmax",
    "argmax_labels",
    "col2im",
    "conv2d",
    "domain_transform",
    "im2col",
    "image_features",
    "interp",
    "interp_argmax",
    "interp_softmax",
    "lattice_filter",
    "max_pool",
    "mean_field",
    "preprocess",
    "softmax_loss",
    "winograd_conv2d",
    "winograd_weight",
]
