"""Random changes of brightness, contrast, saturation and hue: DistortionParameter of SSD's Caffe.

The rule is that of its im_transforms.cpp (ApplyDistort): each change has its own probability; contrast comes second or
last, decided by a coin; after each change values are rounded and clipped to 0 and 255. The random words are drawn in
another order than in SSD, so single pictures differ, but their distribution is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from PIL import Image

from deeplab_caffe.errors import NetError

# Random words per image: a coin for the order, then two words for each change: whether, and how much.
_WORDS = 9

_LEVELS = np.arange(256, dtype=np.float32)


@dataclass(frozen=True)
class Distortion:
    """The numbers of DistortionParameter; with the defaults nothing is changed.

    Attributes:
        brightness_prob: probability, from 0 to 1, that a number from [-brightness_delta, brightness_delta] is added
            to all values.
        brightness_delta: from 0 to 255.
        contrast_prob: probability that all values are multiplied by a number from [contrast_lower, contrast_upper].
        contrast_lower: at least 0.
        contrast_upper: at least ``contrast_lower``.
        saturation_prob: probability that the saturation (S of HSV) is multiplied by a number from
            [saturation_lower, saturation_upper].
        saturation_lower: at least 0.
        saturation_upper: at least ``saturation_lower``.
        hue_prob: probability that the hue is turned by a number from [-hue_delta, hue_delta].
        hue_delta: from 0 to 180, in OpenCV's units of two degrees.
    """

    brightness_prob: float = 0.0
    brightness_delta: float = 0.0
    contrast_prob: float = 0.0
    contrast_lower: float = 0.0
    contrast_upper: float = 0.0
    saturation_prob: float = 0.0
    saturation_lower: float = 0.0
    saturation_upper: float = 0.0
    hue_prob: float = 0.0
    hue_delta: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness_prob", "contrast_prob", "saturation_prob", "hue_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise NetError(f"distort_param: {name} must be from 0 to 1, got {getattr(self, name):g}")
        for name, most in (("brightness_delta", 255), ("hue_delta", 180)):
            if not 0 <= getattr(self, name) <= most:
                raise NetError(f"distort_param: {name} must be from 0 to {most}, got {getattr(self, name):g}")
        for name in ("contrast", "saturation"):
            lower, upper = getattr(self, f"{name}_lower"), getattr(self, f"{name}_upper")
            if not 0 <= lower <= upper < np.inf:
                raise NetError(
                    f"distort_param: {name}_lower must be at least 0 and at most {name}_upper, "
                    f"got {lower:g} and {upper:g}"
                )

    @classmethod
    def from_param(cls, transform_param: Any) -> Distortion:
        """Read the ``distort_param`` of a TransformationParameter message.

        Raises:
            NetError: a number is out of its range, or channels are to change places.
        """
        param = transform_param.distort_param
        if param.random_order_prob:
            raise NetError("distort_param: random_order_prob is not supported, remove it")
        return cls(**{field.name: getattr(param, field.name) for field in fields(cls)})

    @property
    def words(self) -> int:
        """Return the number of random words per image; 0 if nothing is ever changed."""
        return _WORDS if any((self.brightness_prob, self.contrast_prob, self.saturation_prob, self.hue_prob)) else 0

    def apply(self, image: np.ndarray, words: Sequence[int]) -> np.ndarray:
        """Change an image by its random words.

        Args:
            image: uint8 RGB ``(H, W, 3)``, or grey ``(H, W)``, which has neither hue nor saturation.
            words: :attr:`words` of them, each from 0 to 2^32 - 1.

        Returns:
            The changed image, or ``image`` itself; it is never written to.
        """
        if not words:
            return image
        drawn = _chances(words)
        contrast_last = next(drawn) <= 0.5
        brightness = _chosen(drawn, self.brightness_prob, -self.brightness_delta, self.brightness_delta)
        contrast = _chosen(drawn, self.contrast_prob, self.contrast_lower, self.contrast_upper)
        saturation = _chosen(drawn, self.saturation_prob, self.saturation_lower, self.saturation_upper)
        hue = _chosen(drawn, self.hue_prob, -self.hue_delta, self.hue_delta)
        levels = _LEVELS if brightness is None else _rounded(_LEVELS + brightness)
        changes_color = image.ndim == 3 and not (saturation is None and hue is None)
        if contrast is not None and not (contrast_last and changes_color):
            levels, contrast = _rounded(levels * contrast), None
        image = _looked_up(image, levels)
        if changes_color:
            image = _with_color(image, 1.0 if saturation is None else saturation, hue or 0.0)
        return image if contrast is None else _looked_up(image, _rounded(_LEVELS * contrast))


NO_DISTORTION = Distortion()


def _chances(words: Sequence[int]) -> Iterator[float]:
    """Yield numbers from [0, 1)."""
    return (word / 2**32 for word in words)


def _chosen(drawn: Iterator[float], probability: float, lower: float, upper: float) -> float | None:
    """Draw whether a change is made and how large it is; return None for no change."""
    happens, share = next(drawn) < probability, next(drawn)
    return lower + (upper - lower) * share if happens else None


def _rounded(values: np.ndarray) -> np.ndarray:
    whole: np.ndarray = np.clip(np.rint(values), 0, 255)
    return whole


def _looked_up(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    if levels is _LEVELS:
        return image
    changed: np.ndarray = levels.astype(np.uint8)[image]
    return changed


def _with_color(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    """Return an RGB image with its saturation multiplied and its hue turned (in units of two degrees)."""
    hsv = np.array(Image.fromarray(image).convert("HSV"))
    # In Pillow a full turn of the hue has 256 steps.
    hsv[..., 0] += np.uint8(round(hue * 256 / 180) % 256)
    hsv[..., 1] = _looked_up(hsv[..., 1], _rounded(_LEVELS * saturation))
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))
