from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab_caffe.data import (
    load_image,
    read_labels_bin,
    read_probabilities_bin,
    write_labels_bin,
    write_probabilities_bin,
)
from deeplab_caffe.errors import DataError
from tests.goldens import case_dir, case_names, load_case

CASES = case_names("refine_pascal")


@pytest.mark.parametrize("name", CASES)
def test_the_programs_label_maps(name: str, tmp_path: Path) -> None:
    folder = case_dir(name)
    (path,) = (folder / "res").glob("*.bin")
    labels = read_labels_bin(path)
    np.testing.assert_array_equal(labels, np.load(folder / "label_map.npy"))
    assert labels.dtype == np.int16
    write_labels_bin(tmp_path / "x.bin", labels)
    assert (tmp_path / "x.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", [name for name in CASES if "_v4_" not in name])
def test_the_programs_probabilities(name: str, tmp_path: Path) -> None:
    case, folder = load_case(name), case_dir(name)
    (path,) = (folder / "feat").glob("*.bin")
    probabilities = read_probabilities_bin(path)
    assert probabilities.shape == (case["classes"], case["height"], case["width"])
    assert probabilities.dtype == np.float32
    assert load_image(next((folder / "img").glob("*.ppm"))).shape[:2] == probabilities.shape[1:]
    # They sum to one over the channels only if the axes are read in the right order.
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    agree = (probabilities.argmax(axis=0) == np.load(folder / "label_map.npy")).mean()
    assert agree > 0.6
    write_probabilities_bin(tmp_path / "x.bin", probabilities)
    assert (tmp_path / "x.bin").read_bytes() == path.read_bytes()


def test_columns_run_fastest_down(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.bin"
    write_labels_bin(path, np.array([[1, 2, 3], [4, 5, -6]]))
    assert path.read_bytes() == struct.pack("<3i6h", 2, 3, 1, 1, 4, 2, 5, 3, -6)
    path.write_bytes(struct.pack("<3i4f", 1, 2, 2, 0.1, 0.2, 0.3, 0.4))
    np.testing.assert_array_equal(read_probabilities_bin(path), np.float32([[[0.1, 0.2]], [[0.3, 0.4]]]))
    assert read_probabilities_bin(path).flags.c_contiguous


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "shorter than its header"),
        (struct.pack("<2i", 1, 1), "shorter than its header"),
        (struct.pack("<3i", 0, 1, 1), "0 rows"),
        (struct.pack("<3i", 1, -1, 1), "-1 columns"),
        (struct.pack("<3i", 2**31 - 1, 2**31 - 1, 2**31 - 1), "truncated"),
        (struct.pack("<3i2h", 1, 3, 1, 0, 0), "truncated: .* need 18 bytes, got 16"),
        (struct.pack("<3i2h", 1, 1, 1, 0, 0), "too long"),
        (struct.pack("<3i2h", 1, 1, 2, 0, 0), "1 channel, got 2"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.bin: .*{message}"):
        read_labels_bin(tmp_path / "x.bin")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.tuples(*[st.integers(-3, 6)] * 3), content=st.binary(max_size=300))
def test_any_bytes(tmp_path: Path, sizes: tuple[int, int, int], content: bytes) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(struct.pack("<3i", *sizes) + content)
    fits = min(sizes) > 0 and len(content) == 4 * np.prod(sizes)
    if fits:
        rows, columns, channels = sizes
        assert read_probabilities_bin(path).shape == (channels, rows, columns)
    else:
        with pytest.raises(DataError):
            read_probabilities_bin(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.bin: cannot be read: No such file"):
        read_labels_bin(tmp_path / "none.bin")
    with pytest.raises(DataError, match="Is a directory"):
        read_probabilities_bin(tmp_path)


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((0, 2)), np.array([[40000]]), np.array([[0.5]])])
def test_what_is_no_label_map_is_not_written(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(DataError):
        write_labels_bin(tmp_path / "x.bin", labels)
    with pytest.raises(DataError):
        write_probabilities_bin(tmp_path / "x.bin", labels)
    assert list(tmp_path.iterdir()) == []
