from __future__ import annotations

import pytest
import torch

from deeplab_caffe.ops.onednn_limits import computed_in_half, is_narrow, is_usual, pads_beyond_kernel


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation", "expected"),
    [
        ((3, 3), (1, 1), (1, 1), (1, 1), True),
        ((3, 3), (1, 1), (0, 0), (1, 1), True),
        ((3, 3), (2, 2), (12, 12), (12, 12), True),
        ((1, 1), (2, 2), (0, 0), (1, 1), True),
        ((7, 7), (2, 2), (3, 3), (1, 1), True),
        ((4, 4), (1, 1), (6, 6), (4, 4), True),  # half of its reach, as DeepLab's fc6
        ((4, 4), (1, 1), (8, 8), (4, 4), True),
        ((3, 3), (2, 2), (3, 3), (2, 2), False),
        ((3, 3), (1, 1), (2, 2), (1, 1), False),
        ((1, 1), (1, 1), (1, 1), (1, 1), False),
        ((3, 1), (1, 1), (0, 0), (1, 1), False),
        ((3, 3), (1, 2), (1, 1), (1, 1), False),
        ((3, 3), (1, 1), (1, 0), (1, 1), False),
        ((3, 3), (1, 1), (2, 2), (2, 1), False),
    ],
)
def test_what_is_usual(
    kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int], dilation: tuple[int, int], expected: bool
) -> None:
    assert is_usual(kernel, stride, pad, dilation) is expected


def test_what_torch_computes_in() -> None:
    x = torch.zeros(1)
    assert computed_in_half(x) is None
    assert computed_in_half(x.double()) is None
    assert computed_in_half(x.half()) is torch.float16
    assert computed_in_half(x.bfloat16().to("meta")) is None
    with torch.autocast("cpu", torch.bfloat16):
        assert computed_in_half(x) is torch.bfloat16
        with torch.autocast("cpu", enabled=False):
            assert computed_in_half(x) is None
            assert computed_in_half(x.bfloat16()) is torch.bfloat16


@pytest.mark.parametrize(
    ("kernel", "pad", "dilation", "expected"),
    [
        ((3, 3), (2, 2), (1, 1), False),
        ((3, 3), (2, 3), (1, 1), True),
        ((3, 3), (4, 4), (2, 2), False),
        ((3, 1), (3, 2), (2, 2), True),
        ((1, 1), (1, 0), (5, 5), True),
        ((1, 1), (0, 0), (1, 1), False),
    ],
)
def test_outputs_that_see_padding_alone(
    kernel: tuple[int, int], pad: tuple[int, int], dilation: tuple[int, int], expected: bool
) -> None:
    assert pads_beyond_kernel(kernel, pad, dilation) is expected


def test_what_is_narrow() -> None:
    assert is_narrow((1, 2), (9, 1))
    assert not is_narrow((2, 1), (9, 1))
    assert not is_narrow((2, 2), (1, 2))
