"""pycaffe-compatible API with pycaffe's names: old scripts change one import.

>>> import deeplab_caffe.pycaffe as caffe
>>> net = caffe.Net("deploy.prototxt", "x.caffemodel", caffe.TEST)
>>> net.blobs["data"].data[...] = x
>>> net.forward()["fc8_interp"]
"""

from deeplab_caffe.layers import LAYERS
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe import io, proto
from deeplab_caffe.pycaffe.blob import Blob
from deeplab_caffe.pycaffe.classifier import Classifier
from deeplab_caffe.pycaffe.mode import set_device, set_mode_cpu, set_mode_gpu, set_random_seed
from deeplab_caffe.pycaffe.net import Net
from deeplab_caffe.pycaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    Timer,
    get_solver,
)

TRAIN = caffe_pb2.TRAIN
TEST = caffe_pb2.TEST


def layer_type_list() -> list[str]:
    """Return the names of the layer types that networks may be made of."""
    return sorted(LAYERS)


__all__ = [
    "TEST",
    "TRAIN",
    "AdaDeltaSolver",
    "AdaGradSolver",
    "AdamSolver",
    "Blob",
    "Classifier",
    "NesterovSolver",
    "Net",
    "RMSPropSolver",
    "SGDSolver",
    "Timer",
    "get_solver",
    "io",
    "layer_type_list",
    "proto",
    "set_device",
    "set_mode_cpu",
    "set_mode_gpu",
    "set_random_seed",
]
