from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """Values for all templates, with a list of one image of 40 x 30 and its label map behind them."""
    lists = tmp_path / "exper" / "voc12" / "list"
    lists.mkdir(parents=True)
    Image.fromarray(np.full((30, 40, 3), 128, np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((30, 40), 3, np.uint8)).save(tmp_path / "a_labels.png")
    for name in ("train_aug", "val"):
        (lists / f"{name}.txt").write_text("/a.png /a_labels.png\n")
        (lists / f"{name}_id.txt").write_text("a\n")
    return {
        "EXP": "voc12",
        "NET_ID": "net",
        "DATA_ROOT": str(tmp_path),
        "TRAIN_SET": "train_aug",
        "TEST_SET": "val",
        "NUM_LABELS": "21",
        "TRAIN_SET_STRONG": "train_aug",
        "TRAIN_SET_WEAK": "val",
        "BG_BIAS": "1",
        "FG_BIAS": "2",
        "FEATURE_DIR": str(tmp_path / "features"),
    }


@pytest.fixture
def in_exper(tmp_path: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The released scripts run from the folder that holds ``voc12/``."""
    monkeypatch.chdir(tmp_path / "exper")
