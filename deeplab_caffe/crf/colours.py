"""Validate the range of an image's colours, for every entry point of the dense CRF."""

from __future__ import annotations

import math
from reprlib import repr as short_repr
from typing import Any

from deeplab_caffe.errors import CRFError, warn

# (black, white) of an image.
Range = tuple[float, float]

# Grey levels that lie nearer to a whole number are rounded to it: they were whole before a conversion.
_WHOLE = 1e-3
# How far an image that is converted to 256 grey levels may go beyond black and white: half a grey level.
_BEYOND = 0.5 / 255
_UNDO = "Undo it (image * std + mean), and say image_range=(0, 1) if that is from 0 to 1"


def as_image_range(image_range: Any) -> Range | None:
    """Return the caller's (black, white) as floats; None if none is given.

    Raises:
        CRFError: the argument is not two finite numbers, the smaller first.
    """
    if image_range is None:
        return None
    try:
        black, white = (float(one) for one in image_range)
    except (TypeError, ValueError, OverflowError):
        black = white = math.nan
    if not (math.isfinite(black) and math.isfinite(white) and black < white):
        raise CRFError(f"image_range must be (black, white), such as (0, 1), got {short_repr(image_range)}")
    return black, white


def validate_colours(
    low: float, high: float, floating: bool, image_range: Range | None, *, exact: bool = False
) -> None:
    """Validate an image by its smallest and largest value.

    Args:
        low: the smallest value.
        high: the largest value.
        floating: whether the image's dtype is floating point.
        image_range: the caller's (black, white); None: (0, 255). Values may lie beyond it by its width on either side,
            for the overshoot of a resize or a subtracted mean, because only differences of colours matter.
        exact: the colours themselves matter, for example to a network: only half a grey level beyond is allowed.

    Raises:
        CRFError: values are not finite, or not of that range; the message says what range they seem to have.

    An image of whole numbers that has only 0 and 1 gives a warning.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise CRFError("image must be finite, got values that are not")
    got = f"got values from {low:.6g} to {high:.6g}"
    if image_range is None:
        if advice := _advice(low, high, floating, exact):
            raise CRFError(f"image must be from 0 to 255, {got}: {advice}")
        if high == 1:
            warn(f"image must be from 0 to 255, {got}: say image_range=(0, 1), or (0, 255) if it is nearly black")
        return
    black, white = image_range
    beyond = (white - black) * (_BEYOND if exact else 1)
    if low < black - beyond or high > white + beyond:
        advice = ": add the mean that was subtracted, or take image.clip of a resize's overshoot" if exact else ""
        raise CRFError(f"image_range says {black:g} to {white:g}, but image is not: {got}{advice}")


def _advice(low: float, high: float, floating: bool, exact: bool) -> str:
    """Return what to do with an image whose values are not from 0 to 255; empty if they are."""
    if low < -0.5:
        largest = max(-low, high)
        if largest <= 1.5:
            return "from -1 to 1? Say image_range=(-1, 1)"
        if largest <= 16:
            return f"normalised? {_UNDO}"
        or_say = "" if exact else ", or say image_range=(0, 255): only differences of colours count"
        return f"is a mean subtracted? Add it{or_say}"
    if high > 255.5:
        if high < 300 and floating:
            return "a resize's overshoot? Take image.clip(0, 255)"
        white = next((2**bits - 1 for bits in (10, 12, 14, 16) if high < 2**bits), None)
        return f"more than 8 bits? Say what white is: image_range=(0, {'white' if white is None else white})"
    if floating and high <= 1.5 and (low, high) != (0, 0):
        return "from 0 to 1? Say image_range=(0, 1); or image_range=(0, 255) if it is nearly black"
    if floating and high <= 4 and low != round(low):  # normalised by ImageNet's mean and deviation, white is 2.64
        return f"normalised? {_UNDO}; or image_range=(0, 255) if it is nearly black"
    return ""


def in_grey_levels(image: Any, image_range: Range | None) -> Any:
    """Return a float32 image of any library scaled to 0 to 255; values that were whole grey levels are whole again."""
    if image_range in (None, (0, 255)):
        return image
    black, white = image_range
    levels = (image - black) * (255 / (white - black))
    whole = levels.round()
    return whole + (levels - whole) * (abs(levels - whole) > _WHOLE)
