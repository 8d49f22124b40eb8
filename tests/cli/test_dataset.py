from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from deeplab_caffe.data import save_image


def test_checks_and_writes(run, tmp_path: Path) -> None:
    for folder, pixels in (("JPEGImages", np.zeros((2, 3, 3), np.uint8)), ("masks", np.eye(2, 3, dtype=np.uint8))):
        save_image(tmp_path / folder / "p.png", pixels)
    words = ("dataset", "folders", tmp_path, "--labels", "masks", "--classes", "nothing,cat")
    shown = run(*words, "--check-only").out
    assert re.search(r"1 cat +2 \(33.33%\) +1\n", shown)
    assert not (tmp_path / "list").exists()
    assert run(*words).out.endswith(f'root_folder: "{tmp_path}"\n')
    assert (tmp_path / "list" / "all.txt").read_text() == "/JPEGImages/p.png /masks/p.png\n"
    assert "is there already" in run(*words).error_line()
    assert run("dataset", "folders", tmp_path).status == 2
