"""The weights' gradient of convolutions with large holes, beside a slow rule and torch's convolution."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from deeplab_caffe.ops.hole_gradient import hole_weight_gradient, is_faster, window_share
from deeplab_caffe.ops.packed_conv import Geometry, bfloat16_is_fast
from tests.goldens import relative_error
from tests.layers.build import noise

GEOMETRIES = [
    # image, kernel, geometry
    ((5, 6), (3, 3), Geometry((1, 1), (2, 2), (2, 2), 1)),
    ((9, 7), (3, 2), Geometry((2, 1), (4, 0), (4, 3), 1)),
    ((6, 11), (2, 3), Geometry((3, 2), (1, 5), (3, 4), 1)),
    ((4, 4), (3, 3), Geometry((1, 1), (6, 6), (6, 6), 1)),  # all taps but the centre see padding alone
    ((1, 1), (1, 1), Geometry((1, 1), (0, 0), (1, 1), 1)),
]


def by_definition(x: Tensor, grad: Tensor, kernel: tuple[int, int], geometry: Geometry) -> Tensor:
    """Return the sum over all outputs of the output's gradient times the pixel that it sees through each tap."""
    (n, c, height, width), (_, o, rows, columns) = x.shape, grad.shape
    found = torch.zeros(o, c, *kernel, dtype=torch.float64)
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            for row in range(rows):
                for column in range(columns):
                    y = row * geometry.stride[0] - geometry.pad[0] + i * geometry.dilation[0]
                    z = column * geometry.stride[1] - geometry.pad[1] + j * geometry.dilation[1]
                    if 0 <= y < height and 0 <= z < width:
                        for item in range(n):
                            found[:, :, i, j] += torch.outer(grad[item, :, row, column], x[item, :, y, z])
    return found


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("image", "kernel", "geometry"), GEOMETRIES)
def test_is_the_definition_and_torchs_gradient(
    image: tuple[int, int], kernel: tuple[int, int], geometry: Geometry, channels_last: bool
) -> None:
    x, weight = noise(2, 3, *image).double(), noise(4, 3, *kernel, seed=1).double().requires_grad_()
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    y = torch.nn.functional.conv2d(x, weight, None, *geometry)
    grad = noise(*y.shape, seed=2).double()
    (expected,) = torch.autograd.grad(y, weight, grad)
    found = hole_weight_gradient(x, grad, kernel, geometry)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.allclose(found, by_definition(x, grad, kernel, geometry), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)])
def test_no_items_and_no_channels(shape: tuple[int, ...]) -> None:
    geometry = Geometry((1, 1), (2, 2), (2, 2), 1)
    grad = torch.ones(shape[0], 5, 4, 4)
    assert torch.equal(hole_weight_gradient(torch.ones(shape), grad, (3, 3), geometry), torch.zeros(5, shape[1], 3, 3))


@pytest.mark.skipif(not bfloat16_is_fast(), reason="no bfloat16 here")
def test_bfloat16_is_rounded_once() -> None:
    geometry = Geometry((1, 1), (4, 4), (4, 4), 1)
    x, grad = (noise(2, 8, 9, 9, seed=seed).bfloat16() for seed in (0, 1))
    exact = hole_weight_gradient(x.double(), grad.double(), (3, 3), geometry)
    assert relative_error(hole_weight_gradient(x, grad, (3, 3), geometry).double(), exact) < 2**-8


def test_the_share_of_the_outputs_that_see_the_image() -> None:
    # Through the outer taps of hole 2 three of five outputs see the image, through the middle one all.
    assert window_share((5, 5), (5, 5), (3, 3), Geometry((1, 1), (2, 2), (2, 2), 1)) == pytest.approx((11 / 15) ** 2)
    assert window_share((4, 4), (4, 4), (3, 3), Geometry((1, 1), (9, 9), (9, 9), 1)) == pytest.approx(1 / 9)
    assert window_share((5, 5), (3, 3), (3, 3), Geometry((1, 1), (0, 0), (1, 1), 1)) == 1


@pytest.mark.parametrize(
    ("side", "hole", "channels", "faster"),
    [(41, 12, (512, 1024), True), (41, 2, (512, 1024), False), (41, 12, (2048, 21), False), (41, 24, (2048, 21), True)],
)
def test_when_it_is_faster(side: int, hole: int, channels: tuple[int, int], faster: bool) -> None:
    x = torch.empty(1, channels[0], side, side, device="meta")
    weight = torch.empty(channels[1], channels[0], 3, 3, device="meta")
    geometry = Geometry((1, 1), (hole, hole), (hole, hole), 1)
    assert is_faster(x, weight, (side, side), geometry) is faster
    if bfloat16_is_fast():
        assert is_faster(x.bfloat16(), weight.bfloat16(), (side, side), geometry) is (hole > 2)
    assert not is_faster(x.double(), weight.double(), (side, side), geometry)
    assert not is_faster(x, weight, (side, side), geometry._replace(groups=2))
