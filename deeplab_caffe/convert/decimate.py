"""Fully connected layers as DeepLab's smaller convolutions, by leaving out (Chen et al., ICLR 2015, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Decimated(NamedTuple):
    """Fewer filters, smaller ones, and in words which."""

    values: Tensor
    note: str


def decimate(values: Tensor, shape: Sequence[int]) -> Decimated | None:
    """Keep some entries of weights (O, C, kh, kw) or a bias (O,); None where no whole steps lead to the shape.

    Of the filters and the channels every n-th is kept, from the first on; of the rows and the columns such that the
    first and the last are among them, at equal distances: of 7, numbers 0, 3, 6 for 3 and 0, 2, 4, 6 for 4. With 3 and
    hole 12 the filter so has its taps where the one of 7 has them with hole 4. Which entries the authors kept is not
    known; the paper says that they subsampled. The values stay as they are.

    Args:
        values: of a fully connected layer, as a convolution; a bias.
        shape: the net's.
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
    """Return which of ``have`` entries are kept, ``want`` in number."""
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
