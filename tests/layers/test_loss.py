from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from deeplab_caffe.errors import DataError, NetError
from tests.layers.build import make, noise, run


def scores_and_labels(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(0, 4, (2, 1, 3, 5), generator=torch.Generator().manual_seed(1)).to(dtype)
    labels[0, 0, 0, :2] = 255
    return noise(2, 4, 3, 5, dtype=dtype), labels


def test_softmax_loss_by_hand() -> None:
    scores = torch.tensor([0.0, math.log(3), 0, 0]).reshape(1, 2, 1, 2)  # pixels: (0, 0) and (log 3, 0)
    labels = torch.tensor([1.0, 0]).reshape(1, 1, 1, 2)
    loss = run("SoftmaxWithLoss", "", scores, labels)
    assert loss.shape == (1, 1, 1, 1)
    assert loss.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def test_softmax_loss_agrees_with_torch(tmp_path: Path) -> None:
    scores, labels = scores_and_labels()
    source = tmp_path / "weights.txt"
    source.write_text("0.5 1\n2\n0\n")
    params = f'softmaxloss_param {{ ignore_label: 255 weight_source: "{source}" }}'
    weight = torch.tensor([0.5, 1, 2, 0])
    expected = F.cross_entropy(scores, labels.long().squeeze(1), weight=weight, ignore_index=255)
    torch.testing.assert_close(run("SoftmaxWithLoss", params, scores, labels).squeeze(), expected)


def test_softmax_loss_with_two_tops() -> None:
    scores, labels = scores_and_labels()
    params = "softmaxloss_param { ignore_label: 255 }"
    loss, softmax = run("SoftmaxWithLoss", params, scores, labels, tops=2)
    assert torch.equal(loss, run("SoftmaxWithLoss", params, scores, labels))
    torch.testing.assert_close(softmax, scores.softmax(1))


@pytest.mark.parametrize("weighted", [False, True])
def test_softmax_loss_gradient(weighted: bool, tmp_path: Path) -> None:
    scores, labels = scores_and_labels(torch.float64)
    params = "ignore_label: 255"
    if weighted:
        (tmp_path / "w.txt").write_text("1 2 0.5 3")
        params += f' weight_source: "{tmp_path / "w.txt"}"'
    layer = make("SoftmaxWithLoss", f"softmaxloss_param {{ {params} }}", [(2, 4, 3, 5), (2, 1, 3, 5)]).double()
    scores.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x, labels)[0], scores)
    layer(scores, labels)[0].sum().backward()
    assert scores.grad[0, :, 0, :2].abs().max() == 0


def test_softmax_loss_with_everything_ignored_is_zero() -> None:
    scores, labels = noise(1, 3, 2, 2).requires_grad_(), torch.full((1, 1, 2, 2), 255.0)
    with pytest.warns(UserWarning, match="every label is ignored"):
        loss = run("SoftmaxWithLoss", "softmaxloss_param { ignore_label: 255 }", scores, labels)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad.abs().max() == 0


def test_softmax_loss_refuses_labels() -> None:
    scores = noise(1, 3, 2, 2)
    with pytest.raises(NetError, match="layer 'l': softmax_loss: label 7 at item 0 of 1, row 1, column 0"):
        run("SoftmaxWithLoss", "", scores, torch.tensor([0.0, 1, 7, 2]).reshape(1, 1, 2, 2))
    with pytest.raises(NetError, match=r"layer 'l': labels for scores \(1, 3, 2, 2\) must be \(1, 1, 2, 2\)"):
        make("SoftmaxWithLoss", "", [(1, 3, 2, 2), (1, 1, 2, 3)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read class weights"),
        ("1 two 3", "expected one number per class"),
        ("1 -2 3", "class weights must be finite and not negative"),
        ("1 nan 3", "class weights must be finite and not negative"),
        ("1 inf 3", "class weights must be finite and not negative"),
    ],
)
def test_class_weights_that_are_none(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=f"w.txt: {message}"):
        make("SoftmaxWithLoss", f'softmaxloss_param {{ weight_source: "{path}" }}', bottoms=2)


def test_class_weights_of_another_number_of_classes(tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    path.write_text("1 2")
    with pytest.raises(NetError, match="layer 'l': .*w.txt has 2 class weights, the scores 3 channels"):
        make("SoftmaxWithLoss", f'softmaxloss_param {{ weight_source: "{path}" }}', [(1, 3, 2, 2), (1, 1, 2, 2)])


def test_accuracy() -> None:
    scores = torch.tensor([[1.0, 2, 2], [5, 1, 1], [0, 3, 4]]).reshape(3, 3, 1, 1)
    # The tie of item 0 is class 2's; item 2's best is class 2, then 1.
    labels = torch.tensor([1.0, 0, 1]).reshape(3, 1, 1, 1)
    assert run("Accuracy", "", scores, labels).item() == pytest.approx(1 / 3)
    assert run("Accuracy", "accuracy_param { top_k: 2 }", scores, labels).item() == 1
    unknown = torch.tensor([-1.0, 0, 9]).reshape(3, 1, 1, 1)
    assert run("Accuracy", "accuracy_param { top_k: 3 }", scores, unknown).item() == pytest.approx(1 / 3)
    with pytest.raises(NetError, match="top_k must lie between 1 and the 3 classes, got 4"):
        make("Accuracy", "accuracy_param { top_k: 4 }", [(3, 3, 1, 1), (3, 1, 1, 1)])
    with pytest.raises(NetError, match=r"must be \(3, 1, 1, 1\), got \(3, 1, 2, 1\)"):
        make("Accuracy", "", [(3, 3, 1, 1), (3, 1, 2, 1)])


def test_seg_accuracy_by_hand() -> None:
    predicted = torch.tensor([0, 0, 1, 1])
    scores = F.one_hot(predicted, 4).T.reshape(1, 4, 2, 2).float()
    labels = torch.tensor([0.0, 1, 1, 255]).reshape(1, 1, 2, 2)
    found = run("SegAccuracy", "seg_accuracy_param { ignore_label: 255 }", scores, labels)
    # Class 0: recall 1, IoU 1/2; class 1: recall 1/2, IoU 1/2; classes 2 and 3 are nowhere: IoU 1.
    assert found.flatten().tolist() == pytest.approx([2 / 3, 3 / 4, 3 / 4])


def test_seg_accuracy_adds_up_without_reset() -> None:
    right, wrong = torch.tensor([9.0, 0]).reshape(1, 2, 1, 1), torch.tensor([0.0, 9]).reshape(1, 2, 1, 1)
    labels = torch.zeros(1, 1, 1, 1)
    adding = make("SegAccuracy", "seg_accuracy_param { reset: false }", [(1, 2, 1, 1), (1, 1, 1, 1)])
    fresh = make("SegAccuracy", "", [(1, 2, 1, 1), (1, 1, 1, 1)])
    assert [adding(x, labels)[0][0, 0, 0, 0].item() for x in (right, wrong, right)] == pytest.approx([1, 1 / 2, 2 / 3])
    assert [fresh(x, labels)[0][0, 0, 0, 0].item() for x in (right, wrong, right)] == [1, 0, 1]


def test_seg_accuracy_begins_anew_with_another_number_of_classes() -> None:
    layer = make("SegAccuracy", "seg_accuracy_param { reset: false }", [(1, 2, 1, 1), (1, 1, 1, 1)])
    wrong, right = torch.tensor([0.0, 9]).reshape(1, 2, 1, 1), torch.tensor([9.0, 0, 0]).reshape(1, 3, 1, 1)
    labels = torch.zeros(1, 1, 1, 1)
    assert [layer(x, labels)[0][0, 0, 0, 0].item() for x in (wrong, right, wrong)] == [0, 1, 0]


def test_seg_accuracy_of_ignored_pixels_only() -> None:
    scores, labels = noise(1, 3, 2, 2), torch.full((1, 1, 2, 2), 255.0)
    found = run("SegAccuracy", "seg_accuracy_param { ignore_label: 255 }", scores, labels)
    assert found.flatten().tolist() == [0, 0, 1]


def test_seg_accuracy_ties_and_many_classes() -> None:
    labels = torch.full((1, 1, 1, 1), 299.0)
    assert run("SegAccuracy", "", torch.zeros(1, 300, 1, 1), labels)[0, 0, 0, 0].item() == 1


def test_seg_accuracy_refuses_labels() -> None:
    with pytest.raises(NetError, match="layer 'l': unexpected label 2: expected 0 to 1"):
        run("SegAccuracy", "", torch.zeros(1, 2, 1, 1), torch.full((1, 1, 1, 1), 2.0))
