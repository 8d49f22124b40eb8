from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.data.io.folders import find_images, id_folders, is_image
from deeplab_caffe.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "a.ppm", "b.txt", "aachen/c.png", "bonn/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_images_by_their_names(folder: Path) -> None:
    assert find_images(folder) == {"a": folder / "a.ppm"}
    with pytest.raises(DataError, match="cannot be read as a folder"):
        find_images(folder / "none")


def test_folders_that_ids_name(folder: Path) -> None:
    found = find_images(folder, ["a", "aachen/c", "celle/e"])
    assert found == {"a": folder / "a.ppm", "aachen/c": folder / "aachen" / "c.png"}
    assert [str(one) for one in id_folders(folder, ["bonn/d", "bonn/e", "celle/e"])] == [".", "bonn"]


def test_is_image() -> None:
    assert is_image(Path("x/a.JPG"))
    assert not is_image(Path("2007.01"))
