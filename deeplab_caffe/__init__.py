"""DeepLab from its own prototxt files and caffemodels, on PyTorch, without Caffe; and its dense CRF.

>>> import deeplab_caffe as dc
>>> found = dc.segment("photo.jpg", crf=True)  # labels by the network that comes with the package
>>> net = dc.Net("deploy.prototxt", "x.caffemodel")  # torch.nn.Module: blob in, tensor out
>>> seg = dc.Segmenter("deploy.prototxt", "x.caffemodel", crf=dc.CRFParams())  # RGB image in, labels out

Names are imported at their first use, so that ``deeplab_caffe.crf``, ``.proto`` and ``.data`` work without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deeplab_caffe._version import __version__
from deeplab_caffe.errors import (
    BoxError,
    CaffeModelError,
    ConversionError,
    CRFError,
    DataError,
    DeepLabCaffeError,
    DownloadError,
    EvaluationError,
    KernelError,
    NetError,
    PrototxtError,
    SolverError,
    how_to_install,
)

if TYPE_CHECKING:
    from deeplab_caffe import arrays as arrays
    from deeplab_caffe import convert as convert
    from deeplab_caffe import crf as crf
    from deeplab_caffe import crf_search as crf_search
    from deeplab_caffe import data as data
    from deeplab_caffe import errors as errors
    from deeplab_caffe import evaluation as evaluation
    from deeplab_caffe import experiment as experiment
    from deeplab_caffe import inference as inference
    from deeplab_caffe import layers as layers
    from deeplab_caffe import net as net
    from deeplab_caffe import ops as ops
    from deeplab_caffe import proto as proto
    from deeplab_caffe import pycaffe as pycaffe
    from deeplab_caffe import pydensecrf as pydensecrf
    from deeplab_caffe import reference as reference
    from deeplab_caffe import segmentation as segmentation
    from deeplab_caffe import solver as solver
    from deeplab_caffe import viz as viz
    from deeplab_caffe import weak as weak
    from deeplab_caffe import zoo as zoo
    from deeplab_caffe.crf import CRFParams, DenseCRF2D, dense_crf
    from deeplab_caffe.inference import optimize
    from deeplab_caffe.net import Net
    from deeplab_caffe.proto import read_net
    from deeplab_caffe.segmentation import Segmenter
    from deeplab_caffe.solver import Solver
    from deeplab_caffe.zoo.one_call import segment

# The module of each name.
_NAMES = {
    "CRFParams": "deeplab_caffe.crf",
    "DenseCRF2D": "deeplab_caffe.crf",
    "Net": "deeplab_caffe.net",
    "Segmenter": "deeplab_caffe.segmentation",
    "Solver": "deeplab_caffe.solver",
    "dense_crf": "deeplab_caffe.crf",
    "read_net": "deeplab_caffe.proto",
    "optimize": "deeplab_caffe.inference",
    "segment": "deeplab_caffe.zoo.one_call",
}
_MODULES = (
    "arrays",
    "convert",
    "crf",
    "crf_search",
    "data",
    "errors",
    "evaluation",
    "experiment",
    "inference",
    "layers",
    "net",
    "ops",
    "proto",
    "pycaffe",
    "pydensecrf",
    "reference",
    "segmentation",
    "solver",
    "viz",
    "weak",
    "zoo",
)

__all__ = [
    "BoxError",
    "CRFError",
    "CRFParams",
    "CaffeModelError",
    "ConversionError",
    "DataError",
    "DeepLabCaffeError",
    "DenseCRF2D",
    "DownloadError",
    "EvaluationError",
    "KernelError",
    "Net",
    "NetError",
    "PrototxtError",
    "Segmenter",
    "Solver",
    "SolverError",
    "__version__",
    "dense_crf",
    "optimize",
    "read_net",
    "segment",
]


def _imported(name: str) -> Any:
    """Return a name of the package, imported at its first use."""
    if name in _NAMES:
        try:
            return getattr(importlib.import_module(_NAMES[name]), name)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            message = f"deeplab_caffe.{name} needs torch, which is not installed: {how_to_install('torch')}"
            raise ModuleNotFoundError(message, name="torch") from None
    if name in _MODULES:
        return importlib.import_module(f"deeplab_caffe.{name}")
    raise AttributeError(f"module 'deeplab_caffe' has no attribute '{name}'")


# Type checkers read the imports above: by this one any misspelt name would be one of the package.
if not TYPE_CHECKING:
    __getattr__ = _imported


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
