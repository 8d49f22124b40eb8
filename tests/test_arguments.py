"""Whole numbers: one rule, and one wording, for all rooms."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.arguments import truth, whole_number
from deeplab_caffe.errors import NetError
from deeplab_caffe.evaluation.trimap import Trimap
from deeplab_caffe.segmentation.views import Views
from tests import nets


@pytest.mark.parametrize("value", [3, 3.0, np.int16(3), np.float32(3), Fraction(3)])
def test_a_whole_number_of_any_type_is_an_int(value: Any) -> None:
    found = whole_number("n", value, ValueError, least=3, most=3)
    assert (type(found), found) == (int, 3)


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        ("3", {}, "n must be a whole number, got '3'"),
        (2.5, {"unit": "pixels"}, "n must be a whole number of pixels, got 2.5"),
        (True, {}, "n must be a whole number, got True"),
        (None, {}, "n must be a whole number, got None"),
        (np.nan, {}, "n must be a whole number, got nan"),
        (-1, {"least": 0}, "n must not be negative, got -1"),
        (0, {"least": 1}, "n must be positive, got 0"),
        (7, {"least": 8}, "n must be at least 8, got 7"),
        (9, {"most": 8}, "n must be at most 8, got 9"),
        (2**32, {"most": 2**32 - 1}, "n must be at most 2^32 - 1, got 4294967296"),
        (2**31, {"most": 2**31 - 2}, "n must be at most 2^31 - 2, got 2147483648"),
    ],
)
def test_what_is_none_is_named(value: Any, bounds: dict[str, Any], message: str) -> None:
    with pytest.raises(NetError) as caught:
        whole_number("n", value, NetError, **bounds)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", [True, np.True_, torch.tensor(True), 1, np.int64(1)])
def test_a_truth_of_any_type_is_a_bool(value: Any) -> None:
    assert truth("b", value, ValueError) is True


@pytest.mark.parametrize("value", ["no", None, 2, 1.0, [], np.array([True, False])])
def test_what_is_no_truth_is_named(value: Any) -> None:
    with pytest.raises(NetError, match=r"^b must be True or False, got "):
        truth("b", value, NetError)


def test_the_rule_is_one_at_every_door() -> None:
    small = nets.build(nets.SMALL, seed=np.float64(1))
    assert small.optimize(size=9.0).input_shapes == small.optimize(size=np.int64(9)).input_shapes
    assert Views(window=np.float32(9)).step == 6
    for refused in (
        lambda: nets.build(nets.SMALL, seed=True),
        lambda: small.optimize(batch=True),
        lambda: Views(window=True),
        lambda: Trimap(3, [True]),
        lambda: Trimap(3, [np.nan]),
        lambda: dc.CRFParams(iterations=True),
    ):
        with pytest.raises(dc.DeepLabCaffeError, match=r"must be a whole number.*, got (True|nan)"):
            refused()
