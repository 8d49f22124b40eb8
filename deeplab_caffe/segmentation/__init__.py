"""Segment photographs: :class:`Segmenter` turns an image into a label map."""

import deeplab_caffe.arrays.needs_torch  # noqa: F401  # before what imports torch
from deeplab_caffe.segmentation.pipeline import in_order
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.segmenter import Segmenter

__all__ = ["Segmentation", "Segmenter", "in_order"]
