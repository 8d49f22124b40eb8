"""The layer types: one class each, found by :func:`create_layer` through the type's name."""

from deeplab_caffe.layers import (
    channel,
    class_loss,
    common,
    crf,
    data,
    label,
    label_map,
    loss,
    neuron,
    norm,
    output,
    pair_loss,
    vision,
)
from deeplab_caffe.layers.base import LAYERS, Layer, Loss, NetContext, Shape, Window, create_layer, legacy_shape

__all__ = [
    "LAYERS",
    "Layer",
    "Loss",
    "NetContext",
    "Shape",
    "Window",
    "channel",
    "class_loss",
    "common",
    "create_layer",
    "crf",
    "data",
    "label",
    "label_map",
    "legacy_shape",
    "loss",
    "neuron",
    "norm",
    "output",
    "pair_loss",
    "vision",
]
