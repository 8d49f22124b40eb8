"""What a convolution multiplies."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from products import products


def test_products_by_hand() -> None:
    # Five outputs of five pixels: the middle tap sees all, its neighbours one less.
    assert products(5, 1, 1, 1) == 13
    assert products(5, 1, 1, 2) == 3 * 4
    assert products(5, 1, 1, 4) == 2 * 6
    # Every other output: three and two of them.
    assert products(5, 2, 2, 1) == 5 + 3 + 3
    assert products(5, 2, 2, 2) == (2 + 1) * 4
    # fc6 of LargeFOV, on 41 pixels with a hole of 12: four or three outputs of each of twelve images.
    assert products(41, 12, 12, 1) == 41 + 2 * 29
    assert products(41, 12, 12, 2) == 12 * 2 * 4
    assert products(41, 12, 12, 4) == 12 * 6
    assert products(2, 40, 40, 1) == 2
    # A kernel of one, at every other pixel of five and of seven.
    assert products(5, 0, 1, 1, kernel=1, stride=2) == 3
    assert products(7, 1, 1, 1, kernel=3, stride=2) == 2 + 3 + 3 + 2
