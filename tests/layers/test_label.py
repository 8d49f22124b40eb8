from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe.data import CaffeRNG
from deeplab_caffe.errors import NetError
from deeplab_caffe.proto.dialect import V1, V2, Dialect
from tests.layers.build import make, noise, run

ZEROS = torch.zeros(1, 3, 1, 2)


def image_labels(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[:, :, None, None]


def test_bias_channel_of_image_labels() -> None:
    params = "bias_channel_param { bg_bias: 1 fg_bias: 2 }"
    assert run("BiasChannel", params, ZEROS, image_labels([0, 2, -1])).tolist() == [[[[1, 1]], [[0, 0]], [[2, 2]]]]
    assert torch.equal(run("BiasChannel", params, ZEROS, image_labels([-1, -1, -1])), ZEROS)
    ignoring = "bias_channel_param { bg_bias: 1 fg_bias: 2 ignore_label: 0 ignore_label: 255 }"
    assert run("BiasChannel", ignoring, ZEROS, image_labels([0, 1, 255])).tolist() == [[[[0, 0]], [[2, 2]], [[0, 0]]]]


def test_bias_channel_of_pixel_labels() -> None:
    params = "bias_channel_param { bg_bias: 1 fg_bias: 2 ignore_label: 255 label_type: PIXEL }"
    scores, labels = torch.zeros(1, 3, 2, 2), torch.tensor([[0.0, 2], [255, 1]])[None, None]
    found = run("BiasChannel", params, scores, labels)
    assert found.tolist() == [[[[1, 1], [0, 1]], [[0, 0], [0, 2]], [[0, 2], [0, 0]]]]


@pytest.mark.parametrize(
    ("dialect", "params", "expected"),
    [
        (V1, "fg_bias: 3", [[1, 1], [0, 0], [0, 3]]),
        (V2, "fg_bias: 3", [[3, 0], [0, 0], [0, 3]]),
        (V2, "bg_bias: 1 fg_bias: 3", [[1, 1], [0, 0], [0, 3]]),
        (V2, "bg_bias: 1 fg_bias: 3 background_label: 2", [[3, 0], [0, 0], [1, 1]]),
        (V2, "fg_bias: 3 background_label: 2", [[3, 0], [0, 0], [1, 1]]),
    ],
)
def test_the_background_of_pixel_labels(dialect: Dialect, params: str, expected: list[list[float]]) -> None:
    # v1's is class 0; v2's is background_label, and there is none unless that or bg_bias, by default 1, is set.
    labels = torch.tensor([0.0, 2])[None, None, None]
    params = f"bias_channel_param {{ {params} label_type: PIXEL }}"
    found = run("BiasChannel", params, ZEROS, labels, layout="V2", dialect=dialect)
    assert found[0, :, 0].tolist() == expected


def test_the_background_is_a_channel() -> None:
    params = "bias_channel_param { background_label: %d label_type: PIXEL }"
    shapes = [(1, 3, 1, 2), (1, 1, 1, 2)]
    make("BiasChannel", params % 2, shapes, layout="V2", dialect=V2)
    for label in (3, -1):
        with pytest.raises(NetError, match=f"background_label must lie between 0 and 2, got {label}"):
            make("BiasChannel", params % label, shapes, layout="V2", dialect=V2)


@pytest.mark.parametrize(("kind", "labels"), [("IMAGE", image_labels([3])), ("PIXEL", torch.full((1, 1, 1, 2), 3.0))])
def test_bias_channel_refuses_labels(kind: str, labels: torch.Tensor) -> None:
    with pytest.raises(NetError, match="layer 'l': label 3 is neither one of the 3 classes nor ignored"):
        run("BiasChannel", f"bias_channel_param {{ label_type: {kind} }}", ZEROS, labels)
    with pytest.raises(NetError, match=f"layer 'l': {kind} labels for scores"):
        make("BiasChannel", f"bias_channel_param {{ label_type: {kind} }}", [(1, 3, 2, 2), (2, 1, 1, 1)])


@pytest.mark.parametrize("kind", ["IMAGE", "PIXEL"])
def test_bias_channel_gradient_passes(kind: str) -> None:
    labels = image_labels([1, 0]) if kind == "IMAGE" else torch.ones(1, 1, 2, 2)
    layer = make("BiasChannel", f"bias_channel_param {{ fg_bias: 2 label_type: {kind} }}", bottoms=2)
    scores = noise(1, 3, 2, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, labels)[0], scores)


def best_share(scores: torch.Tensor, label: int) -> float:
    return (scores.argmax(1) == label).double().mean().item()


def test_adaptive_bias_by_hand() -> None:
    # Four pixels; class 1 is present. Differences to the best (class 1's own) are 0, so nothing is raised, and class 0,
    # absent, is pushed below class 1 where it beats it.
    scores = torch.tensor([[[[5.0, 0, 0, 0]], [[1, 2, 3, 4]]]])
    found = run("AdaptiveBiasChannel", "adaptive_bias_channel_param { margin_others: 0.5 }", scores, image_labels([1]))
    assert found.tolist() == [[[[0.5, 0, 0, 0]], [[1, 2, 3, 4]]]]
    found = run("AdaptiveBiasChannel", "adaptive_bias_channel_param { margin_others: 0 }", scores, image_labels([1]))
    assert found.tolist() == [[[[1, 0, 0, 0]], [[1, 2, 3, 4]]]]


def test_adaptive_bias_gives_each_class_its_share() -> None:
    scores = noise(1, 4, 20, 25)
    scores[:, 0] += 6
    params = "adaptive_bias_channel_param { num_iter: 10 bg_portion: 0.4 fg_portion: 0.2 }"
    found = run("AdaptiveBiasChannel", params, scores, image_labels([0, 2, 3, -1]))
    assert best_share(found, 1) == 0
    assert best_share(found, 2) == pytest.approx(0.2, abs=0.05)
    assert best_share(found, 3) == pytest.approx(0.2, abs=0.05)
    best_before, best_after = (x[:, [0, 2, 3]].amax(1).mean().item() for x in (scores, found))
    assert best_after == pytest.approx(best_before, abs=1e-5)


@pytest.mark.parametrize("portion", [0, 1])
def test_adaptive_bias_at_the_ends(portion: int) -> None:
    scores = noise(1, 2, 3, 4)
    params = f"adaptive_bias_channel_param {{ bg_portion: {portion} fg_portion: {portion} suppress_others: false }}"
    found = run("AdaptiveBiasChannel", params, scores, image_labels([1, 0]))
    assert found.isfinite().all()
    if portion == 1:
        # The last class that was raised wins everywhere, or draws.
        assert (found[:, 1] >= found[:, 0] - 1e-5).all()


def test_adaptive_bias_takes_background_first_and_shuffles_the_others() -> None:
    layer = make("AdaptiveBiasChannel", "", bottoms=2, rng=CaffeRNG(3))
    assert make("AdaptiveBiasChannel", "", bottoms=2, rng=None)._shuffled([2, 0, 5, 7]) == [0, 2, 5, 7]
    rng, expected = CaffeRNG(3), [2, 5, 7]
    for last in (2, 1):
        other = rng.rand(last + 1)
        expected[last], expected[other] = expected[other], expected[last]
    assert layer._shuffled([2, 0, 5, 7]) == [0, *expected]
    assert layer.context.rng.word() == rng.word()  # as many numbers were drawn


def test_adaptive_bias_counts_in_float32() -> None:
    # 0.7f * 10 is 6.9999999 in double precision and 7 in float: the eighth smallest difference.
    assert int(np.float32(0.7) * np.float32(10)) == 7
    scores = torch.stack([torch.arange(10.0), torch.zeros(10)])[None, :, None]
    params = "adaptive_bias_channel_param { num_iter: 1 bg_portion: 0 fg_portion: 0.7 suppress_others: false }"
    found = run("AdaptiveBiasChannel", params, scores, image_labels([0, 1]))
    assert (found[0, 1] - found[0, 0]).flatten().tolist() == pytest.approx([7.0 - k for k in range(10)])


def test_adaptive_bias_without_labels_changes_nothing() -> None:
    scores = noise(2, 3, 2, 2)
    assert torch.equal(run("AdaptiveBiasChannel", "", scores, image_labels([-1], [-1])), scores)


def test_adaptive_bias_refuses() -> None:
    for params, message in [
        ("bg_portion: 1.5", "bg_portion must lie between 0 and 1"),
        ("fg_portion: -0.1", "fg_portion must lie between 0 and 1"),
        ("num_iter: 0", "num_iter must be positive"),
        ("margin_others: -1", "margin_others not negative"),
    ]:
        with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
            make("AdaptiveBiasChannel", f"adaptive_bias_channel_param {{ {params} }}", bottoms=2)
    with pytest.raises(NetError, match="label 5 is neither"):
        run("AdaptiveBiasChannel", "", ZEROS, image_labels([5]))
    with pytest.raises(NetError, match="labels for scores"):
        make("AdaptiveBiasChannel", "", [(1, 3, 2, 2), (1, 1, 2, 2)])


def test_unique_label() -> None:
    labels = torch.tensor([[[3.0, 255], [1, 3]], [[255, 255], [255, 255]]])[:, None]
    params = "unique_label_param { max_labels: 4 ignore_label: 255 force_label: 0 }"
    assert run("UniqueLabel", params, labels).squeeze().tolist() == [[0, 1, 3, -1], [0, -1, -1, -1]]
    one = run("UniqueLabel", "unique_label_param { max_labels: 1 }", torch.full((1, 1, 2, 2), 7.0, dtype=torch.float64))
    assert (one.tolist(), one.dtype) == ([[[[7]]]], torch.float64)
    bare = "unique_label_param { max_labels: 3 }"
    assert run("UniqueLabel", bare, labels).squeeze().tolist() == [[1, 3, 255], [255, -1, -1]]
    with pytest.raises(NetError, match="layer 'l': item 0 has 3 labels, max_labels is 2"):
        run("UniqueLabel", "unique_label_param { max_labels: 2 }", labels)
    with pytest.raises(NetError, match="max_labels must be positive"):
        make("UniqueLabel", "unique_label_param { max_labels: 0 }", [(1, 1, 2, 2)])
