from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.errors import NetError
from tests.layers.build import image, make, noise, run


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("zoom_factor: 2", [[1, 1.5, 2], [2, 2.5, 3], [3, 3.5, 4]]),
        ("height: 3 width: 2", [[1, 2], [2, 3], [3, 4]]),
        ("height: 1 width: 1", [[1]]),
        ("height: 2 width: 2", [[1, 2], [3, 4]]),
        ("shrink_factor: 2", [[1]]),
        ("zoom_factor: 3 pad_beg: -1", [[4]]),
        ("height: 1 width: 2 pad_end: -1", [[1, 1]]),
    ],
)
def test_interp_by_hand(params: str, expected: list[list[float]]) -> None:
    assert run("Interp", f"interp_param {{ {params} }}", image([1, 2], [3, 4])).tolist() == [[expected]]


@pytest.mark.parametrize("params", ["zoom_factor: 8", "height: 9 width: 4", "shrink_factor: 2", "height: 5 width: 6"])
def test_interp_agrees_with_torch(params: str) -> None:
    x = noise(2, 3, 5, 7)
    y = run("Interp", f"interp_param {{ {params} }}", x)
    expected = F.interpolate(x, y.shape[2:], mode="bilinear", align_corners=True)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("params", ["zoom_factor: 2 pad_beg: -1", "height: 3 width: 9", "shrink_factor: 2 pad_end: -1"])
def test_interp_gradient(params: str) -> None:
    layer = make("Interp", f"interp_param {{ {params} }}")
    x = noise(1, 2, 5, 4, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("", "exactly one of zoom_factor, shrink_factor, or height and width must be set, got none"),
        ("zoom_factor: 2 shrink_factor: 2", "exactly one"),
        ("zoom_factor: 2 height: 3 width: 3", "exactly one"),
        ("height: 3", "height and width go together"),
        ("zoom_factor: 0", "zoom_factor must be positive"),
        ("zoom_factor: 2 pad_beg: 1", "must not be positive"),
        ("zoom_factor: 2 pad_beg: -2 pad_end: -2", "leaves nothing"),
    ],
)
def test_interp_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("Interp", f"interp_param {{ {params} }}", [(1, 1, 4, 5)])


def test_padding() -> None:
    x = image([1, 2], [3, 4])
    assert run("Padding", "padding_param { pad_beg: 1 pad_end: 0 }", x).tolist() == [
        [[[0, 0, 0], [0, 1, 2], [0, 3, 4]]]
    ]
    assert run("Padding", "padding_param { pad_beg: -1 pad_end: 1 }", x).tolist() == [[[[4, 0], [0, 0]]]]
    same = run("Padding", "padding_param { pad_beg: 0 pad_end: 0 }", x)
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()
    with pytest.raises(NetError, match="layer 'l': padding -1 and -1 leaves nothing of 2x2"):
        make("Padding", "padding_param { pad_beg: -1 pad_end: -1 }", [(1, 1, 2, 2)])
    layer = make("Padding", "padding_param { pad_beg: -1 pad_end: 2 }")
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], noise(1, 2, 3, 4, dtype=torch.float64).requires_grad_())
