"""Decimation of fully connected layers to DeepLab's smaller convolutions (Chen et al., ICLR 2015, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Decimated(NamedTuple):
    """The decimated weights, and a description of the kept entries."""

    values: Tensor
    note: str


def decimate(values: Tensor, shape: Sequence[int]) -> Decimated | None:
    """Keep some entries of weights (O, C, kh, kw) or a bias (O,); return None if no integer steps lead to the shape.

    Every n-th filter and channel is kept, starting with the first. Rows and columns are kept at equal distances,
    including the first and the last: of 7, numbers 0, 3, 6 for 3, and 0, 2, 4, 6 for 4. A filter of 3 with hole 12 thus
    has its taps at positions where the filter of 7 with hole 4 has taps. It is not known which entries the authors
    kept; the paper only says that they subsampled. The values are unchanged.

    Args:
        values: weights of a fully connected layer as a convolution, or a bias.
        shape: shape of the net's blob.
    """
    if values.dim() != len(shape):
        return None
    kept = [
        _kept(have, want, ends=axis >= 2) for axis, (have, want) in enumerate(zip(values.shape, shape, strict=True))
    ]
    if any(one is None for one in kept):
        return None
    words = []
    for axis, one in enumerate(kept):
        assert one is not None
        if len(one) < values.shape[axis]:
            words.append(_words(axis, one, values.shape[axis] // len(one)))
            values = values.index_select(axis, torch.tensor(one))
    return Decimated(values, "kept " + ", ".join(words))


def _kept(have: int, want: int, *, ends: bool) -> list[int] | None:
    """Return the numbers of the ``want`` entries to keep of ``have``."""
    if not 0 < want <= have:
        return None
    if not ends:
        return None if have % want else list(range(0, have, have // want))
    if want == 1:
        return [have // 2] if have % 2 else None
    return None if (have - 1) % (want - 1) else list(range(0, have, (have - 1) // (want - 1)))


def _words(axis: int, kept: Sequence[int], step: int) -> str:
    if axis < 2:
        return f"1 of {step} {('filters', 'channels')[axis]}"
    return f"{('rows', 'columns')[axis - 2]} {' '.join(map(str, kept))}"
