"""Pre- and post-processing in an ONNX model: from an image to the net's blob, from scores to labels."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from deeplab_caffe.data.classes import Classes
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.layers import ONNX_FLOAT, ONNX_INT64, ArgMaxFact, OnnxGraph
from deeplab_caffe.net import Net

# ONNX's number of this type (TensorProto.DataType).
UINT8 = 2
IMAGE, LABELS = "image", "labels"


@dataclass(frozen=True)
class Ends:
    """The parts of an ONNX model beside the net.

    Attributes:
        image_input: the model reads ``image``, uint8 RGB (N, H, W, 3), and subtracts the net's mean itself.
        label_output: the model outputs ``labels`` (N, H, W) instead of the scores: the class with the highest score at
            each pixel, and among equal scores the largest class, as in the ARGMAX layer; uint8, or int64 for more than
            256 classes.
        classes: names of the classes, written into the model's metadata as JSON, under ``classes``.
    """

    image_input: bool = False
    label_output: bool = False
    classes: Classes | None = None

    def check(self, net: Net) -> None:
        """Check that the net fits these options.

        Raises:
            ConversionError: the net has several inputs or outputs, its input is not an image with 3 channels, or its
                output is not scores of classes; or the number of names differs from that of the classes.
        """
        if self.image_input and (len(net.inputs) != 1 or net.blob_shapes[net.inputs[0]][1:2] != (3,)):
            raise ConversionError(f"net '{net.name}': an image is for a net with one input of 3 channels")
        if not (self.label_output or self.classes):
            return
        if len(net.outputs) != 1 or len(shape := net.blob_shapes[net.outputs[0]]) != 4:
            raise ConversionError(f"net '{net.name}': labels and names of classes are for one output of scores")
        last = [step.layer for step in net.steps if net.outputs[0] in step.tops][-1]
        if self.label_output and (shape[1] == 1 or isinstance(last.fact, ArgMaxFact)):
            raise ConversionError(f"net '{net.name}': its output has one channel, labels are the best of several")
        if self.classes and not isinstance(last.fact, ArgMaxFact) and shape[1] not in (1, len(self.classes)):
            raise ConversionError(f"{len(self.classes)} names of classes are given, net '{net.name}' has {shape[1]}")

    def metadata(self, net: Net) -> dict[str, str]:
        """Return the metadata of the model."""
        found = {"mean_value": json.dumps(net.mean_value)}
        return found | ({"classes": json.dumps(self.classes.names)} if self.classes else {})


def blob_of_image(graph: OnnxGraph, net: Net) -> str:
    """Add the conversion of ``image`` to the net's blob, B, G and R minus the mean; return the blob's name."""
    backwards = graph.constant("bgr", np.array([2, 1, 0], np.int64))
    bgr = graph.node("Gather", [IMAGE, backwards], axis=3)
    mean = graph.constant("mean", np.array(net.mean_value, np.float32))
    centred = graph.node("Sub", [graph.node("Cast", [bgr], to=ONNX_FLOAT), mean])
    return graph.node("Transpose", [centred], perm=[0, 3, 1, 2])


def labels_of_scores(graph: OnnxGraph, scores: str, num_classes: int) -> int:
    """Add ``labels``, the class with the highest score at each pixel; return ONNX's number of their type."""
    best = graph.node("ArgMax", [scores], axis=1, keepdims=0, select_last_index=1)
    kind = UINT8 if num_classes <= 256 else ONNX_INT64
    graph.nodes("Cast", [best], [LABELS], to=kind)
    return kind
