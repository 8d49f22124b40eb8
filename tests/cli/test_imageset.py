from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import save_image


def test_imageset(run, tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    for side in (2, 3):
        save_image(tmp_path / f"{side}.png", np.zeros((side, side, 3), np.uint8))
    (tmp_path / "list.txt").write_text("2.png 0\n3.png 1\n")
    words = ("imageset", tmp_path / "list.txt", tmp_path / "db", "--root", f"{tmp_path}/")
    found = run(*words)
    assert found.out == f"{tmp_path / 'db'}: 2 images\n"
    assert "2 sizes" in found.err
    assert "is there already" in run(*words).error_line()
    assert run(*words, "--encoded", "--grey").status == 2
