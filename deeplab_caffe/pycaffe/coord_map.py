"""The map between the pixel coordinates of two blobs: pycaffe's ``coord_map``, for the crops of FCNs.

A map is ``(axis, scale, shift)``: a pixel at ``x`` of a layer's bottom is at ``scale * x + shift`` of its top, in all
axes after ``axis`` (None: any axes). With kernel size k (for a dilated kernel its extent,
``(k - 1) * dilation + 1``), stride s and pad p, window i of a convolution begins at ``s * i - p``, and its centre is
the pixel

    x = s * i - p + (k - 1) / 2,  so  i = x / s + (p - (k - 1) / 2) / s.

A deconvolution is the inverse: ``i = s * x + (k - 1) / 2 - p``. The rules are those of
python/caffe/coord_map.py; J. Long, E. Shelhamer, T. Darrell, Fully Convolutional Networks, CVPR 2015, uses them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deeplab_caffe.errors import NetError
from deeplab_caffe.pycaffe.net_spec import Function, Top, layers

CoordMap = tuple[int | None, Any, Any]

# Layer types whose tops have their bottoms' coordinates, as python/caffe/coord_map.py has them.
PASS_THROUGH_LAYERS = [
    *("AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Log", "LRN", "Exp", "MVN", "Power"),
    *("ReLU", "PReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold"),
]
_IDENTITY: CoordMap = (None, 1, 0)
_PAIRS = ("pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w")


class UndefinedMapException(NetError):  # noqa: N818  # pycaffe's name
    """A layer's top has no coordinates in its bottom, as with InnerProduct."""


class AxisMismatchException(NetError):  # noqa: N818  # pycaffe's name
    """Two maps count from different axes."""


class CoordMapError(NetError, AssertionError, RuntimeError):
    """Two blobs are not connected, or one cannot be cropped to the other.

    pycaffe raises RuntimeError for the first and AssertionError for the second.
    """


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return axis, strides, extents of the kernel and pads of a convolution, deconvolution, Im2col or pooling.

    Raises:
        CoordMapError: the layer has no ``kernel_size``, or it has ``kernel_h``, ``pad_w`` or similar parameters.
    """
    name = "pooling_param" if fn.type_name == "Pooling" else "convolution_param"
    given = fn.params.get(name, fn.params)
    pairs = [pair for pair in _PAIRS if pair in given]
    if pairs or "kernel_size" not in given:
        found = ", ".join(pairs) or "none"
        raise CoordMapError(f"coord_map needs kernel_size (and pad, stride) of a {fn.type_name}, got {found}")
    kernel, dilation, stride, pad = (
        np.array(given.get(key, default), ndmin=1)
        for key, default in (("kernel_size", 1), ("dilation", 1), ("stride", 1), ("pad", 0))
    )
    return given.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """Return the axis (default 2) and the offsets of a Crop layer."""
    given = fn.params.get("crop_param", fn.params)
    return given.get("axis", 2), np.array(given.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> CoordMap:
    """Return the map from a layer's bottoms to its tops.

    Raises:
        UndefinedMapException: the layer's type has no map.
        CoordMapError: the layer's parameters do not determine the map.
    """
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        # Crop counts from the first axis that it crops, the others from the one before.
        return axis - 1, 1, -offset
    if fn.type_name in PASS_THROUGH_LAYERS:
        return _IDENTITY
    raise UndefinedMapException(f"{fn.type_name} has no coordinate map")


def compose(base_map: CoordMap, next_map: CoordMap) -> CoordMap:
    """Return the map ``base_map`` after ``next_map``: ``a1 * (a2 * x + b2) + b1``.

    Raises:
        AxisMismatchException: they count from different axes.
    """
    (axis, scale, shift), (next_axis, next_scale, next_shift) = base_map, next_map
    if axis is not None and next_axis is not None and axis != next_axis:
        raise AxisMismatchException(f"a map from axis {axis} and one from axis {next_axis} cannot be composed")
    return next_axis if axis is None else axis, scale * next_scale, scale * next_shift + shift


def inverse(coord_map: CoordMap) -> CoordMap:
    """Return the inverse map: ``(y - b) / a``."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def _ancestors(top: Top) -> Iterator[tuple[Top, CoordMap]]:
    """Yield a blob and its ancestors, the nearest first, each with the map from its coordinates to those of ``top``."""
    maps = {top: _IDENTITY}
    waiting = [top]
    for blob in waiting:
        yield blob, maps[blob]
        # Only the first bottom of a Crop is cropped; the second gives the size.
        bottoms = blob.fn.inputs[:1] if blob.fn.type_name == "Crop" else blob.fn.inputs
        for bottom in bottoms:
            if bottom not in maps:
                try:
                    maps[bottom] = compose(maps[blob], coord_map(blob.fn))
                except UndefinedMapException:
                    break
                waiting.append(bottom)


def coord_map_from_to(top_from: Top, top_to: Top) -> CoordMap:
    """Return the map from the coordinates of ``top_from`` to those of ``top_to``, through a common ancestor.

    All common ancestors are assumed to give the same map.

    Raises:
        CoordMapError: the blobs have no common ancestor that is reached without layers that lack coordinates.
        AxisMismatchException: layers between them count from different axes.
    """
    from_maps = dict(_ancestors(top_from))
    for blob, to_map in _ancestors(top_to):
        if blob in from_maps:
            return compose(to_map, inverse(from_maps[blob]))
    raise CoordMapError("there is no map between the blobs: are they connected by layers that have coordinates?")


def crop(top_from: Top, top_to: Top) -> Top:
    """Return the top of a Crop layer that crops ``top_from`` to the size and position of ``top_to``.

    Raises:
        CoordMapError: the blobs have no map, differ in scale, or the crop would begin outside or between pixels.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    shift = np.array(shift, ndmin=1)
    offset = np.round(-shift).astype(int)
    for wrong, what in (
        (not np.allclose(scale, 1), f"their scales differ by {np.ravel(scale).tolist()}"),
        ((offset < 0).any(), f"the crop would begin outside, at {offset.tolist()}"),
        (not np.allclose(-shift, offset), f"the crop would begin between pixels, at {(-shift).tolist()}"),
    ):
        if wrong:
            raise CoordMapError(f"a {top_from.fn.type_name} cannot be cropped to a {top_to.fn.type_name}: {what}")
    param = {"axis": 2 if axis is None else axis + 1, "offset": offset.tolist()}
    cropped: Top = layers.Crop(top_from, top_to, crop_param=param)
    return cropped
