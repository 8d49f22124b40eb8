"""``.npy`` files: written whole or not at all; an image's scores."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data.io.npy import read_npy, read_scores_npy, save_npy
from deeplab_caffe.errors import DataError


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3)[:, ::2], np.zeros((0, 3), np.float16), np.float32(4)])
def test_it_is_read_again(array: np.ndarray, tmp_path: Path) -> None:
    save_npy(tmp_path / "x.npy", array)
    again = np.load(tmp_path / "x.npy")
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


def test_folders_are_made_on_request(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.npy: .*[Nn]o such"):
        save_npy(tmp_path / "a" / "x.npy", np.zeros(2))
    save_npy(tmp_path / "a" / "x.npy", np.zeros(2), make_folders=True)
    assert np.load(tmp_path / "a" / "x.npy").shape == (2,)


def test_scores_of_one_image(tmp_path: Path) -> None:
    scores = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    path = tmp_path / "x.npy"
    for array in (scores, scores[None], np.asfortranarray(scores)):
        save_npy(path, array)
        whole = read_scores_npy(path, (3, 4))
        assert (whole.dtype, whole.flags.c_contiguous, whole.tolist()) == (np.float32, True, scores.tolist())
        # The image is their upper left part.
        assert read_scores_npy(path, (1, 2)).tolist() == [[[0, 1]], [[12, 13]]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4), np.int32), "expected an array of floating-point scores"),
        (np.zeros((3, 4)), r"expected scores \(C, H, W\), got \(3, 4\)"),
        (np.zeros((2, 2, 3, 4)), r"expected scores \(C, H, W\), got \(2, 2, 3, 4\)"),
        (np.zeros((1, 1, 2, 3, 4)), r"expected scores \(C, H, W\), got \(1, 1, 2, 3, 4\)"),
        (np.zeros((0, 3, 4)), r"expected scores \(C, H, W\), got \(0, 3, 4\)"),
        (np.zeros((2, 2, 4)), "the scores are 2 x 4 .height x width., smaller than the image of 3 x 4"),
        (np.zeros((2, 3, 3)), "the scores are 3 x 3 .height x width., smaller than the image of 3 x 4"),
        (np.array([None]), r"is no \.npy file of numbers"),
    ],
)
def test_arrays_that_are_no_scores_of_the_image(array: np.ndarray, message: str, tmp_path: Path) -> None:
    save_npy(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=rf"x\.npy: {message}"):
        read_scores_npy(tmp_path / "x.npy", (3, 4))


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle ran",)


def test_other_files_than_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for content in (pickle.dumps(Harmful()), b"", b"no array"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.npy: is no \.npy file of numbers"):
            read_scores_npy(path, (3, 4))
    with path.open("wb") as file:
        np.savez(file, scores=np.zeros((2, 3, 4)))
    with pytest.raises(DataError, match=r"x\.npy: expected an array of floating-point scores"):
        read_scores_npy(path, (3, 4))
    with pytest.raises(DataError, match=r"none: cannot be read: No such file"):
        read_scores_npy(tmp_path / "none", (3, 4))


@pytest.mark.parametrize(
    "damage",
    [
        lambda npy, _: npy.replace(b"(2, 3, 4)", b"(2, 3, 4 "),
        lambda npy, _: npy.replace(b"4), }", b'4), """'),
        lambda npy, _: npy.replace(b"(2, 3, 4)", b"(2, 3, -4)"[:9]),
        lambda npy, _: npy.replace(b"'shape'", b"'shap\xff'"),
        lambda npy, _: npy[:-1],
        lambda npy, _: npy[:20],
        lambda _, npz: npz[:-9],
        lambda _, npz: npz[:40],
        lambda _, npz: npz.replace(b"PK\x01\x02", b"PK\x01\x03"),
    ],
)
def test_damaged_files(damage: Callable[[bytes, bytes], bytes], tmp_path: Path) -> None:
    path, archive = tmp_path / "x.npy", tmp_path / "x.npz"
    save_npy(path, np.zeros((2, 3, 4)))
    np.savez(archive, scores=np.zeros((2, 3, 4)))
    path.write_bytes(damage(path.read_bytes(), archive.read_bytes()))
    with pytest.raises(DataError, match=r"x\.npy: is no \.npy file of numbers"):
        read_npy(path)


# A limit on the file's size stands for the full disk: both give a short write.
FULL = """
import resource, signal, sys
import numpy as np
from deeplab_caffe.data.io.npy import save_npy
from deeplab_caffe.errors import DataError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    save_npy(sys.argv[1], np.zeros(1_000_000, np.float32))
except DataError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL, str(tmp_path / "x.npy")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert any(word in said.lower() for word in ("space", "large", "full", "quota"))
    assert not list(tmp_path.iterdir())
