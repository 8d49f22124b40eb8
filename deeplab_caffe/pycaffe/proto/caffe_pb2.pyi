"""Types of the protobuf messages. Written by ``python -m tools.stubs``: do not edit."""

from deeplab_caffe.proto.caffe_pb2 import *
