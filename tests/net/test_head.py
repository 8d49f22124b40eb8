from __future__ import annotations

import pickle

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError
from deeplab_caffe.net.graph import run_layer
from deeplab_caffe.net.head import Head, Output, activated, split_head
from deeplab_caffe.net.passes import lower
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
    "interp_param { zoom_factor: 3 align_corners: false }",
    "interp_param { height: 17 width: 9 pad_beg: -1 align_corners: false }",
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


STRIDED = nets.SMALL.replace("pad: 1", "pad: 1 stride: 2", 1)


@pytest.mark.parametrize("ends", ["", "SOFTMAX", "ARGMAX"])
@pytest.mark.parametrize("corners", ["", "align_corners: false"])
@torch.no_grad()
def test_resizing_to_the_size_of_the_input(corners: str, ends: str) -> None:
    text = STRIDED + nets.layer("INTERP", "up", "score data", "up", f"interp_param {{ {corners} }}")
    net = nets.build(text + (nets.layer(ends, "end", "up", "end") if ends else ""))
    assert (head_of(net).resize is None) == (ends == "SOFTMAX")
    fast = net.optimize()
    for size in ((9, 11), (10, 12)):
        x = photo_like(2, 3, *size)
        expected = net(x)
        labels = expected[:, 0].to(torch.uint8) if ends == "ARGMAX" else argmax_labels(expected, ties="last")
        assert labels.shape == (2, *size)
        assert torch.equal(fast.labels(x), labels)


@torch.no_grad()
def test_resizing_to_the_size_of_another_blob_is_no_head() -> None:
    net = nets.build(STRIDED + nets.layer("INTERP", "up", "score conv1", "up"))
    assert head_of(net).resize is None
    x = photo_like(1, 3, 9, 11)
    assert torch.equal(net.optimize().labels(x), argmax_labels(net(x), ties="last"))


def test_a_crop_of_something_else_and_padding_stay() -> None:
    crop = nets.layer("PADDING", "crop", "score", "crop", "padding_param { pad_beg: -1 }")
    net = nets.build(nets.SMALL + crop)
    assert head_of(net).resize is None
    more = nets.layer("PADDING", "more", "up", "more", "padding_param { pad_beg: 1 }")
    net = nets.build(nets.SMALL + nets.INTERP + more)
    assert head_of(net).resize is None


def test_an_output_by_hand() -> None:
    # Four corners become 3 x 5 pixels, of which the last two rows are asked for.
    values = torch.tensor([[[[0.0, 2], [4, 6]], [[3, 3], [3, 3]]]])
    output = Output(values, (3, 5), (1, 0), (2, 5), "softmax")
    scores = [[2, 2.5, 3, 3.5, 4], [4, 4.5, 5, 5.5, 6]]
    assert output.scores().tolist() == [[scores, [[3] * 5] * 2]]
    # The larger class on ties.
    assert output.labels().tolist() == output.labels(output.scores()).tolist() == [[[1, 1, 1, 0, 0], [0] * 5]]
    expected = torch.softmax(output.scores(), 1)
    torch.testing.assert_close(output.probabilities(), expected)


def test_the_results_are_those_asked_for() -> None:
    scores = torch.tensor([[[[2.0, 0, 1]], [[1.0, 3, 1]]]])
    output, image = Output(scores, None, (0, 0), (1, 3), "softmax"), torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
    found = output.results(("labels", "scores", "finite"), image, None)
    assert list(found) == ["labels", "scores", "finite"]
    assert found["labels"].tolist() == [[[0, 1, 1]]]  # of equal scores the larger class, as ARGMAX has it
    assert torch.equal(found["scores"], scores)
    nothing = dc.CRFParams(pos_w=0, bi_w=0)
    assert list(output.results(("probabilities",), image, nothing)) == ["probabilities"]
    found = output.results(("marginals", "labels"), image, nothing)
    torch.testing.assert_close(found["marginals"], scores.softmax(1), atol=1e-4, rtol=0)
    assert found["labels"].tolist() == [[[0, 1, 0]]]  # of equal marginals the smaller one, as the densecrf programs
    assert list(output.results(("marginals",), image, None)) == []


def test_scores_are_finite_where_each_pixel_has_a_class() -> None:
    inf, nan = float("inf"), float("nan")
    values = torch.tensor([[[[1, -inf]], [[-inf, 2]]], [[[1, -inf]], [[1, -inf]]], [[[1, 2]], [[1, nan]]]])
    assert Output(values, None, (0, 0), (1, 2), "softmax").finite().tolist() == [True, False, False]


@pytest.mark.parametrize("interp", INTERPS)
@torch.no_grad()
def test_an_output_elsewhere_is_resized_by_the_nets_own_layer(interp: str) -> None:
    net, x = nets.build(nets.SMALL + nets.layer("INTERP", "up", "score", "up", interp)), photo_like(2, 3, 9, 11)
    found = net(x, blobs=["score", "up"])
    output = head_of(net).output(found["score"], tuple(found["up"].shape[2:]))
    assert output.resize is not None
    other = pickle.loads(pickle.dumps(output.to("cpu")))
    assert torch.equal(other.scores(), found["up"])
    assert torch.equal(other.labels(), argmax_labels(found["up"], ties="last"))


@torch.no_grad()
def test_deeplab_that_ends_with_a_crop() -> None:
    net, x = narrow("deeplab"), photo_like(1, 3, 66, 74)
    head = head_of(net)
    assert head.crop == (7, 8)
    labels = net.optimize(batch=1, size=66).labels(x)
    assert (labels == argmax_labels(net(x), ties="last")).float().mean() > 0.999


def behind(*ends: str, out: int = 5) -> dc.Net:
    """SMALL, its scores, and layers behind them."""
    text, blob = nets.SMALL.replace("num_output: 5", f"num_output: {out}"), "score"
    for end in ends:
        kind, _, params = end.partition(" ")
        name = kind.lower()
        text += nets.layer(kind, name, blob, name, params)
        blob = name
    return nets.build(text)


ZOOM = "INTERP interp_param { zoom_factor: 2 }"
CROP = "PADDING padding_param { pad_beg: -1 pad_end: -2 }"


@pytest.mark.parametrize(
    "ends",
    [
        ("SOFTMAX",),
        ("SOFTMAX", ZOOM),
        ("SOFTMAX", ZOOM, CROP),
        (ZOOM, "SOFTMAX"),
        (ZOOM, "SOFTMAX", CROP),
        ("SOFTMAX", CROP, ZOOM),
        ("SIGMOID",),
        ("SIGMOID", ZOOM),
    ],
)
@pytest.mark.parametrize("out", [5, 1])
@torch.no_grad()
def test_probabilities_are_what_the_net_puts_out(ends: tuple[str, ...], out: int) -> None:
    net, x = behind(*ends, out=out), photo_like(2, 3, 9, 11)
    expected = net(x)
    head = head_of(net)
    assert head.probability is not None
    (values,) = head.graph.execute([x], run_layer).values()
    output = head.output(values, head.size(values))
    assert torch.equal(output.probabilities(), expected)
    assert torch.equal(output.scores(), expected)
    labels = (expected[:, 0] >= 0.5).to(torch.uint8) if out == 1 else argmax_labels(expected, ties="last")
    assert torch.equal(output.labels(), labels)
    images = torch.randint(0, 256, (2, *expected.shape[2:], 3), dtype=torch.uint8)
    params = dc.CRFParams(iterations=2)
    both = torch.cat([1 - expected, expected], 1) if out == 1 else expected
    marginals = dc.dense_crf(both, images, params, probabilities=True)
    torch.testing.assert_close(output.marginals(images, params), marginals)


@pytest.mark.parametrize("param", ["", "argmax_param { out_max_val: true }", "argmax_param { top_k: 2 }"])
@pytest.mark.parametrize("before", [(), (ZOOM,), ("SOFTMAX",), (ZOOM, "SOFTMAX"), (ZOOM, CROP)])
@torch.no_grad()
def test_argmax_gives_the_nets_labels_and_has_no_crf(before: tuple[str, ...], param: str) -> None:
    net, x = behind(*before, f"ARGMAX {param}"), photo_like(2, 3, 9, 11)
    head = head_of(net)
    (values,) = head.graph.execute([x], run_layer).values()
    output = head.output(values, head.size(values))
    assert torch.equal(output.labels(), net(x)[:, 0].to(torch.uint8))
    scores = before[-1].partition(" ")[0].lower() if before else "score"
    with pytest.raises(NetError, match=f"ARGMAX layer 'argmax'.*blob='{scores}'"):
        output.marginals(torch.zeros(1), dc.CRFParams())


def test_labels_are_not_resized() -> None:
    for ends in (("ARGMAX", ZOOM), ("ARGMAX", CROP, ZOOM)):
        with pytest.raises(NetError, match=r"'interp' resizes the labels that ARGMAX layer 'argmax' makes: .*'score'"):
            head_of(behind(*ends))


@torch.no_grad()
def test_one_channel_of_scores_is_the_foreground() -> None:
    net, x = behind(ZOOM, out=1), photo_like(1, 3, 9, 11)
    expected = net(x).sigmoid()
    head = head_of(net)
    (values,) = head.graph.execute([x], run_layer).values()
    output = head.output(values, head.size(values))
    torch.testing.assert_close(output.probabilities(), expected)
    assert torch.equal(output.labels(), (expected[:, 0] >= 0.5).to(torch.uint8))
    assert set(output.labels().unique().tolist()) == {0, 1}
    images = torch.randint(0, 256, (1, *expected.shape[2:], 3), dtype=torch.uint8)
    marginals = output.marginals(images, dc.CRFParams(iterations=2))
    assert marginals.shape == (1, 2, *expected.shape[2:])


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "exp"])
@pytest.mark.parametrize("size", [(97, 129), (333, 499), (65, 65)])
def test_probabilities_have_the_same_bits_for_any_number_of_threads(activation: str, size: tuple[int, int]) -> None:
    channels = 11 if activation == "softmax" else 1
    scores = 5 * torch.randn((1, channels, *size), generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        found = []
        for threads in range(1, 9):
            torch.set_num_threads(threads)
            found.append(activated(scores, activation))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
    expected = {"softmax": scores.softmax(1), "sigmoid": scores.sigmoid(), "exp": scores.exp()}[activation]
    torch.testing.assert_close(found[0], expected, atol=4e-7, rtol=4e-7)


def test_a_score_of_minus_infinity_has_no_probability() -> None:
    scores = torch.tensor([0.0, -torch.inf, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 5)
    assert activated(scores, "softmax")[0, :, 1, 4].tolist() == [0.5, 0.0, 0.5]
