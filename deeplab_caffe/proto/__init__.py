"""prototxt text and caffemodel binaries, read and written; every layout upgraded to DeepLab v1's NetParameter."""

from __future__ import annotations

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.blobs import ModelBlob
from deeplab_caffe.proto.caffemodel import CaffeModel, ModelLayer
from deeplab_caffe.proto.names import enum_name, modern_name, type_name
from deeplab_caffe.proto.rules import filter_net
from deeplab_caffe.proto.splits import insert_splits
from deeplab_caffe.proto.states import SolverSnapshot, read_blob, read_solverstate
from deeplab_caffe.proto.text import format_message, parse_net, parse_solver, read_net, read_solver
from deeplab_caffe.proto.write import write_blob, write_caffemodel, write_solverstate

__all__ = [
    "CaffeModel",
    "ModelBlob",
    "ModelLayer",
    "SolverSnapshot",
    "caffe_pb2",
    "enum_name",
    "filter_net",
    "format_message",
    "insert_splits",
    "modern_name",
    "parse_net",
    "parse_solver",
    "read_blob",
    "read_net",
    "read_solver",
    "read_solverstate",
    "type_name",
    "write_blob",
    "write_caffemodel",
    "write_solverstate",
]
