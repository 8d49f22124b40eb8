from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_caffe import proto
from deeplab_caffe.errors import EvaluationError
from deeplab_caffe.evaluation import ConfusionMatrix
from tests.goldens import case_dir, case_names, load_case
from tests.torchvision_models import define_operators


def test_by_hand() -> None:
    confusion = ConfusionMatrix(4, ignore_labels=[255])
    confusion.accumulate(np.array([[0, 0, 0, 1], [1, 255, 2, 2]]), np.array([[0, 0, 1, 1], [1, 9, 0, 0]]))
    assert confusion.matrix.tolist() == [[2, 1, 0, 0], [0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 0]]
    assert confusion.pixel_accuracy() == 4 / 7
    np.testing.assert_array_equal(confusion.recall(), [2 / 3, 1, 0, math.nan])
    assert confusion.mean_recall() == pytest.approx((2 / 3 + 1 + 0) / 3)
    np.testing.assert_array_equal(confusion.iou(), [2 / 5, 2 / 3, 0, math.nan])
    assert confusion.mean_iou() == pytest.approx((2 / 5 + 2 / 3 + 0) / 3)
    assert confusion.mean_iou("one") == pytest.approx((2 / 5 + 2 / 3 + 0 + 1) / 4)
    assert confusion.mean_iou("zero") == pytest.approx((2 / 5 + 2 / 3 + 0 + 0) / 4)
    assert confusion.mean_recall("zero") == pytest.approx((2 / 3 + 1 + 0 + 0) / 4)
    assert math.isnan(confusion.mean_iou("nan"))


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_against_counting_one_by_one(classes: int, pixels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.integers(-1, classes, pixels)
    predicted = rng.integers(0, classes, pixels)
    confusion = ConfusionMatrix(classes, [-1, 0])
    confusion.accumulate(actual, predicted)
    expected = np.zeros((classes, classes), int)
    for true, guess in zip(actual, predicted, strict=True):
        if true > 0:
            expected[true, guess] += 1
    np.testing.assert_array_equal(confusion.matrix, expected)


@pytest.mark.parametrize("name", case_names("segaccuracy"))
def test_the_originals_numbers(name: str) -> None:
    case, folder = load_case(name), case_dir(name)
    param = proto.read_net(folder / "net.prototxt").layer[0].seg_accuracy_param
    blobs, confusion, numbers = {}, None, None
    for step in case["steps"]:
        if step["op"] == "set_data":
            blobs[step["blob"]] = np.load(folder / step["file"])
        elif step["op"] == "forward":
            scores = blobs["x"]
            if confusion is None:
                confusion = ConfusionMatrix(scores.shape[1], param.ignore_label)
            if param.reset:
                confusion.reset()
            # Among equal scores the largest class wins.
            predicted = scores.shape[1] - 1 - scores[:, ::-1].argmax(axis=1)
            confusion.accumulate(blobs["label"][:, 0], predicted)
            numbers = [confusion.pixel_accuracy(), confusion.mean_recall(), confusion.mean_iou("one")]
        elif step["op"] == "get_data":
            np.testing.assert_array_equal(np.float32(numbers), np.load(folder / step["file"]).ravel())


def test_counts_of_several_processes_add_up() -> None:
    one, two = ConfusionMatrix(2), ConfusionMatrix(2)
    one.accumulate(np.array([0, 1]), np.array([0, 0]))
    two.accumulate(np.array([1]), np.array([1]))
    one.add(two.matrix)
    assert one.matrix.tolist() == [[1, 0], [1, 1]]
    one.reset()
    assert not one.matrix.any()
    with pytest.raises(EvaluationError, match=r"expected counts \(2, 2\), got \(3, 3\)"):
        one.add(np.zeros((3, 3)))


def test_nothing_counted_is_nan_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    confusion = ConfusionMatrix(3, [255])
    confusion.accumulate(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert math.isnan(confusion.pixel_accuracy())
    assert math.isnan(confusion.mean_recall())
    assert math.isnan(confusion.mean_iou())
    assert confusion.mean_iou("one") == 1
    assert len(recwarn) == 0


def test_labels_as_floats_are_cut_off() -> None:
    confusion = ConfusionMatrix(3, [255])
    confusion.accumulate(np.float32([0.9, 2.0, 255.0, -0.5]), np.float32([0, 2, 0, 1]))
    assert confusion.matrix.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("actual", "predicted", "message"),
    [
        ([0, 3], [0, 0], "unexpected label 3: expected 0 to 2"),
        ([-1], [0], "unexpected label -1"),
        ([0], [3], "unexpected prediction 3"),
        ([math.nan], [0], "unexpected label: NaN"),
        ([0.0], [1e30], "unexpected prediction: NaN or not"),
        ([0, 0], [0], r"labels are \(2,\), predictions \(1,\)"),
    ],
)
def test_unexpected_labels(actual: list, predicted: list, message: str) -> None:
    confusion = ConfusionMatrix(3, [255])
    with pytest.raises(EvaluationError, match=message) as found:
        confusion.accumulate(np.array(actual), np.array(predicted))
    assert found.value.what == next((what for what in ("label", "prediction") if f"unexpected {what}" in message), None)
    assert not confusion.matrix.any()


def test_unknown_words() -> None:
    with pytest.raises(ValueError, match="absent must be"):
        ConfusionMatrix(2).mean_iou("none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_classes must be positive"):
        ConfusionMatrix(0)


def metric_batches(num_classes: int = 5) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Scores (N, C, H, W) and true labels with 255 in them; the last class is nowhere true or predicted."""
    numbers = torch.Generator().manual_seed(1)
    for _ in range(3):
        scores = torch.randn(2, num_classes, 6, 7, generator=numbers)
        scores[:, -1] = -99
        target = torch.randint(0, num_classes - 1, (2, 6, 7), generator=numbers)
        target[torch.rand(target.shape, generator=numbers) < 0.2] = 255
        yield scores, target


def test_update_takes_predictions_first_labels_or_scores() -> None:
    confusion, other = ConfusionMatrix(5, [255]), ConfusionMatrix(5, [255])
    for scores, target in metric_batches():
        confusion.update(scores, target)
        other.update(scores.argmax(1).numpy(), target.numpy())
    assert np.array_equal(confusion.matrix, other.matrix)
    assert confusion.compute() == confusion.mean_iou()
    wrong = ConfusionMatrix(2)
    wrong.update(np.array([0, 1, 1]), np.array([0, 0, 0]))
    assert wrong.matrix.tolist() == [[1, 2], [0, 0]]
    wrong.reset()
    assert not wrong.matrix.any()
    with pytest.raises(EvaluationError, match=r"labels are \(2,\), predictions \(3,\)"):
        wrong.update(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("ignored", [255, 0, None])
def test_it_is_torchmetrics_jaccard_index(ignored: int | None) -> None:
    # It imports torchvision if that is installed.
    define_operators()
    classification = pytest.importorskip("torchmetrics.classification")
    metric = classification.MulticlassJaccardIndex(5, ignore_index=ignored)
    confusion = ConfusionMatrix(5, [] if ignored is None else [ignored])
    for scores, target in metric_batches():
        known = target if ignored == 255 else target.clamp(max=3)
        for one in (metric, confusion):
            one.update(scores, known)
    assert confusion.compute() == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64, np.int64])
def test_labels_of_any_integers(dtype: type) -> None:
    confusion = ConfusionMatrix(2)
    confusion.accumulate(np.array([[0, 1, 1]], dtype), np.array([[0, 0, 1]], dtype))
    assert confusion.matrix.tolist() == [[1, 0], [1, 1]]
