"""A network behind an image, under one short name: see :mod:`deeplab_caffe.segmentation`."""

from deeplab_caffe.segmentation import Segmentation, Segmenter

__all__ = ["Segmentation", "Segmenter"]
