"""Where pixels lie: maps that can be drawn on paper."""

# ruff: noqa: C408  # dict(...), as such scripts write it

from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.errors import NetError
from deeplab_caffe.pycaffe import coord_map as maps
from deeplab_caffe.pycaffe import layers as L  # as scripts say


def assert_map(found, axis, scale, shift):
    assert found[0] == axis
    np.testing.assert_allclose(np.ravel(found[1]), np.ravel(scale), rtol=1e-12)
    np.testing.assert_allclose(np.ravel(found[2]), np.ravel(shift), rtol=1e-12, atol=1e-12)


DATA = L.Input(shape=dict(dim=[1, 3, 100, 100]))


@pytest.mark.parametrize(
    ("top", "scale", "shift"),
    [
        # Window 0 of a 3 x 3 kernel is centred on pixel 1.
        (L.Convolution(DATA, kernel_size=3), 1, -1),
        (L.Convolution(DATA, kernel_size=3, pad=1), 1, 0),
        # With dilation 4 it spans 9 pixels, centred on pixel 4.
        (L.Convolution(DATA, kernel_size=3, dilation=4), 1, -4),
        # A window of two pixels is centred between them: window i on pixel 2 i + 0.5.
        (L.Pooling(DATA, kernel_size=2, stride=2), 0.5, -0.25),
        (L.Pooling(DATA, pooling_param=dict(kernel_size=2, stride=2)), 0.5, -0.25),
        (L.Im2col(DATA, convolution_param=dict(kernel_size=5, stride=2, pad=2)), 0.5, 0),
        # Pixel 0 of the bottom spreads over pixels 0 to 3 of the top, around 1.5.
        (L.Deconvolution(DATA, kernel_size=4, stride=2), 2, 1.5),
        (L.Deconvolution(DATA, kernel_size=4, stride=2, pad=1), 2, 0.5),
        (L.Convolution(DATA, kernel_size=[3, 5], stride=[1, 2], pad=[0, 1]), [1, 0.5], [-1, -0.5]),
    ],
)
def test_one_layer(top, scale, shift):
    assert_map(maps.coord_map(top.fn), 1, scale, shift)
    assert_map(maps.coord_map_from_to(DATA, top), 1, scale, shift)
    assert_map(maps.coord_map_from_to(top, DATA), *maps.inverse((1, np.array(scale), np.array(shift))))


@pytest.mark.parametrize("name", maps.PASS_THROUGH_LAYERS)
def test_layers_that_leave_pixels_where_they_are(name):
    assert maps.coord_map(getattr(L, name)(DATA).fn) == (None, 1, 0)


def test_compose_and_inverse():
    # x -> 2 x + 3, then y -> 5 y + 7: 10 x + 22.
    assert maps.compose((1, 5, 7), (None, 2, 3)) == (1, 10, 22)
    assert maps.compose((None, 5, 7), (2, 2, 3)) == (2, 10, 22)
    assert maps.inverse((1, 2, 3)) == (1, 0.5, -1.5)
    with pytest.raises(maps.AxisMismatchException, match="from axis 1 and one from axis 2"):
        maps.compose((1, 1, 0), (2, 1, 0))


def fcn(pool=2, up=2, pad=0):
    """A score map: conv 3, pool, conv 1, deconvolution by ``up`` with a kernel of twice that, ReLU."""
    conv = L.Convolution(DATA, kernel_size=3, pad=pad, num_output=4)
    pooled = L.Pooling(conv, kernel_size=pool, stride=pool)
    score = L.Convolution(pooled, kernel_size=1, num_output=4)
    kernel = 2 * up - up % 2
    return L.ReLU(L.Deconvolution(score, convolution_param=dict(kernel_size=kernel, stride=up, num_output=4)))


def test_a_net():
    # conv: x - 1; pool: x / 2 - 0.25; up: 2 x + 1.5. Together: 2 ((x - 1) / 2 - 0.25) + 1.5 = x.
    assert_map(maps.coord_map_from_to(DATA, fcn()), 1, 1, 0)
    # conv: x - 1; pool: x / 4 - 1.5 / 4; up: 4 x + 3.5. Together: x - 1 - 1.5 + 3.5 = x + 1.
    assert_map(maps.coord_map_from_to(DATA, fcn(4, 4)), 1, 1, 1)
    # As FCN-32s: its first convolution pads by 100.
    assert_map(maps.coord_map_from_to(fcn(4, 4, pad=100), DATA), 1, 1, -101)


def test_by_way_of_a_blob_between():
    shared = L.Convolution(DATA, kernel_size=3)
    left, right = L.Convolution(shared, kernel_size=5), L.Pooling(shared, kernel_size=3, pad=1)
    assert_map(maps.coord_map_from_to(left, right), 1, 1, 2)
    both = L.Eltwise(left, L.ReLU(left))
    assert_map(maps.coord_map_from_to(both, right), 1, 1, 2)


def test_crop():
    score = fcn(4, 4, pad=100)
    cropped = maps.crop(score, DATA)
    layer = cropped.to_proto().layer[-1]
    assert (layer.type, layer.crop_param.axis, list(layer.crop_param.offset)) == ("Crop", 2, [101])
    assert list(layer.bottom) == ["ReLU1", "Input1"]
    # What is cropped lies where the data does.
    assert_map(maps.coord_map_from_to(cropped, DATA), 1, 1, 0)
    assert_map(maps.coord_map(L.Crop(DATA, DATA, axis=2, offset=[3, 4]).fn), 1, 1, [-3, -4])
    axis, offset = maps.crop_params(L.Crop(DATA, DATA).fn)
    assert (axis, offset.tolist()) == (2, [0])


def test_the_first_axis_that_a_crop_crops() -> None:
    # Behind the axis that the maps count from; 2 where they leave all pixels where they are.
    for top, bottom, axis, offset in (
        (L.ReLU(DATA), DATA, 2, 0),
        (DATA, L.Convolution(DATA, kernel_size=3), 2, 1),
        (DATA, L.Convolution(DATA, kernel_size=5, axis=2), 3, 2),
    ):
        param = maps.crop(top, bottom).to_proto().layer[-1].crop_param
        assert (param.axis, list(param.offset)) == (axis, [offset])


def test_crop_of_a_third_is_whole_in_spite_of_rounding():
    # 1 / 3 is no binary fraction. conv: x + 99; pool: x / 3 - 1 / 3; up, with kernel 5: 3 x + 2. Together: x + 100.
    layer = maps.crop(fcn(3, 3, pad=100), DATA).to_proto().layer[-1]
    assert list(layer.crop_param.offset) == [100]


def test_second_bottom_of_a_crop_is_not_where_it_lies():
    other = L.Input()
    with pytest.raises(RuntimeError):
        maps.coord_map_from_to(L.Crop(DATA, other), other)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: maps.coord_map(L.InnerProduct(DATA).fn), maps.UndefinedMapException, "InnerProduct has no"),
        (lambda: maps.coord_map_from_to(L.InnerProduct(fcn()), DATA), RuntimeError, "no map between the blobs"),
        (lambda: maps.crop(fcn(3, 2), DATA), AssertionError, "scales differ by"),
        (lambda: maps.crop(L.Convolution(DATA, kernel_size=3), DATA), AssertionError, r"outside, at \[-1\]"),
        (
            lambda: maps.crop(L.Convolution(DATA, kernel_size=2, pad=1), DATA),
            AssertionError,
            r"between pixels, at \[0.5\]",
        ),
        (
            lambda: maps.coord_map(L.Convolution(DATA, kernel_h=3, kernel_w=3).fn),
            AssertionError,
            "got kernel_h, kernel_w",
        ),
        (
            lambda: maps.coord_map(L.Convolution(DATA, kernel_size=3, pad_h=1).fn),
            AssertionError,
            "needs kernel_size .* got pad_h",
        ),
        (lambda: maps.coord_map(L.Convolution(DATA).fn), AssertionError, "needs kernel_size"),
        (
            lambda: maps.coord_map_from_to(
                L.Convolution(L.Convolution(DATA, kernel_size=1, axis=2), kernel_size=1), DATA
            ),
            maps.AxisMismatchException,
            "axis 1 and one from axis 2",
        ),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message) as caught:
        make()
    assert isinstance(caught.value, NetError)
