"""A short name for :mod:`deeplab_caffe.net.weights`: loading and saving of weights."""

from deeplab_caffe.net.tensors import WeightsWarning
from deeplab_caffe.net.weights import load_weights, save_weights

__all__ = ["WeightsWarning", "load_weights", "save_weights"]
