from __future__ import annotations

import pytest
import torch

from deeplab_caffe.inference.ends import end_of
from deeplab_caffe.net.graph import build_plan
from deeplab_caffe.ops.argmax import argmax_labels
from tests import nets
from tests.inference.narrow import narrow, photo_like

INTERPS = [
    "interp_param { zoom_factor: 3 }",
    "interp_param { height: 17 width: 9 }",
    "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }",
    "interp_param { shrink_factor: 2 }",
]


@pytest.mark.parametrize("cut", [None, (0, 0), (-1, 0), (-2, -1)])
@pytest.mark.parametrize("interp", INTERPS)
@torch.no_grad()
def test_labels_are_those_of_the_whole_net(interp: str, cut: tuple[int, int] | None) -> None:
    text = nets.SMALL + nets.layer("INTERP", "up", "score", "up", interp)
    if cut is not None:
        text += nets.layer("PADDING", "crop", "up", "crop", f"padding_param {{ pad_beg: {cut[0]} pad_end: {cut[1]} }}")
    x = photo_like(2, 3, 9, 11)
    try:
        net = nets.build(text)
    except ValueError:
        pytest.skip("nothing is left")
    end = end_of(build_plan(net, net.outputs))
    assert end.interp is not None
    assert end.cut == tuple(-side for side in cut or (0, 0))
    assert [o.layer.name for o in end.plan.operations][-1] == "score"
    expected = argmax_labels(net(x), ties="last")
    assert torch.equal(net.optimize().labels(x), expected)


def test_a_crop_of_something_else_and_padding_stay() -> None:
    crop = nets.layer("PADDING", "crop", "score", "crop", "padding_param { pad_beg: -1 }")
    net = nets.build(nets.SMALL + crop)
    assert end_of(build_plan(net, net.outputs)).interp is None
    more = nets.layer("PADDING", "more", "up", "more", "padding_param { pad_beg: 1 }")
    net = nets.build(nets.SMALL + nets.INTERP + more)
    assert end_of(build_plan(net, net.outputs)).interp is None


@torch.no_grad()
def test_deeplab_that_ends_with_a_crop() -> None:
    net, x = narrow("deeplab"), photo_like(1, 3, 66, 74)
    end = end_of(build_plan(net, net.outputs))
    assert end.cut == (7, 8)
    labels = net.optimize(batch=1, size=66).labels(x)
    assert (labels == argmax_labels(net(x), ties="last")).float().mean() > 0.999
