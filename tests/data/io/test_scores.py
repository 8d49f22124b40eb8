"""Files of scores by the ends of their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import write_blob_mat, write_probabilities_bin
from deeplab_caffe.data.io.scores import ScoreFormat, read_scores, score_format
from deeplab_caffe.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2007_000033_blob_0.mat", "mat"),
        ("a.bin", "bin"),
        ("a.b.npy", "npy"),
        ("a_blob_1.mat", None),
        ("_blob_0.mat", None),
        (".npy", None),
        ("a.png", None),
    ],
)
def test_the_format_is_told_by_the_name(name: str, expected: ScoreFormat | None) -> None:
    assert score_format(name) == expected


def test_all_formats_give_the_same(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3) / 16
    write_blob_mat(tmp_path / "a_blob_0.mat", values[None])
    write_probabilities_bin(tmp_path / "a.bin", values)
    np.save(tmp_path / "a.npy", values.astype(np.float64))
    for form in ("mat", "bin", "npy"):
        (path,) = (path for path in tmp_path.iterdir() if score_format(path.name) == form)
        found = read_scores(path, form, (2, 3))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, values)
    for form in ("mat", "npy"):
        (path,) = (path for path in tmp_path.iterdir() if score_format(path.name) == form)
        np.testing.assert_array_equal(read_scores(path, form, (1, 2)), values[:, :1, :2])
        with pytest.raises(
            DataError, match=r"the scores are 2 x 3 \(height x width\), smaller than the image of 3 x 3"
        ):
            read_scores(path, form, (3, 3))
    with pytest.raises(DataError, match=r"a\.bin: the probabilities are 2 x 3 .*, but the image is 1 x 2"):
        read_scores(tmp_path / "a.bin", "bin", (1, 2))
