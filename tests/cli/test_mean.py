from __future__ import annotations

from pathlib import Path

import numpy as np

from deeplab_caffe.data import save_image


def test_mean(run, tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.full((2, 3, 3), (10, 20, 30), np.uint8))
    found = run("mean", tmp_path, "--out", tmp_path / "m.npy", "--out", tmp_path / "m.binaryproto")
    assert found.out.splitlines() == ["mean_value: 30.0000", "mean_value: 20.0000", "mean_value: 10.0000"]
    assert np.load(tmp_path / "m.npy").shape == (3, 2, 3)
    assert (tmp_path / "m.binaryproto").is_file()
    assert "cannot be read" in run("mean", tmp_path / "none.txt").error_line()


def test_a_mean_over_an_image_is_refused(run, tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", np.full((2, 3, 3), 20, np.uint8))
    (tmp_path / "m.npy").symlink_to(tmp_path / "a.png")
    line = run("mean", tmp_path, "--out", tmp_path / "m.npy").error_line()
    assert f"m.npy: --out would be written over the source '{tmp_path / 'a.png'}'" in line
