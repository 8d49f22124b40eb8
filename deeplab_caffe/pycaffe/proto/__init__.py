"""``from deeplab_caffe.pycaffe.proto import caffe_pb2``, as scripts for pycaffe import it."""

from __future__ import annotations

from deeplab_caffe.pycaffe.proto import caffe_pb2

__all__ = ["caffe_pb2"]
