from __future__ import annotations

import pytest

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import NetContext, create_layer
from deeplab_caffe.proto import V1, V2
from tests.layers.build import layer_param, make


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ("shape { dim: -1 dim: -1 }", "shape may have one dim of -1"),
        ("shape { dim: -2 }", "shape may have one dim of -1 and no other negative one"),
        ("shape { dim: 5 dim: -1 }", r"24 numbers of \(2, 3, 4\) do not fit into shape \[5, -1\] from axis 0 to 3"),
        ("shape { dim: 2 dim: 3 }", "24 numbers of"),
        ("shape { dim: 0 } axis: 3", "a dim of 0 in .* has no axis to copy"),
        ("shape { dim: 1 } axis: 4", "axis 4 and the -1 from there on"),
        ("shape { dim: 1 } axis: -5", "axis -5 and"),
        ("shape { dim: 1 } axis: 2 num_axes: 2", "axis 2 and the 2 from there on"),
        ("shape { dim: 1 } num_axes: -2", "num_axes must be at least -1"),
    ],
)
def test_refuses(params: str, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("Reshape", f"reshape_param {{ {params} }}", [(2, 3, 4)], dialect=V2)


def test_it_does_not_work_in_place() -> None:
    param = layer_param("Reshape")
    param.top[0] = param.bottom[0]
    with pytest.raises(NetError, match="does not work in place"):
        create_layer(param, NetContext(dialect=V2))


def test_four_axes_of_v1() -> None:
    params = "reshape_param { shape { dim: 0 dim: -1 } }"
    assert make("Reshape", params, dialect=V1).top_shapes([(2, 3, 4, 5)]) == [(2, 60, 1, 1)]
    with pytest.raises(NetError, match="DeepLab v1's blobs have four axes"):
        make("Reshape", "reshape_param { shape { dim: 1 } num_axes: 0 }", [(2, 3, 4, 5)], dialect=V1)


@pytest.mark.parametrize(
    ("params", "top", "per_item"),
    [
        ("shape { dim: 2 dim: 2 } axis: -2", (2, 3, 2, 2), True),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 1), True),
        ("shape { dim: 1 } axis: 0 num_axes: 0", (1, 2, 3, 4), False),
        ("shape { dim: 0 } axis: 0 num_axes: 1", (2, 3, 4), True),
        ("shape { dim: 0 dim: -1 }", (2, 12), True),
        ("shape { dim: 2 dim: -1 }", (2, 12), False),
        ("shape { dim: 12 } axis: 1", (2, 12), True),
        ("shape { dim: 6 } num_axes: 2", (6, 4), False),
    ],
)
def test_axes_from_either_end_and_whether_items_stay_apart(params: str, top: tuple[int, ...], per_item: bool) -> None:
    layer = make("Reshape", f"reshape_param {{ {params} }}", [(2, 3, 4)], dialect=V2)
    assert (layer.top_shapes([(2, 3, 4)]), layer.per_item) == ([top], per_item)
