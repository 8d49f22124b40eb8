"""A page in the browser on which the dense CRF is tuned on one's own picture; all but the page works without gradio."""

from __future__ import annotations

from deeplab_caffe.page.masks import Mask, read_mask
from deeplab_caffe.page.tuner import Curve, Refined, Tuner

__all__ = ["Curve", "Mask", "Refined", "Tuner", "read_mask"]
