"""pycaffe-compatible API with pycaffe's names: old scripts change one import.

>>> import deeplab_caffe.pycaffe as caffe
>>> net = caffe.Net("deploy.prototxt", "x.caffemodel", caffe.TEST)
>>> net.blobs["data"].data[...] = x
>>> net.forward()["fc8_interp"]
"""

import sys

from deeplab_caffe.layers import LAYERS, Blob, BlobVec
from deeplab_caffe.layers import UserLayer as Layer
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe import coord_map, draw, io, net_spec, proto
from deeplab_caffe.pycaffe.aliasing import install_as_caffe
from deeplab_caffe.pycaffe.classifier import Classifier
from deeplab_caffe.pycaffe.detector import Detector
from deeplab_caffe.pycaffe.mode import (
    set_device,
    set_mode_cpu,
    set_mode_gpu,
    set_phase_test,
    set_phase_train,
    set_random_seed,
)
from deeplab_caffe.pycaffe.net import Net
from deeplab_caffe.pycaffe.net_spec import NetSpec, layers, params, to_proto
from deeplab_caffe.pycaffe.process import (
    NCCL,
    has_nccl,
    init_log,
    log,
    set_logging_disabled,
    set_multiprocess,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from deeplab_caffe.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from deeplab_caffe.pycaffe.timing import Timer

# The version of pycaffe with these names; deeplab_caffe.__version__ is the package's version.
__version__ = "1.0.0"

# Scripts use these names of pycaffe's C++ and Python modules: `caffe._caffe.BlobVec`, `caffe.pycaffe.Net`.
_caffe = pycaffe = sys.modules[__name__]
Solver = SGDSolver

TRAIN = caffe_pb2.TRAIN
TEST = caffe_pb2.TEST


def layer_type_list() -> list[str]:
    """Return the names of the layer types that a network may have."""
    # Input is not among LAYERS: it stands for the inputs of a net.
    return sorted({*LAYERS, "Input"})


__all__ = [
    "NCCL",
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "BlobVec",
    "Classifier",
    "Detector",
    "Layer",
    "NesterovSolver",
    "Net",
    "NetSpec",
    "RMSPropSolver",
    "SGDSolver",
    "Solver",
    "Timer",
    "coord_map",
    "draw",
    "get_solver",
    "has_nccl",
    "init_log",
    "install_as_caffe",
    "io",
    "layer_type_list",
    "layers",
    "log",
    "net_spec",
    "params",
    "proto",
    "set_device",
    "set_logging_disabled",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_multiprocess",
    "set_phase_test",
    "set_phase_train",
    "set_random_seed",
    "set_solver_count",
    "set_solver_rank",
    "solver_count",
    "solver_rank",
    "to_proto",
]
