"""Conversion of the first convolution of another project's network to Caffe's images: BGR minus the mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# In grey levels; means that differ by less are equal except for rounding.
_SAME = 1e-3

# B, G, R.
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """The input of a source's first convolution: ``(x - mean) / std``, x in 0 ... 255.

    Attributes:
        mean: of B, G, R.
        std: of B, G, R.
        rgb: whether its input's channels are R, G, B and not B, G, R.
    """

    mean: Triple
    std: Triple = (1.0, 1.0, 1.0)
    rgb: bool = False


def of_net(weight: Tensor, pixels: Pixels) -> Tensor:
    """Return weights (O, 3, kh, kw) for B, G, R that include the division by the standard deviations, float64."""
    weight = weight.double().flip(1) if pixels.rgb else weight.double()
    return weight / torch.tensor(pixels.std, dtype=torch.float64)[:, None, None]


def shift(weight: Tensor, pixels: Pixels, mean: Triple) -> Tensor | None:
    """Return the correction of the convolution's outputs (O,) for another mean, to be added; None if means are equal.

    Args:
        weight: the net's weights, of :func:`of_net`.
        pixels: the source's input.
        mean: the net's mean of B, G and R.
    """
    if _same(pixels, mean):
        return None
    # w * (x - source's mean) = w * (x - net's mean) + w * (net's mean - source's mean)
    difference = torch.tensor(mean, dtype=torch.float64) - torch.tensor(pixels.mean, dtype=torch.float64)
    return (weight.sum((2, 3)) * difference).sum(1)


def describe_pixels(pixels: Pixels, mean: Triple) -> list[str]:
    """Describe the conversion of the pixels."""
    notes = []
    if pixels.rgb:
        notes.append("R, G, B to B, G, R")
    if set(pixels.std) != {1.0}:
        notes.append(f"divided by the standard deviations {_text(pixels.std)}")
    if not _same(pixels, mean):
        notes.append(f"the source subtracts {_text(pixels.mean)}, the net {_text(mean)} (B, G, R)")
    return notes


def _same(pixels: Pixels, mean: Triple) -> bool:
    return all(abs(a - b) < _SAME for a, b in zip(pixels.mean, mean, strict=True))


def _text(values: Triple) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
