from __future__ import annotations

from pathlib import Path

import numpy as np

from deeplab_caffe.data import load_image
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.segmentation import Segmentation
from deeplab_caffe.zoo import CAMVID_MODEL
from tools import readme_picture


def test_a_row_and_a_stack() -> None:
    photo = np.full((20, 40, 3), 100, np.uint8)
    classes = Classes(("a", "b"), np.array([(0, 0, 200), (200, 0, 0)], np.uint8))
    plain, refined = (
        Segmentation(np.full((20, 40), label, np.uint8), np.zeros((2, 20, 40), np.float32), classes=classes)
        for label in (0, 1)
    )
    found = readme_picture.row(photo, plain, refined, 80)
    assert found.shape == (40, 3 * 80 + 48 + 3 * 8, 3)
    assert [found[20, x].tolist() for x in (40, 128, 216)] == [[100] * 3, [50, 50, 150], [150, 50, 50]]
    assert found[20, 3 * 88 + 20].tolist() == [200, 0, 0]
    both = readme_picture.stacked([found, found])
    assert both.shape == (88, *found.shape[1:])
    np.testing.assert_array_equal(both[48:], found)


def test_any_photographs_and_model(tmp_path: Path) -> None:
    photos = [tmp_path / f"{name}.png" for name in "ab"]
    for number, path in enumerate(photos):
        readme_picture.save_image(path, np.full((30 + 10 * number, 40, 3), 120, np.uint8))
    out = tmp_path / "x.jpg"
    words = ["--model", str(CAMVID_MODEL.deploy), "--weights", str(CAMVID_MODEL.weights), "--crf", "deeplab_largefov"]
    readme_picture.main([*map(str, photos), *words, "--width", "60", "--out", str(out)])
    assert load_image(out).shape[1] == 3 * 60 + 36 + 3 * 8
