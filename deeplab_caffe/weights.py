"""Weights into a net and out of it, under one short name: see :mod:`deeplab_caffe.net.weights`."""

from deeplab_caffe.net.tensors import WeightsWarning
from deeplab_caffe.net.weights import load_weights, save_weights

__all__ = ["WeightsWarning", "load_weights", "save_weights"]
