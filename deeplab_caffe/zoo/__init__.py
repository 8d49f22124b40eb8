"""The networks that come with the package: the released prototxts, and a small trained network with a photograph."""

from __future__ import annotations

from deeplab_caffe.zoo.default import DEFAULT_MODEL, DEMO_PHOTO, EmbeddedModel
from deeplab_caffe.zoo.paths import NETWORKS, prototxt_path

__all__ = ["DEFAULT_MODEL", "DEMO_PHOTO", "NETWORKS", "EmbeddedModel", "prototxt_path"]
