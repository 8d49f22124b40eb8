"""Testing at several scales, mirrored, and in windows: how :class:`deeplab_caffe.Segmenter` averages over views.

The softmax probabilities are averaged, and not the scores, because scores of different views have no common zero. The
logarithm of the mean then takes the place of the scores: its softmax gives the mean back, so that argmax and the dense
CRF work as for a single view.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deeplab_caffe.arguments import truth, whole_number
from deeplab_caffe.errors import NetError
from deeplab_caffe.ops.interp import interp

# Function from an image (H, W, 3) to class probabilities (C, H, W).
Probabilities = Callable[[np.ndarray], Tensor]

_LARGEST_SCALE = 100


@dataclass(frozen=True)
class Views:
    """The views of an image to average over.

    Attributes:
        scales: factors of the image's sides.
        flip: whether to use each view mirrored too.
        window: side of the windows that larger images are cut into; None: no windows.
        stride: pixels from one window to the next; None: two thirds of the window.

    Raises:
        NetError: a scale is not above 0 and at most 100, ``flip`` is not True or False, a window or stride is not a
            positive whole number, or the stride leaves gaps.
    """

    scales: Sequence[float] = (1.0,)
    flip: bool = False
    window: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("window", self.window), ("stride", self.stride)):
            if value is not None:
                pixels = whole_number(f"the {name}", value, NetError, least=1, unit="pixels")
                object.__setattr__(self, name, pixels)
        object.__setattr__(self, "flip", truth("flip", self.flip, NetError))
        object.__setattr__(self, "scales", _numbers(self.scales))
        if not self.scales or not all(math.isfinite(scale) and 0 < scale <= _LARGEST_SCALE for scale in self.scales):
            raise NetError(f"scales must be positive numbers up to {_LARGEST_SCALE}, got {self.scales}")
        if self.window is None:
            if self.stride is not None:
                raise NetError("a stride is given, but no window")
            return
        if self.stride is not None and self.stride > self.window:
            raise NetError(f"the stride must be from 1 to the window, {self.window}, got {self.stride}")

    @property
    def step(self) -> int:
        """Return the pixels from one window to the next."""
        assert self.window is not None
        return self.stride or max(1, self.window * 2 // 3)

    def sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return the height and width that an image has at each scale."""
        return [(max(1, round(height * scale)), max(1, round(width * scale))) for scale in self.scales]

    def is_single(self, height: int, width: int) -> bool:
        """Return whether an image of this size has one view, the image itself."""
        fits = self.window is None or max(height, width) <= self.window
        return self.scales == (1.0,) and not self.flip and fits


def average_views(image: np.ndarray, views: Views, probabilities: Probabilities) -> Tensor:
    """Return the logarithm of the mean probabilities over the views.

    The image is resized bilinearly, with smoothing where it shrinks, as by Pillow. The probabilities are resized back
    to its size bilinearly with aligned corners, as by INTERP.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        views: the views.
        probabilities: function that returns the network's probabilities of one view.

    Returns:
        ``(C, H, W)``, at least the logarithm of FLT_MIN, as in DENSE_CRF.
    """
    height, width = image.shape[:2]
    total: Tensor | None = None
    for size in views.sizes(height, width):
        resized = image
        if size != (height, width):
            resized = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
        for mirrored in (False, True) if views.flip else (False,):
            seen = np.ascontiguousarray(resized[:, ::-1]) if mirrored else resized
            found = _windowed(seen, views, probabilities)
            found = found.flip(-1) if mirrored else found
            if size != (height, width):
                found = interp(found[None].contiguous(), height=height, width=width)[0]
            total = found if total is None else total + found
    assert total is not None
    mean = total / (len(views.scales) * (2 if views.flip else 1))
    return mean.clamp_min(torch.finfo(torch.float32).tiny).log()


def starts(size: int, window: int, step: int) -> list[int]:
    """Return the first pixels of the windows along a side, ``step`` apart; the last window ends with the image."""
    if size <= window:
        return [0]
    return [*range(0, size - window, step), size - window]


def _windowed(image: np.ndarray, views: Views, probabilities: Probabilities) -> Tensor:
    height, width = image.shape[:2]
    if views.window is None or max(height, width) <= views.window:
        return probabilities(image)
    total = torch.empty(0)
    seen = torch.empty(0)
    for top in starts(height, views.window, views.step):
        for left in starts(width, views.window, views.step):
            rows, columns = slice(top, top + views.window), slice(left, left + views.window)
            found = probabilities(np.ascontiguousarray(image[rows, columns]))
            if not total.numel():
                total = found.new_zeros((len(found), height, width))
                seen = found.new_zeros((height, width))
            total[:, rows, columns] += found
            seen[rows, columns] += 1
    return total / seen


def _numbers(scales: Any) -> tuple[float, ...]:
    """Return scales as numbers; ``"12"`` are no two scales."""
    try:
        if not isinstance(scales, (str, bytes)):
            return tuple(float(scale) for scale in scales)
    except (TypeError, ValueError):
        pass
    raise NetError(f"scales must be several numbers, (1.0,) for one, got {scales!r}")
