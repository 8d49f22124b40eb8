"""A short name for :mod:`deeplab_caffe.segmentation`."""

from deeplab_caffe.segmentation import Segmentation, Segmenter

__all__ = ["Segmentation", "Segmenter"]
