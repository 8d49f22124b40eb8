"""Evaluation of segmentations: accuracy, mean IoU, trimaps, reports."""

from __future__ import annotations

from deeplab_caffe.data.classes import Classes, find_classes
from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.evaluation.evaluate import Evaluation, ImagePair, ImageResult, evaluate, find_pairs, read_ids
from deeplab_caffe.evaluation.metrics import RULES, Metrics, Rule, measure
from deeplab_caffe.evaluation.predictions import detect_kind, first_maximum, read_prediction
from deeplab_caffe.evaluation.trimap import Trimap

__all__ = [
    "RULES",
    "Classes",
    "ConfusionMatrix",
    "Evaluation",
    "ImagePair",
    "ImageResult",
    "Metrics",
    "Rule",
    "Trimap",
    "detect_kind",
    "evaluate",
    "find_classes",
    "find_pairs",
    "first_maximum",
    "measure",
    "read_ids",
    "read_prediction",
]
