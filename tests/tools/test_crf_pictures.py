"""The strips of docs/crf-parameters.md."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.docs.pages import ROOT
from tools.crf_pictures import GAP, PART, VALUES, WIDTH, panel, strip


def test_a_strip_has_a_panel_for_each_value() -> None:
    photo = np.zeros((300, 451, 3), np.uint8)
    scores = np.zeros((2, 300, 451), np.float32)
    found = strip(photo, scores, "iterations", (0, 1))
    assert found.shape[1] == 2 * WIDTH + GAP
    assert found.dtype == np.uint8


def test_background_is_blue_and_the_object_the_photograph() -> None:
    photo = np.full((300, 451, 3), 100, np.uint8)
    labels = np.zeros((300, 451), np.uint8)
    labels[:, : PART[0] + 100] = 1
    found = panel(photo, labels, "")
    assert found[-1, 0].tolist() == [100, 100, 100]
    assert found[-1, -1].tolist() == [64, 94, 172]


def test_every_parameter_has_its_picture_and_is_small() -> None:
    for parameter in VALUES:
        path = ROOT / "docs" / "images" / f"crf_{parameter}.jpg"
        assert Image.open(path).width == len(VALUES[parameter]) * WIDTH + (len(VALUES[parameter]) - 1) * GAP
        assert path.stat().st_size < 60_000
