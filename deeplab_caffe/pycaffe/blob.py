"""The blobs of pycaffe's nets, under the name that they had first."""

from deeplab_caffe.layers import Blob, ParameterBlob

__all__ = ["Blob", "ParameterBlob"]
