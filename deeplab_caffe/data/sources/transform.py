"""Transform a photograph and its label map into a net's blobs: DataTransformer.

The rule is the original's (data_transformer.cpp, TransformImgAndSeg, lines 309-464): pad at the bottom and right up to
``crop_size``, the image with the mean and the labels with ``ignore_label``; crop, at a random place in TRAIN and in the
middle in TEST; mirror; subtract the mean, and multiply by ``scale``. Channels are in B, G, R order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from deeplab_caffe.data.sources.distort import NO_DISTORTION, Distortion
from deeplab_caffe.errors import NetError

Phase = Literal["TRAIN", "TEST"]

# Mean of ImageNet's pixels in B, G, R order, as in DeepLab's prototxt files.
IMAGENET_MEAN_BGR = (104.008, 116.669, 122.675)


@dataclass(frozen=True)
class Placement:
    """Mirroring and crop position of one image, chosen at random (TRAIN) or in the middle (TEST).

    Attributes:
        mirror: whether the crop is mirrored, padding included.
        h_off: first row of the crop in the padded image.
        w_off: first column of the crop in the padded image.
    """

    mirror: bool = False
    h_off: int = 0
    w_off: int = 0


@dataclass(frozen=True)
class SegTransform:
    """TransformationParameter and the phase.

    Attributes:
        phase: ``"TRAIN"`` crops at random, ``"TEST"`` in the middle.
        crop_size: side of the square crop; 0: no crop.
        crop_pair: (height, width) of the crop, instead of ``crop_size``.
        scale_factors: one of these, drawn at random in both phases, resizes the image before the crop; empty: none.
        mirror: mirror half of the images at random (in both phases, as in the original).
        mean_value: one value, or one per channel in B, G, R order; empty: no mean.
        scale: factor after the mean is subtracted.
        mean_image: a mean for every pixel, float32 ``(C, H, W)``, instead of ``mean_value``.
        distortion: changes of the image's colours before it is resized, in both phases.
    """

    phase: Phase = "TEST"
    crop_size: int = 0
    mirror: bool = False
    mean_value: tuple[float, ...] = ()
    scale: float = 1.0
    mean_image: np.ndarray | None = field(default=None, repr=False, compare=False)
    crop_pair: tuple[int, int] = (0, 0)
    scale_factors: tuple[float, ...] = ()
    distortion: Distortion = NO_DISTORTION

    def __post_init__(self) -> None:
        if self.phase not in get_args(Phase):
            raise ValueError(f"phase must be {' or '.join(get_args(Phase))}, got {self.phase!r}")

    @classmethod
    def from_param(cls, transform_param: Any, phase: Phase) -> SegTransform:
        """Read a TransformationParameter message, and the mean image if it names one.

        Raises:
            NetError: both ``mean_file`` and ``mean_value`` are given, or a parameter has no meaning here.
            CaffeModelError: the mean file cannot be read.
        """
        mean_image = None
        if transform_param.scale_factors:
            raise NetError("scale_factors are for ImageSegData")
        if transform_param.HasField("distort_param"):
            raise NetError("distort_param is for ImageSegData")
        crop = crop_of(transform_param)
        if crop[0] != crop[1]:
            raise NetError(f"crop_height and crop_width must be equal here, got {crop[0]} and {crop[1]}")
        if transform_param.mean_file:
            if transform_param.mean_value:
                raise NetError("mean_file and mean_value exclude each other")
            mean_image = read_mean(transform_param.mean_file)
        return cls(
            phase,
            crop[0],
            transform_param.mirror,
            tuple(transform_param.mean_value),
            transform_param.scale,
            mean_image,
        )

    @property
    def crop(self) -> tuple[int, int]:
        """Return (height, width) of the crop; 0 for no crop."""
        return self.crop_pair if self.crop_pair[0] else (self.crop_size, self.crop_size)

    @property
    def needs_rand(self) -> bool:
        """Return whether a random generator is needed (DataTransformer::InitRand)."""
        return self.words_per_image > 0

    @property
    def words_per_image(self) -> int:
        """Return the number of random words per image: for :meth:`factor`, :meth:`place` and :meth:`distorted`."""
        crops_at_random = self.phase == "TRAIN" and self.crop[0] > 0
        return int(self.mirror) + bool(self.scale_factors) + 2 * crops_at_random + self.distortion.words

    def distorted(self, image: np.ndarray, words: Sequence[int]) -> np.ndarray:
        """Change the colours of an image, uint8 ``(H, W, 3)`` or ``(H, W)``, by the last of its random words."""
        return self.distortion.apply(image, words[len(words) - self.distortion.words :])

    def factor(self, words: Sequence[int]) -> float:
        """Choose one of the scale factors by an image's random words; 1 if there are none."""
        if not self.scale_factors:
            return 1.0
        return self.scale_factors[words[int(self.mirror)] % len(self.scale_factors)]

    def means(self, channels: int) -> np.ndarray:
        """Return the mean of every channel, float32 ``(channels,)``.

        Raises:
            NetError: there is neither one value nor one per channel.
        """
        validate_means(self.mean_value, channels)
        return np.broadcast_to(np.asarray(self.mean_value or (0,), np.float32), (channels,))

    def place(self, height: int, width: int, words: Sequence[int]) -> Placement:
        """Choose mirroring and offsets for an image of this size by its random words, in this order."""
        drawn = iter(words)
        mirror = self.mirror and next(drawn) % 2 == 1
        if self.scale_factors:
            next(drawn)
        crop_height, crop_width = self.crop
        if crop_height == 0:
            return Placement(mirror)
        spare_height, spare_width = max(height - crop_height, 0), max(width - crop_width, 0)
        if self.phase == "TRAIN":
            return Placement(mirror, next(drawn) % (spare_height + 1), next(drawn) % (spare_width + 1))
        return Placement(mirror, spare_height // 2, spare_width // 2)

    def check(self, shape: tuple[int, int, int], *, pads: bool) -> None:
        """Check that an image fits.

        Args:
            shape: the image's ``(C, H, W)``.
            pads: whether the image may be smaller than the crop.

        Raises:
            ValueError: the image does not fit the mean, or is smaller than ``crop_size`` although ``pads`` is False.
        """
        self.means(shape[0])
        if self.mean_image is not None and self.mean_image.shape != shape:
            raise ValueError(f"the image is {shape} (channels, height, width), the mean file's {self.mean_image.shape}")
        if (shape[1] < self.crop[0] or shape[2] < self.crop[1]) and not (pads and self.mean_image is None):
            raise ValueError(f"the image is {shape[1]} x {shape[2]} (height x width), crop_size is {self.crop_size}")

    def image_into(self, image: np.ndarray, placement: Placement, out: np.ndarray) -> None:
        """Write one image into its item of the data blob.

        Args:
            image: uint8 RGB ``(H, W, 3)`` or grey ``(H, W)``.
            placement: from :meth:`place`.
            out: float32 ``(3, height, width)``, or ``(1, height, width)`` for grey; completely overwritten.
        """
        self.planes_into(bgr_planes(image), placement, out)

    def planes_into(self, planes: np.ndarray, placement: Placement, out: np.ndarray) -> None:
        """Write one image, plane by plane, into its item of the data blob.

        Args:
            planes: numbers ``(C, H, W)``.
            placement: from :meth:`place`.
            out: float32 ``(C, height, width)``; completely overwritten.
        """
        channels, height, width = out.shape
        where = np.s_[:, placement.h_off : placement.h_off + height, placement.w_off : placement.w_off + width]
        window = planes[where]
        mean = self.means(channels) if self.mean_image is None else self.mean_image[where]
        if placement.mirror:
            out = out[..., ::-1]
        # The original pads with the mean, so the padding is exactly 0 after the mean is subtracted.
        rows, columns = window.shape[1:]
        out[:, rows:] = 0
        out[:, :rows, columns:] = 0
        for channel in range(channels):
            # Convert and subtract in one pass; a byte is exact in float32.
            np.subtract(window[channel], mean[channel], out=out[channel, :rows, :columns], dtype=np.float32)
        if self.scale != 1.0:
            out *= np.float32(self.scale)

    def label_into(self, label: np.ndarray, placement: Placement, out: np.ndarray, ignore_label: int) -> None:
        """Write one label map into its item of the label blob.

        Args:
            label: uint8 ``(H, W)``.
            placement: the image's placement.
            out: float32 ``(height, width)``; completely overwritten.
            ignore_label: value of the padding.
        """
        height, width = out.shape
        window = label[placement.h_off : placement.h_off + height, placement.w_off : placement.w_off + width]
        if placement.mirror:
            out = out[:, ::-1]
        rows, columns = window.shape
        out[rows:] = ignore_label
        out[:rows, columns:] = ignore_label
        out[:rows, :columns] = window


def validate_means(mean_value: Sequence[float], channels: int) -> None:
    """Validate that there is no mean, one for all channels, or one for each.

    Raises:
        NetError: there is another number of them.
    """
    if len(mean_value) not in (0, 1, channels):
        raise NetError(f"expected one mean_value or as many as channels ({channels}), got {len(mean_value)} values")


def crop_of(transform_param: Any) -> tuple[int, int]:
    """Return (height, width) of the crop in a TransformationParameter; 0 for no crop.

    Raises:
        NetError: both ``crop_size`` and ``crop_height`` or ``crop_width`` are given, or only one of the latter two.
    """
    size, height, width = transform_param.crop_size, transform_param.crop_height, transform_param.crop_width
    if size and (height or width):
        raise NetError("crop_size and crop_height, crop_width exclude each other")
    if (height > 0) != (width > 0):
        raise NetError(f"crop_height and crop_width go together, got {height} and {width}")
    return (size, size) if size else (height, width)


def bgr_planes(image: np.ndarray) -> np.ndarray:
    """View an RGB image ``(H, W, 3)`` or a grey one ``(H, W)`` as Caffe's B, G, R ``(3, H, W)`` or ``(1, H, W)``."""
    return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)[::-1]


def read_mean(path: str) -> np.ndarray:
    """Read a mean image.

    Args:
        path: a ``.binaryproto`` with one item.

    Returns:
        float32 ``(C, H, W)``.

    Raises:
        NetError: the file holds several items.
        CaffeModelError: the file cannot be read.
    """
    from deeplab_caffe.proto import read_blob

    blob = read_blob(path)
    shape = (1,) * (4 - len(blob.shape)) + tuple(blob.shape)
    if len(shape) != 4 or shape[0] != 1:
        raise NetError(f"mean_file '{path}': expected one image (1, C, H, W), got shape {tuple(blob.shape)}")
    return np.array(blob.data, np.float32).reshape(shape[1:])


def image_to_blob(
    image: np.ndarray,
    *,
    mean_value: Sequence[float] = IMAGENET_MEAN_BGR,
    scale: float = 1.0,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return a net's input for one photograph, padded at the bottom and right.

    Args:
        image: uint8 RGB ``(H, W, 3)`` or grey ``(H, W)``.
        mean_value: one value, or one per channel in B, G, R order.
        scale: factor after the subtraction.
        size: ``(height, width)`` of the blob, at least the image's; None: the image's.

    Returns:
        float32 ``(1, C, height, width)``, channels B, G, R; 0 in the padding.

    Raises:
        ValueError: the image has another type or shape, or is larger than the blob.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"expected a uint8 image (H, W, 3) or (H, W), got {image.dtype} {image.shape}")
    height, width = size or image.shape[:2]
    if height < image.shape[0] or width < image.shape[1]:
        raise ValueError(f"an image of {image.shape[0]} x {image.shape[1]} does not fit into {height} x {width}")
    blob = np.empty((1, 3 if image.ndim == 3 else 1, height, width), np.float32)
    SegTransform(mean_value=tuple(mean_value), scale=scale).image_into(image, Placement(), blob[0])
    return blob
