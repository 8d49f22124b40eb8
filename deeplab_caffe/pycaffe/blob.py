"""The blobs of pycaffe's nets, under the module's former name."""

from deeplab_caffe.layers import Blob, ParameterBlob

__all__ = ["Blob", "ParameterBlob"]
