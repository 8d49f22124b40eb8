from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import EvaluationError
from deeplab_caffe.evaluation import Classes, ConfusionMatrix, find_classes, measure
from deeplab_caffe.evaluation.evaluate import Evaluation, ImageResult
from deeplab_caffe.evaluation.tables import as_json, escape_markdown, json_text, markdown, notes, text_report
from deeplab_caffe.viz import VOC_COLORMAP


def counted(matrix: list[list[int]]) -> ConfusionMatrix:
    confusion = ConfusionMatrix(len(matrix), [255])
    confusion.add(np.array(matrix))
    return confusion


# Class 3 is neither true nor predicted; class 2 is predicted and never true.
HAND = [[6, 1, 1, 0], [2, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_by_hand() -> None:
    found = measure(counted(HAND))
    assert found.pixel_accuracy == 100 * 9 / 13
    np.testing.assert_array_equal(found.class_accuracy, [75, 60, math.nan, math.nan])
    np.testing.assert_array_equal(found.iou, [60, 50, 0, math.nan])
    assert found.pixels.tolist() == [8, 5, 0, 0]
    assert found.absent == [3]
    # MyVOCevalseg.m: classes without pixels are 0 and count.
    assert found.mean_class_accuracy == (75 + 60) / 4
    assert found.mean_iou == (60 + 50) / 4


def test_trimaps_treat_absent_classes_their_own_way() -> None:
    found = measure(counted(HAND), boundary=True)
    assert found.mean_class_accuracy == (75 + 60) / 2
    assert math.isnan(found.mean_iou)
    assert measure(counted([[6, 2], [2, 2]]), boundary=True).mean_iou == pytest.approx((60 + 100 / 3) / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("rule", "mean_iou", "mean_class_accuracy"),
    [
        ("zero", 110 / 4, 135 / 4),
        ("skip", 110 / 3, 135 / 2),
        ("nan", math.nan, 135 / 2),
        ("one", 210 / 4, 135 / 2),
    ],
)
@pytest.mark.parametrize("boundary", [False, True])
def test_rules(rule: str, mean_iou: float, mean_class_accuracy: float, boundary: bool) -> None:
    found = measure(counted(HAND), rule, boundary=boundary)
    np.testing.assert_array_equal([found.mean_iou, found.mean_class_accuracy], [mean_iou, mean_class_accuracy])


def test_nothing_counted() -> None:
    found = measure(ConfusionMatrix(2))
    assert math.isnan(found.pixel_accuracy)
    assert found.mean_iou == 0
    assert math.isnan(measure(ConfusionMatrix(2), "skip").mean_iou)


def test_unknown_rule() -> None:
    with pytest.raises(EvaluationError, match="expected one of original, zero"):
        measure(ConfusionMatrix(2), "half")  # type: ignore[arg-type]


def evaluation(tmp_path, matrix: list[list[int]] = HAND) -> Evaluation:
    path = tmp_path / "names.txt"
    path.write_text("sky\nroad\n\ncar & cart\ndog\n"[: 100 if len(matrix) == 4 else 0])
    return Evaluation(find_classes(str(path)), counted(matrix), None, (ImageResult("a", 50.0, math.nan),), ("b",))


def test_text_is_what_the_script_prints(tmp_path) -> None:
    assert text_report(evaluation(tmp_path)).splitlines() == [
        "Percentage of pixels correctly labelled overall: 69.231%",
        "Accuracy for each class (pixel accuracy)",
        "             sky: 75.000%",
        "            road: 60.000%",
        "      car & cart:  0.000%",
        "             dog:  0.000%",
        "-------------------------",
        "Mean Class Accuracy: 33.750%",
        "Accuracy for each class (intersection/union measure)",
        "             sky: 60.000%",
        "            road: 50.000%",
        "      car & cart:  0.000%",
        "             dog:  0.000%",
        "-------------------------",
        "Average accuracy: 27.500%",
    ]


def test_markdown_and_json(tmp_path) -> None:
    found = evaluation(tmp_path)
    assert "| 27.500 | 69.231 | 33.750 |" in markdown(found)
    assert "| dog | - | - | 0 |" in markdown(found)
    content = as_json(found)
    assert content["mean_iou"] == 27.5
    assert content["classes"]["dog"] == {"iou": None, "class_accuracy": None, "pixels": 0}
    assert content["confusion"] == HAND
    assert content["per_image"] == {"a": {"mean_iou": None, "pixel_accuracy": 50.0}}
    assert "NaN" not in json_text(found)
    assert notes(found) == [
        "1 images have no result and count nothing, the first is 'b'",
        "neither true nor predicted: dog; they count 0 % in the means (MyVOCevalseg.m)",
    ]


def test_classes(tmp_path) -> None:
    assert len(find_classes("voc12")) == 21
    assert find_classes("camvid").names[0] == "Sky"
    with pytest.raises(EvaluationError, match="voc12, camvid, .*person-part or a file"):
        find_classes(str(tmp_path / "none.txt"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(EvaluationError, match="got 0"):
        find_classes(str(tmp_path / "empty.txt"))


def script(counts: list[list[int]]) -> tuple[float, float, float]:
    """MyVOCevalseg.m's three numbers, statement by statement."""
    num = len(counts)
    overall = 100 * sum(counts[j][j] for j in range(num)) / sum(map(sum, counts))
    class_accuracy, iou = [], []
    for j in range(num):
        true, found = sum(counts[j]), sum(row[j] for row in counts)
        class_accuracy.append(100 * counts[j][j] / (true or 1))
        iou.append(100 * counts[j][j] / ((true + found - counts[j][j]) or 1))
    return overall, sum(class_accuracy) / num, sum(iou) / num


@settings(deadline=None)
@given(st.integers(1, 21), st.integers(0, 2**32 - 1))
def test_against_the_script_to_the_last_bit(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 10**7, (classes, classes))
    absent = rng.random(classes) < 0.2
    counts[absent] = 0
    counts[:, absent] = 0
    counts[0, 0] += 1
    found = measure(counted(counts.tolist()))
    assert (found.pixel_accuracy, found.mean_class_accuracy, found.mean_iou) == script(counts.tolist())


def test_markdown_shows_names_as_they_are() -> None:
    assert escape_markdown("vgg128_noup val") == "vgg128_noup val"
    assert escape_markdown("a|b <i> & [x](y) *z* `c` \\") == r"a\|b &lt;i&gt; &amp; \[x\](y) \*z\* \`c\` \\"
    assert escape_markdown("_em_ #1\n\x1b[2J  x") == r"\_em\_ \#1 \[2J x"
    classes = Classes(("a|b", "<b>", "c", "d"), VOC_COLORMAP)
    found = Evaluation(classes, counted(HAND), None, (ImageResult("a", 50.0, math.nan),))
    text = markdown(found, "x\n# y <z>")
    assert text.startswith("# x \\# y &lt;z&gt;\n")
    assert r"| a\|b | 60.000 |" in text
    assert "| &lt;b&gt; | 50.000 |" in text


def test_the_mean_of_the_images_is_another_number() -> None:
    images = tuple(ImageResult(name, 50.0, iou) for name, iou in (("a", 30.0), ("b", math.nan), ("c", 70.0)))
    found = Evaluation(find_classes("voc12"), ConfusionMatrix(21), None, images)
    assert found.mean_iou_of_images == as_json(found)["mean_iou_of_images"] == 50
    assert "each image's own mean IoU: 50.000." in markdown(found)
    assert math.isnan(Evaluation(find_classes("voc12"), ConfusionMatrix(21), None, images[1:2]).mean_iou_of_images)


@pytest.mark.parametrize(("count", "wrong", "said"), [(1449, 0, True), (1449, 50, False), (100, 0, False)])
def test_a_score_that_only_weights_that_saw_val_have(count: int, wrong: int, said: bool) -> None:
    confusion = ConfusionMatrix(2)
    confusion.add(np.array([[100, wrong], [wrong, 100]]))
    images = tuple(ImageResult(str(number), 50.0, 50.0) for number in range(count))
    found = notes(Evaluation(find_classes(["a", "b"]), confusion, None, images))
    assert any("trained on val" in note for note in found) == said
