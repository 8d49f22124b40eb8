"""pycaffe's ``caffe.io``: conversions between images and blobs, and between arrays and messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.ndimage import zoom

from deeplab_caffe.data.io.images import load_image_samples
from deeplab_caffe.errors import DeepLabCaffeError, NetError, how_to_install
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe.messages import (
    array_to_blobproto,
    array_to_datum,
    arraylist_to_blobprotovecor_str,
    arraylist_to_blobprotovector_str,
    blobproto_to_array,
    blobprotovector_str_to_arraylist,
    datum_to_array,
)
from deeplab_caffe.pycaffe.paths import AnyPath, text_path

__all__ = [
    "Transformer",
    "array_to_blobproto",
    "array_to_datum",
    "arraylist_to_blobprotovecor_str",
    "arraylist_to_blobprotovector_str",
    "blobproto_to_array",
    "blobprotovector_str_to_arraylist",
    "caffe_pb2",
    "datum_to_array",
    "load_image",
    "oversample",
    "resize",
    "resize_image",
    "zoom",
]

# The luminance of R, G and B in scikit-image's rgb2gray, which pycaffe calls (ITU-R BT.709).
_BRIGHTNESS = np.array([0.2125, 0.7154, 0.0721])
_INSTALL = f"scikit-image, which is not installed: {how_to_install('scikit-image')}"


def __getattr__(name: str) -> ModuleType:
    """Return ``skimage``, because scripts use ``caffe.io.skimage``."""
    if name != "skimage":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    if _scikit_image("skimage.io") is None:
        raise ModuleNotFoundError(f"caffe.io.skimage is {_INSTALL}", name="skimage")
    return import_module("skimage")


def _scikit_image(module: str) -> ModuleType | None:
    """Import a module of scikit-image; return None if it is not installed."""
    try:
        import_module("skimage")
    except ModuleNotFoundError as error:
        if error.name != "skimage":
            raise
        return None
    return import_module(module)


def load_image(filename: AnyPath, color: bool = True) -> np.ndarray:
    """Read an image as float32 in [0, 1]: (H, W, 3) RGB, or (H, W, 1) with ``color=False``.

    8-bit samples are divided by 255, 16-bit grey samples by 65535, as by scikit-image's ``img_as_float``.

    Raises:
        DataError: the file is not a readable image.
    """
    pixels = load_image_samples(text_path(filename))
    white = np.iinfo(pixels.dtype).max
    if color:
        return pixels.astype(np.float32) / white
    if pixels.strides[2] == 0 or (pixels == pixels[..., :1]).all():
        return pixels[..., :1].astype(np.float32) / white
    grey: np.ndarray = pixels @ _BRIGHTNESS / white
    return grey[..., np.newaxis].astype(np.float32)


def resize_image(im: np.ndarray, new_dims: Sequence[int] | np.ndarray, interp_order: int = 1) -> np.ndarray:
    """Resize an image (H, W, K) by spline interpolation of the given order.

    Images of one or three channels are resized with aligned edges, as pycaffe does with scikit-image's
    ``resize(mode="constant")``: the image is padded with its smallest number, which mixes into the border when the
    image is enlarged, and it is not blurred before it is reduced (scikit-image before 0.15). Other images are resized
    with aligned corners (``scipy.ndimage.zoom``).

    Args:
        im: the image.
        new_dims: the new height and width; of one or three channels also the whole new shape, which scikit-image takes.
        interp_order: order of the splines.

    Returns:
        float32 (new_dims[0], new_dims[1], K), a copy.

    Raises:
        NetError: the array is not an image (H, W, K), or the new size is not two positive numbers.
    """
    image = np.asarray(im)
    size = tuple(int(dim) for dim in new_dims)
    if image.shape[2:] == size[2:] and image.shape[2:] in ((1,), (3,)):
        size = size[:2]
    if image.ndim != 3 or not image.size:
        raise NetError(f"resize_image: expected an image (H, W, K), got an array of shape {image.shape}")
    if len(size) != 2 or min(size) < 1:
        raise NetError(f"resize_image: expected the new (height, width), got {size}")
    if image.shape[:2] == size:
        return image.astype(np.float32)
    image = image.astype(np.float64)
    factors = (size[0] / image.shape[0], size[1] / image.shape[1], 1)
    if image.shape[2] not in (1, 3):
        return np.asarray(ndimage.zoom(image, factors, order=interp_order), np.float32)
    return _resized(image, factors, interp_order, image.min()).astype(np.float32)


def _resized(image: np.ndarray, factors: Sequence[float], order: int, outside: float) -> np.ndarray:
    """Resize a float64 image with aligned edges, padded with ``outside``."""
    found: np.ndarray = ndimage.zoom(image, factors, order=order, mode="grid-constant", cval=outside, grid_mode=True)
    # Splines of higher order overshoot, and the padding may be below the image's range: the range is kept.
    return found.clip(image.min(), image.max())


def resize(image: np.ndarray, output_shape: Sequence[int] | np.ndarray, order: int = 1, **options: Any) -> np.ndarray:
    """Call scikit-image's ``resize``; without scikit-image do the same as its default of 2014 to 2018.

    In that case the image is padded with zeros, resized with aligned edges, and not blurred before it is reduced.

    Args:
        image: (H, W) or (H, W, C).
        output_shape: (height, width) or (height, width, C).
        order: order of the interpolation: 0 is nearest, 1 linear; only scikit-image has higher orders.
        **options: ``preserve_range``; other options need scikit-image.

    Returns:
        float64; integers are scaled to [0, 1] unless ``preserve_range``.

    Raises:
        DeepLabCaffeError: the arguments need scikit-image, which is not installed.
        NetError: the shapes do not fit each other.
    """
    theirs = _scikit_image("skimage.transform")
    if theirs is not None:
        return np.asarray(theirs.resize(image, output_shape, order=order, **options))
    pixels = np.asarray(image)
    size = tuple(int(dim) for dim in output_shape)
    preserve_range = options.pop("preserve_range", False)
    if order not in (0, 1) or options or pixels.ndim not in (2, 3) or size[2:] not in ((), pixels.shape[2:]):
        asked = "".join(f", {key}={value!r}" for key, value in options.items())
        raise DeepLabCaffeError(
            f"resize of an image {pixels.shape} to {size}, order={order}{asked}: only (H, W) or (H, W, C) to (H, W) or "
            f"(H, W, C) of as many channels, by order 0 or 1, goes without {_INSTALL}"
        )
    if len(size) < 2 or min(size) < 1 or not pixels.size:
        raise NetError(f"resize: expected an image and its new (height, width), got {pixels.shape} and {size}")
    scale = 1.0
    if pixels.dtype.kind in "iu" and not preserve_range:
        scale = float(np.iinfo(pixels.dtype).max)
    elif pixels.dtype.kind not in "biuf":
        raise NetError(f"resize: expected real numbers, got {pixels.dtype}")
    factors = [new / old for new, old in zip(size[:2], pixels.shape[:2], strict=True)] + [1.0] * (pixels.ndim - 2)
    return _resized(pixels.astype(np.float64) / scale, factors, order, 0.0)


def oversample(images: Iterable[np.ndarray], crop_dims: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the crops at the corners and the centre of images (H, W, K), and their mirror images.

    Returns:
        (10 * N, crop_h, crop_w, K).

    Raises:
        NetError: there are no images, they differ in size, or are smaller than the crop.
    """
    images = [np.asarray(image) for image in images]
    crop_h, crop_w = (int(size) for size in crop_dims)
    shapes = sorted({image.shape for image in images})
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise NetError(f"oversample: expected images (H, W, K) of one size, got {shapes}")
    height, width = shapes[0][:2]
    if crop_h > height or crop_w > width:
        raise NetError(f"oversample: a crop of {crop_h} x {crop_w} does not fit into images of {height} x {width}")
    corners = [(y, x) for y in (0, height - crop_h) for x in (0, width - crop_w)]
    corners.append(((height - crop_h) // 2, (width - crop_w) // 2))
    crops = []
    for image in images:
        plain = [image[y : y + crop_h, x : x + crop_w] for y, x in corners]
        crops += plain + [crop[:, ::-1] for crop in plain]
    return np.stack(crops).astype(np.float32)


class Transformer:
    """Convert images in the form of :func:`load_image` to input blobs, and back.

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
        """Set the order of the axes, e.g. (2, 0, 1) from (H, W, K) to (K, H, W).

        Raises:
            NetError: there is no such input, or the order is not one of its axes behind the first.
        """
        self._check(in_)
        if sorted(order) != list(range(len(self.inputs[in_]) - 1)):
            raise NetError(f"transpose of '{in_}' must order {len(self.inputs[in_]) - 1} axes, got {tuple(order)}")
        self.transpose[in_] = tuple(order)

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of the channels, e.g. (2, 1, 0) from RGB to BGR.

        Raises:
            NetError: there is no such input, or the order is not one of its channels.
        """
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
        """Set the mean to subtract.

        Args:
            in_: the input's name.
            mean: (C,) or (C, 1, 1), one number per channel, or an image (C, H, W), which is resized to the blob's
                size. (H, W) or C = 1 applies to all channels.

        Raises:
            NetError: there is no such input, or the mean has another shape.
        """
        self._check(in_)
        channels, *size = self.inputs[in_][1:]
        found = np.asarray(mean, np.float32)
        if found.ndim in (1, 2):
            found = found[:, np.newaxis, np.newaxis] if found.ndim == 1 else found[np.newaxis]
        if found.ndim != 3:
            raise NetError(f"mean of '{in_}' must be ({channels},) or ({channels}, H, W), got {found.shape}")
        if found.shape[0] not in (1, channels):
            raise NetError(f"mean of '{in_}' needs {channels} channels, got {found.shape[0]} in {np.shape(mean)}")
        if list(found.shape[1:]) not in ([1, 1], size):
            found = resize_image(found.transpose(1, 2, 0), size).transpose(2, 0, 1)
        self.mean[in_] = found

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set the factor after the mean is subtracted."""
        self._check(in_)
        self.input_scale[in_] = scale

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Return an image (H, W, K) as one item (C, H, W) of the blob.

        Raises:
            NetError: the image has other axes or channels than were set.
        """
        self._check(in_)
        item = np.asarray(data, np.float32)
        size = tuple(self.inputs[in_][2:])
        if item.shape[:2] != size:
            item = resize_image(item, size)
        if in_ in self.transpose:
            if item.ndim != len(self.transpose[in_]):
                raise NetError(f"preprocess: expected an image (H, W, K) for '{in_}', got shape {item.shape}")
            item = item.transpose(self.transpose[in_])
        swap, mean = self.channel_swap.get(in_), self.mean.get(in_)
        for part, what in ((swap, "channel swap"), (mean, "mean")):
            # Not what the input has: scripts write another shape into `inputs`.
            if part is not None and len(part) not in (1, len(item)):
                raise NetError(
                    f"preprocess: '{in_}' takes {len(part)} channels, the image has {len(item)}: see its {what}"
                )
        if swap is not None:
            item = item[list(swap)]
        if in_ in self.raw_scale:
            item = item * np.float32(self.raw_scale[in_])
        if mean is not None:
            item = item - mean
        if in_ in self.input_scale:
            item = item * np.float32(self.input_scale[in_])
        return np.ascontiguousarray(item, np.float32)

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """Undo :meth:`preprocess`, except the resizing."""
        self._check(in_)
        item = np.array(data, np.float32)
        if in_ in self.transpose:
            # Remove the batch axis of one item, for any number of channels.
            while item.ndim > len(self.transpose[in_]) and item.shape[0] == 1:
                item = item[0]
        else:
            item = item.squeeze()
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
