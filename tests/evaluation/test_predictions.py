from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import save_labels_png, write_blob_mat, write_labels_bin, write_probabilities_bin
from deeplab_caffe.errors import DataError, EvaluationError
from deeplab_caffe.evaluation import detect_kind, first_maximum, read_prediction
from deeplab_caffe.viz import VOC_COLORMAP


def test_the_first_maximum_wins_and_nan_never() -> None:
    scores = np.array([[1, 0, np.nan, np.nan, -np.inf], [1, 2, 0, np.nan, -5], [0, 2, 1, np.nan, -6]], np.float32)
    assert first_maximum(scores[:, None]).tolist() == [[0, 1, 2, 0, 1]]
    random = np.random.default_rng(0).integers(0, 4, (21, 30, 40)).astype(np.float32)
    np.testing.assert_array_equal(first_maximum(random), random.argmax(0))
    with pytest.raises(EvaluationError, match="at most 256"):
        first_maximum(np.zeros((257, 1, 1)))


def test_every_kind_gives_the_same_labels(tmp_path: Path) -> None:
    labels = np.array([[0, 2, 1], [1, 1, 20]])
    scores = np.zeros((1, 21, 5, 4), np.float32)
    for (y, x), label in np.ndenumerate(labels):
        scores[0, label, y, x] = 3
    scores[0, 7, 2:] = scores[0, 7, :, 3:] = 9  # padding
    save_labels_png(tmp_path / "p.png", labels, VOC_COLORMAP)
    write_blob_mat(tmp_path / "s_blob_0.mat", scores)
    write_blob_mat(tmp_path / "a_blob_0.mat", labels[None, None])
    write_labels_bin(tmp_path / "l.bin", labels)
    write_probabilities_bin(tmp_path / "q.bin", scores[0, :, :2, :3])
    for name, kind in (("p.png", "png"), ("s_blob_0.mat", "mat"), ("a_blob_0.mat", "mat"), ("l.bin", "bin")):
        np.testing.assert_array_equal(read_prediction(tmp_path / name, kind, (2, 3)), labels)
    np.testing.assert_array_equal(read_prediction(tmp_path / "q.bin", "bin", (2, 3)), labels)


def test_other_sizes_and_fractions(tmp_path: Path) -> None:
    save_labels_png(tmp_path / "p.png", np.zeros((2, 3), int), VOC_COLORMAP)
    with pytest.raises(DataError, match=r"p\.png: is 2 x 3 \(height x width\), the labels are 3 x 3"):
        read_prediction(tmp_path / "p.png", "png", (3, 3))
    write_blob_mat(tmp_path / "a_blob_0.mat", np.full((1, 1, 2, 2), 0.5))
    with pytest.raises(DataError, match="whole numbers"):
        read_prediction(tmp_path / "a_blob_0.mat", "mat", (2, 2))
    with pytest.raises(DataError, match="cannot be read"):
        read_prediction(tmp_path / "none.bin", "bin", (2, 2))
    with pytest.raises(EvaluationError, match="kind of results"):
        read_prediction(tmp_path / "p.png", "npy", (2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_no_result(tmp_path: Path, bad: float) -> None:
    scores = np.zeros((1, 3, 2, 3), np.float32)
    scores[0, 2, 1, 1] = bad
    write_blob_mat(tmp_path / "a_blob_0.mat", scores)
    with pytest.raises(DataError, match=r"a_blob_0\.mat: the scores are not finite: 1 of 6 pixels"):
        read_prediction(tmp_path / "a_blob_0.mat", "mat", (2, 3))
    write_probabilities_bin(tmp_path / "a.bin", scores[0])
    with pytest.raises(DataError, match=r"a\.bin: the scores are not finite: 1 of 6 pixels"):
        read_prediction(tmp_path / "a.bin", "bin", (2, 3))


def test_a_class_that_is_ruled_out_by_minus_infinity_is_none(tmp_path: Path) -> None:
    scores = np.array([[[-np.inf]], [[-5]]], np.float32)
    write_blob_mat(tmp_path / "a_blob_0.mat", scores[None])
    assert read_prediction(tmp_path / "a_blob_0.mat", "mat", (1, 1)) == 1
    write_blob_mat(tmp_path / "a_blob_0.mat", np.full((1, 2, 1, 1), -np.inf, np.float32))
    with pytest.raises(DataError, match="not finite"):
        read_prediction(tmp_path / "a_blob_0.mat", "mat", (1, 1))


def test_detect_kind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no results: none of .*\*\.bin$"):
        detect_kind(tmp_path)
    with pytest.raises(DataError, match="the first id is 'zurich/a'$"):
        detect_kind(tmp_path, ["zurich/a", "b"])
    (tmp_path / "x.bin").touch()
    assert detect_kind(tmp_path) == "bin"
    (tmp_path / "x.png").touch()
    with pytest.raises(DataError, match=r"holds \*\.png, \*\.bin: say which with --input"):
        detect_kind(tmp_path)
    with pytest.raises(DataError, match="cannot be read as a folder"):
        detect_kind(tmp_path / "none")


def test_a_result_of_a_turned_photo(tmp_path: Path) -> None:
    save_labels_png(tmp_path / "p.png", np.zeros((2, 3), int), VOC_COLORMAP)
    with pytest.raises(DataError, match="turned as its EXIF orientation says"):
        read_prediction(tmp_path / "p.png", "png", (3, 2))
