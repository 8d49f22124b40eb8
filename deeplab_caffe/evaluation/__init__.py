"""How good a segmentation is."""

from __future__ import annotations

from deeplab_caffe.evaluation.confusion import ConfusionMatrix

__all__ = ["ConfusionMatrix"]
