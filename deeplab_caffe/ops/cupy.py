"""DeepLab's operations on CuPy arrays: on CuPy's current stream, with memory of CuPy's pool, without torch.

The functions of :mod:`deeplab_caffe.ops` accept CuPy arrays directly. The functions here also accept, without a copy,
any object on a GPU with ``__cuda_array_interface__`` or ``__dlpack__``, such as a tensor, and return CuPy arrays. There
is no autograd: the functions ``..._backward`` compute the gradients.

The kernels are the extension's compiled ones or, if it was built without CUDA, the same sources compiled by NVRTC (see
:mod:`deeplab_caffe.arrays.nvrtc`).

>>> import cupy
>>> from deeplab_caffe.ops import cupy as ops
>>> scores = ops.interp(cupy.random.rand(1, 21, 41, 41, dtype="float32"), zoom_factor=8)  # (1, 21, 321, 321)
>>> labels = ops.argmax_labels(scores)  # (1, 321, 321) uint8
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from deeplab_caffe.arrays import CupyArrays, import_cupy, is_on_gpu
from deeplab_caffe.arrays.libraries import as_cupy
from deeplab_caffe.ops import argmax as _argmax
from deeplab_caffe.ops import domain_transform as _domain_transform
from deeplab_caffe.ops import hole as _hole
from deeplab_caffe.ops import im2col as _im2col
from deeplab_caffe.ops import interp as _interp
from deeplab_caffe.ops import interp_argmax as _interp_argmax
from deeplab_caffe.ops import interp_softmax as _interp_softmax
from deeplab_caffe.ops import max_pool as _max_pool
from deeplab_caffe.ops import preprocess as _preprocess
from deeplab_caffe.ops import softmax_loss as _softmax_loss
from deeplab_caffe.ops.sizes import conv_output_size, interp_size
from deeplab_caffe.ops.softmax_loss import SoftmaxLoss

__all__ = [
    "SoftmaxLoss",
    "argmax",
    "argmax_labels",
    "col2im",
    "conv2d",
    "conv2d_backward",
    "conv_output_size",
    "domain_transform",
    "domain_transform_backward",
    "im2col",
    "interp",
    "interp_argmax",
    "interp_backward",
    "interp_size",
    "interp_softmax",
    "max_pool",
    "preprocess",
    "softmax_loss",
]

Function = Callable[..., Any]


def _take(operation: str, name: str, array: Any) -> Any:
    if array is None:
        return None
    if isinstance(array, (list, tuple)):
        return [_take(operation, name, one) for one in array]
    cupy = import_cupy()
    if not isinstance(array, cupy.ndarray) and not is_on_gpu(array):
        raise ValueError(f"{operation}: expected {name} as an array on a GPU, got {type(array).__name__}")
    array = as_cupy(cupy, array)
    return CupyArrays(array.device.id).take(array)


def _on_cupy(function: Function, *names: str) -> Function:
    """Return a function that converts the arguments of these names to CuPy arrays before it calls ``function``."""
    signature = inspect.signature(function)
    operation = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        for name in names:
            if name in given.arguments:
                given.arguments[name] = _take(operation, name, given.arguments[name])
        return function(*given.args, **given.kwargs)

    return call


argmax = _on_cupy(_argmax.argmax, "scores")
argmax_labels = _on_cupy(_argmax.argmax_labels, "scores")
conv2d = _on_cupy(_hole.conv2d, "x", "weight", "bias")
conv2d_backward = _on_cupy(_hole.conv2d_backward, "grad", "x", "weight")
domain_transform = _on_cupy(_domain_transform.domain_transform, "x", "edges", "sizes")
domain_transform_backward = _on_cupy(_domain_transform.domain_transform_backward, "grad", "x", "edges", "sizes")
im2col = _on_cupy(_im2col.im2col, "x")
col2im = _on_cupy(_im2col.col2im, "columns")
interp = _on_cupy(_interp.interp, "x")
interp_backward = _on_cupy(_interp.interp_backward, "grad")
interp_argmax = _on_cupy(_interp_argmax.interp_argmax, "scores")
interp_softmax = _on_cupy(_interp_softmax.interp_softmax, "scores")
max_pool = _on_cupy(_max_pool.max_pool, "x")
preprocess = _on_cupy(_preprocess.preprocess, "images")
softmax_loss = _on_cupy(_softmax_loss.softmax_loss, "scores", "labels")
