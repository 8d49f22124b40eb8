"""The dense CRF of DeepLab v1: numpy in, numpy out, without torch.

>>> from deeplab_caffe.crf import CRFParams, dense_crf
>>> marginals = dense_crf(scores, image, CRFParams.for_model("DeepLab-LargeFOV"))  # (C, H, W), (H, W, 3)
>>> labels = marginals.argmax(axis=0)
"""

from __future__ import annotations

from deeplab_caffe.crf.inference import dense_crf, layer_inference
from deeplab_caffe.crf.lattice import Lattice
from deeplab_caffe.crf.memory import CRFMemoryError
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel
from deeplab_caffe.crf.presets import PRESETS, Preset, find_preset

__all__ = [
    "PRESETS",
    "CRFMemoryError",
    "CRFParams",
    "Lattice",
    "PairwiseKernel",
    "Preset",
    "dense_crf",
    "find_preset",
    "layer_inference",
]
