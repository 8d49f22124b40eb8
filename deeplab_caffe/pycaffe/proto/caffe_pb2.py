"""The messages of :mod:`deeplab_caffe.proto.caffe_pb2` under the name that scripts for pycaffe import."""

from __future__ import annotations

from deeplab_caffe.proto.caffe_pb2 import *  # noqa: F403
from deeplab_caffe.proto.caffe_pb2 import __all__  # noqa: F401
