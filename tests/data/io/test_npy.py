"""Writing ``.npy``: whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data.io.npy import save_npy
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
