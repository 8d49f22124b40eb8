"""Nets over other axes than (N, C, H, W) and of layers that nobody lowers: optimized, they give what the net gives."""

from __future__ import annotations

import pytest
import torch

from tests.nets import build, noise

FILL = "weight_filler { type: 'xavier' } bias_filler { type: 'uniform' min: -1 max: 1 }"


def layer(kind: str, bottoms: str, top: str, params: str = "") -> str:
    blobs = " ".join(f'bottom: "{blob}"' for blob in bottoms.split())
    return f'layer {{ name: "{top}{kind}" type: "{kind}" {blobs} top: "{top}" {params} }} '


def conv(kind: str, params: str, bottom: str = "x0") -> str:
    return layer(kind, bottom, kind, f"convolution_param {{ num_output: 4 {params} {FILL} }}") + layer(
        "ReLU", kind, kind
    )


CASES = [
    ([(2, 3, 9)], conv("Convolution", "kernel_size: 3")),
    ([(2, 3, 4, 5, 6)], conv("Convolution", "kernel_size: 3")),
    ([(2, 2, 3, 5, 6)], conv("Convolution", "kernel_size: 3 axis: 2")),
    ([(3, 5, 6)], conv("Convolution", "kernel_size: 3 axis: 0")),
    ([(3, 4)], conv("Convolution", "kernel_size: 1")),
    ([(2, 3, 8, 9)], conv("Deconvolution", "kernel_size: 4 stride: 2 pad: 1")),
    ([(2, 3, 8, 9)], conv("Deconvolution", "kernel_size: 4 stride: 2 pad: 1 engine: CAFFE")),
    (
        [(2, 3, 8, 9)],
        conv("Convolution", "kernel_size: 3")
        + conv("Deconvolution", "kernel_size: 4 stride: 2 group: 4", "Convolution"),
    ),
    ([(6,)], layer("InnerProduct", "x0", "y", f"inner_product_param {{ num_output: 4 axis: 0 {FILL} }}")),
    ([(2, 3)], layer("InnerProduct", "x0", "y", f"inner_product_param {{ num_output: 4 {FILL} }}")),
    ([()], layer("Power", "x0", "y", "power_param { scale: 2 }")),
    ([(4, 3, 2)], layer("Softmax", "x0", "y", "softmax_param { axis: -3 }")),
    ([(4, 3, 2)], layer("ArgMax", "x0", "y", "argmax_param { axis: 0 }")),
    ([(4, 3, 2)], layer("Flatten", "x0", "y", "flatten_param { axis: 0 end_axis: 1 }")),
    ([(4, 3, 2)], layer("Concat", "x0 x0", "y", "concat_param { axis: 0 }")),
    ([(2, 3, 4)], layer("Reshape", "x0", "y", "reshape_param { shape { dim: 3 dim: -1 } }")),
    ([(2, 3, 4, 5)], layer("Reshape", "x0", "y", "reshape_param { shape { dim: 0 dim: -1 } }")),
    ([(2, 3, 9, 11), (2, 1, 4, 5)], layer("Crop", "x0 x1", "y", "crop_param { offset: 1 }")),
    ([(4, 3), (2, 3)], layer("Crop", "x0 x1", "y", "crop_param { axis: 0 offset: 1 offset: 0 }")),
    ([(4, 3, 2), (4,)], layer("Filter", "x0 x1", "y")),
    ([(4, 3, 2), (5,)], layer("BatchReindex", "x0 x1", "y")),
    ([(2, 3, 9, 11)], layer("SPP", "x0", "y", "spp_param { pyramid_height: 3 }")),
    (
        [(2, 3)],
        layer("Parameter", "", "p", "parameter_param { shape { dim: 2 dim: 3 } }") + layer("Eltwise", "x0 p", "y"),
    ),
]


@torch.no_grad()
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("shapes", "text"), CASES)
def test_optimized_is_the_net(shapes: list[tuple[int, ...]], text: str, channels_last: bool) -> None:
    heads = [
        f'input: "x{i}" input_shape {{ {" ".join(f"dim: {n}" for n in shape)} }} ' for i, shape in enumerate(shapes)
    ]
    net = build("".join(heads) + text)
    given = [noise(*shape, seed=i) for i, shape in enumerate(shapes)]
    if len(shapes) == 2 and len(shapes[1]) == 1:
        given[1] = torch.tensor([0.0, 1, 0, 3, 1][: shapes[1][0]])
    expected = net(*given)
    same = build("".join(heads) + text, channels_last=channels_last)
    for run in (same, same.optimize()):
        found = run(*given)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
