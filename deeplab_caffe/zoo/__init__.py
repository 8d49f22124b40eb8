"""The models of the papers: prototxts, published results, weights; and a small trained network with photographs."""

from __future__ import annotations

from deeplab_caffe.zoo.default import (
    CAMVID_MODEL,
    DEFAULT_MODEL,
    DEMO_PHOTO,
    DEMO_PHOTOS,
    EMBEDDED_MODELS,
    EmbeddedModel,
)
from deeplab_caffe.zoo.download import fetch
from deeplab_caffe.zoo.models import INIT_WEIGHTS, MODELS, OWN_MODELS, Model, RemoteFile, Score, find_model
from deeplab_caffe.zoo.paths import BASES, KINDS, LATER_NETWORKS, NETWORKS, OWN_NETWORKS, prototxt_path

__all__ = [
    "BASES",
    "CAMVID_MODEL",
    "DEFAULT_MODEL",
    "DEMO_PHOTO",
    "DEMO_PHOTOS",
    "EMBEDDED_MODELS",
    "INIT_WEIGHTS",
    "KINDS",
    "LATER_NETWORKS",
    "MODELS",
    "NETWORKS",
    "OWN_MODELS",
    "OWN_NETWORKS",
    "EmbeddedModel",
    "Model",
    "RemoteFile",
    "Score",
    "fetch",
    "find_model",
    "prototxt_path",
]
