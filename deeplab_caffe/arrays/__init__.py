"""Arrays of NumPy, torch and CuPy: one interface to convert, check, allocate and view them.

An :class:`Arrays` is one library's memory and stream on one device. Code written with it runs with each library:

>>> import numpy as np
>>> from deeplab_caffe.arrays import arrays_of
>>> x = np.ones((2, 3), np.float32)
>>> xp = arrays_of(x)  # NumPy's; a tensor gives torch's on its device, an array on a GPU CuPy's
>>> y = xp.empty(x.shape, x.dtype)
>>> xp.device, xp.dtype(y), xp.stream
('cpu', 'float32', 0)

Torch and CuPy are imported only when one of their arrays is passed or a GPU is requested.
"""

from __future__ import annotations

from deeplab_caffe.arrays.cupy_arrays import CupyArrays
from deeplab_caffe.arrays.interface import Array, Arrays, ArrayT, Shape
from deeplab_caffe.arrays.libraries import import_cupy, is_on_gpu, is_torch, offers_gpu_memory
from deeplab_caffe.arrays.numpy_arrays import NumpyArrays, file_advice, like, to_numpy
from deeplab_caffe.arrays.select import arrays_of, arrays_on
from deeplab_caffe.arrays.torch_arrays import TorchArrays

__all__ = [
    "Array",
    "ArrayT",
    "Arrays",
    "CupyArrays",
    "NumpyArrays",
    "Shape",
    "TorchArrays",
    "arrays_of",
    "arrays_on",
    "file_advice",
    "import_cupy",
    "is_on_gpu",
    "is_torch",
    "like",
    "offers_gpu_memory",
    "to_numpy",
]
