from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def enter_exper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int, lists: Sequence[str]) -> Path:
    """Go to a folder as the run script works in, whose lists have two images, 40 pixels wide, of three classes each."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "exper" / "voc12" / "list"
    folder.mkdir(parents=True)
    for name in "ab":
        labels = np.zeros((height, 40), np.uint8)
        labels[5:20, 8:30] = 1 if name == "a" else 3
        labels[:3] = 255
        Image.fromarray(rng.integers(0, 255, (height, 40, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
        Image.fromarray(labels).save(tmp_path / f"{name}_labels.png")
    for each in lists:
        (folder / f"{each}.txt").write_text("".join(f"/{name}.png /{name}_labels.png\n" for name in "ab"))
    monkeypatch.chdir(tmp_path / "exper")
    return tmp_path / "exper"
