from __future__ import annotations

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.net.graph import lower
from deeplab_caffe.net.head import Head, split_head
from deeplab_caffe.ops.argmax import argmax_labels
from tests import nets
from tests.inference.narrow import narrow, photo_like


def head_of(net: dc.Net) -> Head:
    return split_head(lower(net.graph, net.graph.outputs))


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
    head = head_of(net)
    assert head.resize is not None
    assert head.crop == tuple(-side for side in cut or (0, 0))
    assert [step.layer.name for step in head.graph.steps][-1] == "score"
    expected = argmax_labels(net(x), ties="last")
    assert torch.equal(net.optimize().labels(x), expected)


def test_a_crop_of_something_else_and_padding_stay() -> None:
    crop = nets.layer("PADDING", "crop", "score", "crop", "padding_param { pad_beg: -1 }")
    net = nets.build(nets.SMALL + crop)
    assert head_of(net).resize is None
    more = nets.layer("PADDING", "more", "up", "more", "padding_param { pad_beg: 1 }")
    net = nets.build(nets.SMALL + nets.INTERP + more)
    assert head_of(net).resize is None


@torch.no_grad()
def test_deeplab_that_ends_with_a_crop() -> None:
    net, x = narrow("deeplab"), photo_like(1, 3, 66, 74)
    head = head_of(net)
    assert head.crop == (7, 8)
    labels = net.optimize(batch=1, size=66).labels(x)
    assert (labels == argmax_labels(net(x), ties="last")).float().mean() > 0.999
