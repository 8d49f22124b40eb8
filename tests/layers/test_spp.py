from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V1, V2
from tests.layers.build import make, noise, run


def bins(x: np.ndarray, level: int, method: str) -> np.ndarray:
    """One image's channel in the level's windows, row by row, by the definition."""
    windows = []
    for size in x.shape:
        kernel = math.ceil(size / 2**level)
        pad = (kernel * 2**level - size + 1) // 2
        starts = list(range(-pad, size, kernel))[: 2**level]
        windows.append([(start, min(start + kernel, size + pad)) for start in starts])
    found = []
    for top, bottom in windows[0]:
        for left, right in windows[1]:
            part = x[max(top, 0) : bottom, max(left, 0) : right]
            area = (bottom - top) * (right - left)
            found.append(part.max() if method == "MAX" else part.sum() / area)
    return np.array(found)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("size", [(4, 4), (9, 11), (13, 7), (8, 16)])
def test_levels(method: str, size: tuple[int, int]) -> None:
    x = noise(2, 3, *size)
    y = run("SPP", f"spp_param {{ pyramid_height: 3 pool: {method} }}", x, dialect=V2)
    expected = [
        np.concatenate([bins(channel, level, method) for level in range(3) for channel in item]) for item in x.numpy()
    ]
    np.testing.assert_allclose(y.numpy(), np.stack(expected), rtol=1e-5, atol=1e-6)


def test_one_level_has_four_axes() -> None:
    x = noise(2, 3, 5, 7)
    y = run("SPP", "spp_param { pyramid_height: 1 }", x, dialect=V2)
    assert torch.equal(y, x.amax((2, 3), keepdim=True))
    assert make("SPP", "spp_param { pyramid_height: 2 }", dialect=V1).top_shapes([(2, 3, 4, 4)]) == [(2, 15, 1, 1)]


@pytest.mark.parametrize(
    ("params", "shape", "message"),
    [
        ("", (1, 1, 4, 4), "pyramid_height must be positive, got 0"),
        ("pyramid_height: 3", (1, 1, 3, 3), r"a bottom of 3x3 cannot be cut into 4x4 bins \(level 2\)"),
        ("pyramid_height: 4294967295", (1, 1, 9, 9), "a bottom of 9x9 cannot be cut into 8x8"),
        ("pyramid_height: 2 pool: STOCHASTIC", (1, 1, 4, 4), "STOCHASTIC pooling is not implemented"),
        ("pyramid_height: 2", (1, 4, 4), "expected a bottom of shape"),
    ],
)
def test_refuses(params: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("SPP", f"spp_param {{ {params} }}", [shape], dialect=V2)
