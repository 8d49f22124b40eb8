"""DeepLab v1 from its own prototxt files and caffemodels, on PyTorch, without Caffe; and its dense CRF.

>>> import deeplab_caffe as dc
>>> net = dc.Net("deploy.prototxt", "x.caffemodel")  # torch.nn.Module: blob in, tensor out
>>> seg = dc.Segmenter("deploy.prototxt", "x.caffemodel", crf=dc.CRFParams())  # RGB image in, labels out

What needs torch is imported when first asked for, so that ``deeplab_caffe.crf``, ``.proto`` and ``.data`` do without
it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deeplab_caffe.errors import (
    CaffeModelError,
    CRFError,
    DataError,
    DeepLabCaffeError,
    NetError,
    PrototxtError,
    SolverError,
)

if TYPE_CHECKING:
    from deeplab_caffe.crf import CRFParams, dense_crf
    from deeplab_caffe.inference import optimize
    from deeplab_caffe.net import Net
    from deeplab_caffe.segmentation import Segmenter
    from deeplab_caffe.solver import Solver

__version__ = "0.1.0"

_LAZY = {
    "CRFParams": "deeplab_caffe.crf",
    "Net": "deeplab_caffe.net",
    "Segmenter": "deeplab_caffe.segmentation",
    "Solver": "deeplab_caffe.solver",
    "dense_crf": "deeplab_caffe.crf",
    "optimize": "deeplab_caffe.inference",
}

__all__ = [
    "CRFError",
    "CRFParams",
    "CaffeModelError",
    "DataError",
    "DeepLabCaffeError",
    "Net",
    "NetError",
    "PrototxtError",
    "Segmenter",
    "Solver",
    "SolverError",
    "__version__",
    "dense_crf",
    "optimize",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'deeplab_caffe' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
