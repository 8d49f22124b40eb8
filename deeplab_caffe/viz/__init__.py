"""Colours and pictures: colour maps, overlays, outlines, legends."""

from __future__ import annotations

from deeplab_caffe.data.colormap import (
    CAMVID_CLASSES,
    CAMVID_COLORMAP,
    VOC_CLASSES,
    VOC_COLORMAP,
    distinct_colormap,
    voc_colormap,
)
from deeplab_caffe.viz.legend import annotated, legend
from deeplab_caffe.viz.overlay import beside, colorize, outlined, overlay

__all__ = [
    "CAMVID_CLASSES",
    "CAMVID_COLORMAP",
    "VOC_CLASSES",
    "VOC_COLORMAP",
    "annotated",
    "beside",
    "colorize",
    "distinct_colormap",
    "legend",
    "outlined",
    "overlay",
    "voc_colormap",
]
