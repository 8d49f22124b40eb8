from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import load_label, save_image, save_labels_png, write_blob_mat
from deeplab_caffe.errors import DataError, EvaluationError
from deeplab_caffe.evaluation import Classes, ImagePair, detect_kind, evaluate, find_classes, find_pairs, read_ids, save
from deeplab_caffe.evaluation.plot import draw_evaluation
from deeplab_caffe.evaluation.report import html_report
from deeplab_caffe.evaluation.save import save_pngs
from deeplab_caffe.evaluation.tables import as_json, markdown, notes, text_report
from deeplab_caffe.viz import VOC_COLORMAP

CLASSES = Classes(("back <ground>", "car", "dog"), VOC_COLORMAP)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    truth = {"a": [[0, 0, 255], [1, 1, 1]], "b": [[0, 0], [255, 2]]}
    found = {"a": [[0, 1, 2], [1, 1, 0]], "b": [[0, 0], [0, 1]]}
    for name in truth:
        save_labels_png(tmp_path / "labels" / f"{name}.png", np.array(truth[name]), VOC_COLORMAP)
        save_labels_png(tmp_path / "results" / f"{name}.png", np.array(found[name]), VOC_COLORMAP)
        save_image(tmp_path / "images" / f"{name}.png", np.zeros((*np.shape(truth[name]), 3), np.uint8))
    (tmp_path / "val_id.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("/JPEGImages/a.jpg /Labels/a.png\n/JPEGImages/b.jpg /Labels/b.png\n")
    return tmp_path


def pairs_of(folders: Path, ids: tuple[str, ...] = ("a", "b"), **options: bool):
    return find_pairs(folders / "results", folders / "labels", ids, "png", **options)


@pytest.mark.parametrize("jobs", [1, 3])
def test_by_hand(folders: Path, jobs: int) -> None:
    pairs, missing = pairs_of(folders)
    calls = []
    found = evaluate(pairs, CLASSES, "png", widths=[1, 2], jobs=jobs, advance=lambda: calls.append(1))
    assert found.confusion.matrix.tolist() == [[3, 1, 0], [1, 2, 0], [0, 1, 0]]
    assert len(calls) == 2
    assert not missing
    metrics = found.metrics
    assert metrics.pixel_accuracy == 100 * 5 / 8
    assert metrics.mean_iou == (60 + 40 + 0) / 3
    # The confusion is that of the data set: the mean over images is another number.
    assert [image.mean_iou for image in found.images] == [(100 / 3 + 50) / 2, 100 / 3]
    assert [image.name for image in found.worst(1)] == ["b"]
    # Near the void of a: one 0 taken for 1, two 1s of which the last is taken for 0; of b: all.
    assert found.trimap.band(1).matrix.tolist() == [[2, 1, 0], [1, 1, 0], [0, 1, 0]]
    assert found.curve()[2].pixel_accuracy == 100 * 5 / 8


def test_ids(folders: Path) -> None:
    assert read_ids(folders / "val_id.txt") == read_ids(folders / "val.txt") == ["a", "b"]
    (folders / "twice.txt").write_text("a\na\n")
    with pytest.raises(DataError, match=r"twice\.txt:2: 'a' is in line 1 already"):
        read_ids(folders / "twice.txt")
    (folders / "dotted.txt").write_text("2007.01\n")
    assert read_ids(folders / "dotted.txt") == ["2007.01"]


def test_missing_results_fail_or_are_left_out(folders: Path) -> None:
    (folders / "results" / "b.png").unlink()
    with pytest.raises(DataError, match="holds no result of 'b'"):
        pairs_of(folders)
    pairs, missing = pairs_of(folders, skip_missing=True)
    assert [pair.name for pair in pairs] == ["a"]
    assert missing == ["b"]
    with pytest.raises(DataError, match="holds no result of 'c'"):
        pairs_of(folders, ("c",), skip_missing=True)


def test_missing_labels_and_classes_that_do_not_exist(folders: Path) -> None:
    two = Classes(CLASSES.names[:2], VOC_COLORMAP)
    with pytest.raises(DataError, match=r"b\.png: unexpected label 2: expected 0 to 1"):
        evaluate(pairs_of(folders)[0], two, "png")
    save_labels_png(folders / "results" / "a.png", np.full((2, 3), 3), VOC_COLORMAP)
    with pytest.raises(DataError, match=r"results/a\.png: unexpected prediction 3"):
        evaluate(pairs_of(folders)[0], CLASSES, "png")
    (folders / "labels" / "b.png").unlink()
    with pytest.raises(DataError, match="the labels are missing"):
        pairs_of(folders)
    with pytest.raises(EvaluationError, match="nothing to evaluate"):
        evaluate([], CLASSES, "png")


def test_html_needs_no_other_file(folders: Path) -> None:
    pairs, _ = pairs_of(folders)
    found = evaluate(pairs, CLASSES, "png", widths=[1, 2])
    images = {name: folders / "images" / f"{name}.png" for name in "ab"}
    page = html_report(found, pairs, "png", images=images, title="a < b")
    assert "mean IoU <b>33.333 %</b>" in page
    assert "a &lt; b" in page
    assert "back &lt;ground&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 8
    assert html_report(found, pairs, "png", worst=1).count("data:image") == 3
    assert "src='http" not in page
    assert "<svg" in page


def test_figure(folders: Path) -> None:
    pytest.importorskip("matplotlib")
    pairs, _ = pairs_of(folders)
    figure = draw_evaluation(evaluate(pairs, CLASSES, "png", widths=[1, 2]))
    bars, curves = figure.axes
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], [60, 40, 0])
    np.testing.assert_array_equal(curves.lines[1].get_ydata(), [50, 62.5])


@pytest.mark.filterwarnings("ignore:.*lists part names")
def test_ids_with_folders(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for line, name in (
        ("aachen/aachen_000000_000019_leftImg8bit", "aachen/aachen_000000_000019_leftImg8bit"),
        ("./aachen/a.b", "aachen/a.b"),
        ("aachen/a.png", "a"),
        ("/JPEGImages/2007_000033.jpg", "2007_000033"),
        ("img/aachen/a labels/aachen/a", "a"),
        # Nothing is written outside the folder of the results.
        ("../secret", "secret"),
        ("aachen/../../secret", "secret"),
        ("/etc/secret", "secret"),
    ):
        path.write_text(f"{line}\n")
        assert read_ids(path) == [name]


def test_results_in_folders(tmp_path: Path) -> None:
    name = "aachen/x"
    for folder in ("labels", "results"):
        save_labels_png(tmp_path / folder / f"{name}.png", np.array([[0, 1]]), VOC_COLORMAP)
    (tmp_path / "ids.txt").write_text(f"{name}\n")
    ids = read_ids(tmp_path / "ids.txt")
    assert detect_kind(tmp_path / "results", ids) == "png"
    pairs, _ = find_pairs(tmp_path / "results", tmp_path / "labels", ids, "png")
    found = evaluate(pairs, CLASSES, "png")
    assert [image.name for image in found.images] == [name]
    assert found.metrics.pixel_accuracy == 100


def test_ids_with_white_space_are_warned_of(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "list.txt"
    path.write_text("2007_000033 -1\n")
    assert read_ids(path) == ["2007_000033"]
    path.write_text("a.jpg a.png\n")
    assert read_ids(path) == ["a"]
    assert not recwarn.list
    path.write_text("my photo\nyour photo\n")
    with pytest.warns(UserWarning, match=r"list\.txt:1: the id is 'my' \(the line has 2 words"):
        assert read_ids(path) == ["my", "your"]


def test_labels_in_jpeg_are_not_taken(folders: Path) -> None:
    (folders / "labels" / "a.png").rename(folders / "labels" / "a.jpg")
    with pytest.raises(DataError, match="the labels are missing: JPEG changes labels, save PNG"):
        pairs_of(folders)


def test_cityscapes_label_ids(tmp_path: Path) -> None:
    """Ids that the official evaluation ignores do not count; scores are of the 19 classes, label maps hold ids."""
    truth = np.array([[7, 8, 26], [0, 29, 33]], np.uint8)
    Image.fromarray(truth).save(tmp_path / "a.png")
    Image.fromarray(np.array([[7, 7, 26], [7, 7, 33]], np.uint8)).save(tmp_path / "a_result.png")
    scores = np.zeros((1, 19, 2, 3), np.float32)
    for index, (row, column) in zip((0, 0, 13, 1, 1, 18), np.ndindex(2, 3), strict=True):
        scores[0, index, row, column] = 1
    write_blob_mat(tmp_path / "a_blob_0.mat", scores)
    classes = find_classes("cityscapes-ids")
    for kind, name in (("png", "a_result.png"), ("mat", "a_blob_0.mat")):
        found = evaluate([ImagePair("a", tmp_path / name, tmp_path / "a.png")], classes, kind)
        assert found.confusion.matrix.sum() == 4
        assert found.metrics.pixel_accuracy == 75
        assert (found.metrics.iou[0], found.metrics.iou[13]) == (50, 100)
    save_pngs(tmp_path, "mat", ["a"], {"a": tmp_path / "a.png"}, tmp_path / "out", classes)
    assert load_label(tmp_path / "out" / "a.png").tolist() == [[7, 7, 26], [8, 8, 33]]
    Image.fromarray(np.full((2, 3), 29, np.uint8)).save(tmp_path / "a_result.png")
    with pytest.raises(DataError, match=r"a_result\.png: unexpected prediction 255: expected 0 to 18"):
        evaluate([ImagePair("a", tmp_path / "a_result.png", tmp_path / "a.png")], classes, "png")


def test_labels_are_saved_as_the_data_sets_ids_but_once(tmp_path: Path) -> None:
    """Scores count classes; a label map of a data set with ids holds these already."""
    scores = np.zeros((1, 19, 1, 3), np.float32)
    scores[0, [0, 13, 18], 0, [0, 1, 2]] = 1
    write_blob_mat(tmp_path / "a_blob_0.mat", scores)
    Image.fromarray(np.array([[7, 26, 33]], np.uint8)).save(tmp_path / "a.png")
    partner = {"a": tmp_path / "a.png"}
    for kind, classes, expected in (
        ("mat", "cityscapes-ids", [7, 26, 33]),
        ("png", "cityscapes-ids", [7, 26, 33]),
        ("mat", "cityscapes", [0, 13, 18]),
        ("png", "cityscapes", [7, 26, 33]),
    ):
        save_pngs(tmp_path, kind, ["a"], partner, tmp_path / "out", find_classes(classes))
        assert load_label(tmp_path / "out" / "a.png").tolist() == [expected]
    with pytest.raises(DataError, match="out: nothing says how large 'b' is: no photograph and no labels"):
        save_pngs(tmp_path, "png", ["b"], partner, tmp_path / "out", find_classes("cityscapes"))


def test_pngs_are_saved_by_as_many_threads_as_there_are_usable_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    names = [str(number) for number in range(8)]
    running = threading.Barrier(3)  # a third thread at work would open it

    def wait(*_: object) -> tuple[int, int]:
        with pytest.raises(threading.BrokenBarrierError):
            running.wait(0.3)
        return 1, 1

    monkeypatch.setattr(save, "image_size", wait)
    for name in names:
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(tmp_path / f"{name}.png")
    partners = {name: tmp_path / f"{name}.png" for name in names}
    save_pngs(tmp_path, "png", names, partners, tmp_path / "out", find_classes("voc12"))


@pytest.mark.parametrize("widths", [[1], [1, 40]])
def test_ids_of_no_class_are_void_in_trimaps_whatever_is_ignored(tmp_path: Path, widths: list[int]) -> None:
    """Class 0 (id 7, road) is ignored; so are ids 0 and 29, of no class, which no band counts anywhere."""
    Image.fromarray(np.array([[0, 8, 26, 7], [29, 8, 26, 26]], np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.array([[7, 8, 26, 8], [7, 8, 26, 26]], np.uint8)).save(tmp_path / "a_result.png")
    pairs = [ImagePair("a", tmp_path / "a_result.png", tmp_path / "a.png")]
    found = evaluate(pairs, find_classes("cityscapes-ids"), "png", widths=widths, ignore_label=0)
    # Ids 8 and 26 are classes 1 and 13; all their pixels lie beside a void one, and all are right.
    for width in widths:
        matrix = found.trimap.band(width).matrix
        assert (matrix.sum(), matrix[1, 1], matrix[13, 13]) == (5, 2, 3)
        assert found.curve()[width].pixel_accuracy == 100
    assert found.metrics.pixel_accuracy == 100


def test_markdown_has_a_line_for_each_trimap(folders: Path) -> None:
    pairs, _ = pairs_of(folders)
    head = "\n| trimap width | mean IoU | pixel accuracy | mean class accuracy |\n| ---: | ---: | ---: | ---: |\n"
    plain, wide = (markdown(evaluate(pairs, CLASSES, "png", widths=widths)) for widths in ([], [1, 40]))
    assert "trimap" not in plain
    lines = wide.partition(head)[2].splitlines()
    assert [line.split(" | ")[0] for line in lines[:2]] == ["| 1 px", "| 40 px"]
    assert [line.count("|") for line in lines[:2]] == [5, 5]


def test_means_over_chosen_classes(folders: Path) -> None:
    pairs, _ = pairs_of(folders)
    whole = evaluate(pairs, CLASSES, "png", widths=[1])
    found = evaluate(pairs, CLASSES, "png", widths=[1], only=["dog", "car"])
    assert found.metrics.mean_iou == (0 + 40) / 2
    assert found.metrics.mean_class_accuracy == (0 + 100 * 2 / 3) / 2
    # All classes are still counted: only the means change.
    assert found.metrics.pixel_accuracy == whole.metrics.pixel_accuracy
    assert found.metrics.iou.tolist() == whole.metrics.iou.tolist()
    assert found.curve()[1].mean_iou == (0 + 25) / 2
    # Image a has no dog: the one that was found there lies in the void.
    assert [image.mean_iou for image in found.images] == [50, 0]
    assert "The means are over 2 classes: dog, car." in text_report(found)
    assert "in per cent. The means are over 2 classes: dog, car.\n" in markdown(found)
    assert "The means are over 2 classes: dog, car." in html_report(found, pairs, "png")
    assert as_json(found)["means_over"] == ["dog", "car"]
    assert "means_over" not in as_json(whole)


def test_only_absent_classes_of_the_means_are_warned_of(folders: Path) -> None:
    classes = Classes((*CLASSES.names, "boat"), VOC_COLORMAP)
    pairs, _ = pairs_of(folders)
    assert any("boat" in note for note in notes(evaluate(pairs, classes, "png")))
    assert not any("boat" in note for note in notes(evaluate(pairs, classes, "png", only=["car"])))


@pytest.mark.parametrize("only", [["cat"], ["car", "car"], [""]])
def test_means_over_what_is_no_class(folders: Path, only: list[str]) -> None:
    pairs, _ = pairs_of(folders)
    with pytest.raises(EvaluationError, match=r"expected each once of back <ground>, car, dog, got"):
        evaluate(pairs, CLASSES, "png", only=only)
