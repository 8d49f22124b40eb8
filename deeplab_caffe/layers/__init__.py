"""The layer types: one class each, found by :func:`create_layer` through the type's name."""

from deeplab_caffe.layers import common, crf, data, label, loss, neuron, vision
from deeplab_caffe.layers.base import LAYERS, Layer, NetContext, Shape, Window, create_layer, legacy_shape

__all__ = [
    "LAYERS",
    "Layer",
    "NetContext",
    "Shape",
    "Window",
    "common",
    "create_layer",
    "crf",
    "data",
    "label",
    "legacy_shape",
    "loss",
    "neuron",
    "vision",
]
