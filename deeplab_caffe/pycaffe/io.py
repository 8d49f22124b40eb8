"""pycaffe's ``caffe.io``: images in and out of blobs, and arrays in and out of messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
from scipy import ndimage

from deeplab_caffe.data import load_grey
from deeplab_caffe.data import load_image as load_rgb
from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2


def load_image(filename: str | PathLike[str], color: bool = True) -> np.ndarray:
    """Read an image as float32 in [0, 1]: (H, W, 3) RGB, or (H, W, 1) with ``color=False``.

    Raises:
        DataError: the file is not a readable image.
    """
    image = load_rgb(filename) if color else load_grey(filename)[..., np.newaxis]
    return image.astype(np.float32) / 255


def resize_image(im: np.ndarray, new_dims: tuple[int, int], interp_order: int = 1) -> np.ndarray:
    """Bring an image (H, W, K) to another size, pixel areas on pixel areas, by spline interpolation of the given order.

    Returns:
        float32 (new_dims[0], new_dims[1], K).
    """
    if im.shape[:2] == tuple(new_dims):
        return im.astype(np.float32)
    factors = (new_dims[0] / im.shape[0], new_dims[1] / im.shape[1], 1)
    resized: np.ndarray = ndimage.zoom(
        im.astype(np.float64), factors, order=interp_order, mode="mirror", grid_mode=True
    )
    # Splines of higher order overshoot; an image keeps its range.
    return resized.clip(im.min(), im.max()).astype(np.float32)


def oversample(images: Sequence[np.ndarray] | np.ndarray, crop_dims: Sequence[int] | np.ndarray) -> np.ndarray:
    """Four corners, centre, and their mirror images of each image (H, W, K): (10 * N, crop_h, crop_w, K)."""
    height, width = images[0].shape[:2]
    crop_h, crop_w = (int(size) for size in crop_dims)
    corners = [(y, x) for y in (0, height - crop_h) for x in (0, width - crop_w)]
    corners.append(((height - crop_h) // 2, (width - crop_w) // 2))
    crops = []
    for image in images:
        plain = [image[y : y + crop_h, x : x + crop_w] for y, x in corners]
        crops += plain + [crop[:, ::-1] for crop in plain]
    return np.stack(crops).astype(np.float32)


class Transformer:
    """From images as :func:`load_image` gives them to input blobs, and back.

    In order: resize to the blob's size, transpose, swap channels, raw scale, subtract the mean, input scale.

    Args:
        inputs: blob names and their shapes (N, C, H, W).
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = {name: tuple(shape) for name, shape in inputs.items()}
        self.transpose: dict[str, tuple[int, ...]] = {}
        self.channel_swap: dict[str, tuple[int, ...]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise NetError(f"'{in_}' is not one of the net's inputs: {list(self.inputs)}")

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the axes, e.g. (2, 0, 1) from (H, W, K) to (K, H, W)."""
        self._check(in_)
        if sorted(order) != list(range(len(self.inputs[in_]) - 1)):
            raise NetError(f"transpose of '{in_}' must order {len(self.inputs[in_]) - 1} axes, got {tuple(order)}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the channels, e.g. (2, 1, 0) from RGB to BGR."""
        self._check(in_)
        channels = self.inputs[in_][1]
        if len(order) != channels or not set(order) <= set(range(channels)):
            raise NetError(f"channel_swap of '{in_}' needs {channels} channels, got {tuple(order)}")
        self.channel_swap[in_] = tuple(order)

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set the factor before the mean is subtracted, e.g. 255 for images in [0, 1] and means in [0, 255]."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """Set what to subtract: (C,), or (C, H, W) of the blob's size."""
        self._check(in_)
        mean = np.asarray(mean, np.float32)
        channels = self.inputs[in_][1]
        if mean.ndim == 1:
            if mean.shape[0] not in (1, channels):
                raise NetError(f"mean of '{in_}' needs {channels} channels, got {mean.shape[0]}")
            mean = mean[:, np.newaxis, np.newaxis]
        elif mean.shape != self.inputs[in_][1:]:
            raise NetError(f"mean of '{in_}' must be {self.inputs[in_][1:]}, got {mean.shape}")
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean is subtracted."""
        self._check(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Return an image (H, W, K) as one item (C, H, W) of the blob."""
        self._check(in_)
        item = np.asarray(data, np.float32)
        size = self.inputs[in_][2], self.inputs[in_][3]
        if item.shape[:2] != size:
            item = resize_image(item, size)
        if in_ in self.transpose:
            item = item.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            item = item[list(self.channel_swap[in_])]
        if in_ in self.raw_scale:
            item = item * np.float32(self.raw_scale[in_])
        if in_ in self.mean:
            item = item - self.mean[in_]
        if in_ in self.input_scale:
            item = item * np.float32(self.input_scale[in_])
        return np.ascontiguousarray(item, np.float32)

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Undo :meth:`preprocess`, but for the size."""
        self._check(in_)
        item = np.array(data, np.float32).squeeze()
        if in_ in self.input_scale:
            item = item / np.float32(self.input_scale[in_])
        if in_ in self.mean:
            item = item + self.mean[in_]
        if in_ in self.raw_scale:
            item = item / np.float32(self.raw_scale[in_])
        if in_ in self.channel_swap:
            item = item[np.argsort(self.channel_swap[in_])]
        if in_ in self.transpose:
            item = item.transpose(np.argsort(self.transpose[in_]))
        return item


def blobproto_to_array(blob: caffe_pb2.BlobProto, return_diff: bool = False) -> np.ndarray:
    """Return a BlobProto's numbers, float32 (num, channels, height, width)."""
    values = blob.diff if return_diff else blob.data
    return np.array(values, np.float32).reshape(blob.num, blob.channels, blob.height, blob.width)


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> caffe_pb2.BlobProto:
    """Return a BlobProto of a 4-D array.

    Raises:
        ValueError: the array is not 4-D.
    """
    if arr.ndim != 4:
        raise ValueError(f"expected an array of 4 dimensions, got {arr.ndim}")
    num, channels, height, width = arr.shape
    blob = caffe_pb2.BlobProto(num=num, channels=channels, height=height, width=width)
    blob.data.extend(np.asarray(arr, np.float32).ravel().tolist())
    if diff is not None:
        blob.diff.extend(np.asarray(diff, np.float32).ravel().tolist())
    return blob


def array_to_datum(arr: np.ndarray, label: int = 0) -> caffe_pb2.Datum:
    """Return a Datum of an array (C, H, W): bytes for uint8, floats otherwise."""
    if arr.ndim != 3:
        raise ValueError(f"expected an array of 3 dimensions, got {arr.ndim}")
    datum = caffe_pb2.Datum(channels=arr.shape[0], height=arr.shape[1], width=arr.shape[2], label=label)
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(np.asarray(arr, np.float32).ravel().tolist())
    return datum


def datum_to_array(datum: caffe_pb2.Datum) -> np.ndarray:
    """Return the array (C, H, W) of a Datum."""
    shape = (datum.channels, datum.height, datum.width)
    if datum.data:
        return np.frombuffer(datum.data, np.uint8).reshape(shape).copy()
    return np.array(datum.float_data, np.float32).reshape(shape)
