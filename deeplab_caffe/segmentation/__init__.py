"""From photograph to label map: :class:`Segmenter`."""

from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.segmenter import Segmenter

__all__ = ["Segmentation", "Segmenter"]
