"""From photograph to label map: :class:`Segmenter`."""

from deeplab_caffe.segmentation.segmenter import Segmentation, Segmenter

__all__ = ["Segmentation", "Segmenter"]
