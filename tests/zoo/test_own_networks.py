"""The networks of our own: what Lite0's strides and dilations become."""

from __future__ import annotations

import pytest

import deeplab_caffe as dc
from deeplab_caffe.zoo import OWN_NETWORKS, prototxt_path


@pytest.mark.parametrize(("name", "stride"), list(zip(OWN_NETWORKS, (16, 8), strict=True)))
def test_the_scores_are_brought_to_the_images_size(name: str, stride: int) -> None:
    net = dc.Net(prototxt_path(name))
    side = 512 // stride + 1
    assert net.blob_shapes["fc1_voc12"] == (1, 21, side, side)
    assert net.blob_shapes["fc1_interp"] == (1, 21, 513, 513)


def test_both_strides_have_the_same_parameters() -> None:
    nets = [dc.Net(prototxt_path(name)) for name in OWN_NETWORKS]
    shapes = [{layer.name: [tuple(blob.shape) for blob in layer.blobs] for layer in net.layers} for net in nets]
    assert shapes[0] == shapes[1]
    statistics = sum(blob.numel() for layer in nets[0].layers if layer.name.startswith("bn_") for blob in layer.blobs)
    assert nets[0].parameter_count() - statistics == 3_715_157


@pytest.mark.parametrize(
    ("name", "block", "expected"),
    [
        ("deeplab_v3_lite0", "block5_depthwise", (2, 1)),
        ("deeplab_v3_lite0", "block11_depthwise", (1, 1)),
        ("deeplab_v3_lite0", "block12_depthwise", (1, 2)),
        ("deeplab_v3_lite0", "block15_depthwise", (1, 2)),
        ("deeplab_v3_lite0", "aspp_12_depthwise", (1, 12)),
        ("deeplab_v3_lite0_os8", "block5_depthwise", (1, 1)),
        ("deeplab_v3_lite0_os8", "block6_depthwise", (1, 2)),
        ("deeplab_v3_lite0_os8", "block11_depthwise", (1, 2)),
        ("deeplab_v3_lite0_os8", "block12_depthwise", (1, 4)),
        ("deeplab_v3_lite0_os8", "aspp_12_depthwise", (1, 24)),
    ],
)
def test_dilation_takes_the_place_of_stride(name: str, block: str, expected: tuple[int, int]) -> None:
    layers = {layer.name: layer.param.convolution_param for layer in dc.Net(prototxt_path(name)).layers}
    param = layers[block]
    kernel, pad = param.kernel_size[0], param.pad[0]
    stride, dilation = (next(iter(field), 1) for field in (param.stride, param.dilation))
    assert (stride, dilation) == expected
    assert pad == kernel // 2 * dilation
