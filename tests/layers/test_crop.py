from __future__ import annotations

import pytest

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import ReceptiveWindow
from deeplab_caffe.proto import V2
from tests.layers.build import make


def test_receptive_window_begins_at_the_offset() -> None:
    layer = make("Crop", "crop_param { offset: 1 offset: 2 }", [(2, 3, 6, 7), (2, 1, 4, 5)], dialect=V2)
    assert layer.receptive_window() == ReceptiveWindow(pad=(-1, -2))
    layer = make("Crop", "crop_param { axis: 3 offset: 2 }", [(2, 3, 6, 7), (2, 1, 4, 5)], dialect=V2)
    assert layer.receptive_window() == ReceptiveWindow(pad=(0, -2))


def test_a_crop_of_items_is_not_for_one_item() -> None:
    for axis, expected in ((0, False), (-4, False), (1, True), (2, True)):
        layer = make("Crop", f"crop_param {{ axis: {axis} }}", [(2, 3, 6, 7), (1, 3, 4, 5)], dialect=V2)
        assert layer.per_item is expected


@pytest.mark.parametrize(
    ("params", "other", "message"),
    [
        ("axis: 4", (2, 3, 4, 5), "axis must lie between -4 and 3"),
        ("offset: 1 offset: 2 offset: 3", (2, 3, 4, 5), "offset must be given once or for each of 2 axes"),
        ("offset: 3", (2, 3, 4, 5), "offset 3 and the size 4 of bottom 'b1' reach beyond axis 2"),
        ("", (2, 3, 7, 5), "offset 0 and the size 7"),
        ("", (4, 5), r"bottom 'b1' is \(4, 5\): it needs the 4 axes"),
        ("axis: 0", (3, 3, 6, 7), "offset 0 and the size 3"),
    ],
)
def test_refuses(params: str, other: tuple[int, ...], message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("Crop", f"crop_param {{ {params} }}", [(2, 3, 6, 7), other], dialect=V2)
