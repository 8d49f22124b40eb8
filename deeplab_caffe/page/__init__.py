"""A page in the browser for tuning the dense CRF on your own picture; only the page itself needs gradio."""

from __future__ import annotations

from deeplab_caffe.page.masks import Mask, read_mask
from deeplab_caffe.page.tuner import Curve, Refined, Tuner

__all__ = ["Curve", "Mask", "Refined", "Tuner", "read_mask"]
