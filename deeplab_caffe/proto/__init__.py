"""Reading and writing prototxt text and caffemodel binaries; every layout is upgraded to the inner form, which is V2's.

Four packages: ``schema`` (messages and tables), ``text`` (parsing and line numbers), ``upgrade`` (from older layouts to
the inner form, and from there to a dialect), ``binary`` (files).
"""

from __future__ import annotations

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.binary.blobs import ModelBlob
from deeplab_caffe.proto.binary.model import CaffeModel, ModelLayer
from deeplab_caffe.proto.binary.states import SolverSnapshot, read_blob, read_solverstate
from deeplab_caffe.proto.binary.write import write_blob, write_caffemodel, write_solverstate
from deeplab_caffe.proto.dialect import V1, V2, Dialect, dialect_of
from deeplab_caffe.proto.nets import filter_net
from deeplab_caffe.proto.read import format_message, parse_net, parse_solver, read_net, read_solver
from deeplab_caffe.proto.splits import insert_splits
from deeplab_caffe.proto.text.lines import LayerLines
from deeplab_caffe.proto.upgrade.net import has_inputs, upgrade_net, upgrade_solver

__all__ = [
    "V1",
    "V2",
    "CaffeModel",
    "Dialect",
    "LayerLines",
    "ModelBlob",
    "ModelLayer",
    "SolverSnapshot",
    "caffe_pb2",
    "dialect_of",
    "filter_net",
    "format_message",
    "has_inputs",
    "insert_splits",
    "parse_net",
    "parse_solver",
    "read_blob",
    "read_net",
    "read_solver",
    "read_solverstate",
    "upgrade_net",
    "upgrade_solver",
    "write_blob",
    "write_caffemodel",
    "write_solverstate",
]
