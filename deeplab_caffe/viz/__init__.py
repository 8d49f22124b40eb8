"""Colours and pictures: colour maps, overlays, legends."""

from __future__ import annotations

from deeplab_caffe.data.colormap import (
    CAMVID_CLASSES,
    CAMVID_COLORMAP,
    VOC_CLASSES,
    VOC_COLORMAP,
    voc_colormap,
)
from deeplab_caffe.viz.overlay import beside, colorize, legend, overlay

__all__ = [
    "CAMVID_CLASSES",
    "CAMVID_COLORMAP",
    "VOC_CLASSES",
    "VOC_COLORMAP",
    "beside",
    "colorize",
    "legend",
    "overlay",
    "voc_colormap",
]
