from __future__ import annotations

import os
from pathlib import Path

import pytest

from deeplab_caffe.data.io.folders import find_images, folder_names, id_folders, is_image, validate_pairs
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


def test_of_one_format_the_first_name_counts(tmp_path: Path) -> None:
    for name in ("a.JPG", "a.jpg", "a.gif"):
        (tmp_path / name).touch()
    assert find_images(tmp_path) == {"a": tmp_path / "a.JPG"}


def test_pipes_with_an_images_name_are_left_out(tmp_path: Path) -> None:
    for name in ("a.png", "notes"):
        os.mkfifo(tmp_path / name)
    with pytest.warns(UserWarning, match=r"/a.png: a pipe, no file: it is left out") as warned:
        assert folder_names(tmp_path) == ["notes"]
    assert len(warned) == 1


def test_one_file_is_not_both_image_and_labels(tmp_path: Path) -> None:
    for name in ("a.png", "labels/a.png", "labels/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "again").symlink_to(tmp_path)
    image = {"a": tmp_path / "a.png"}
    validate_pairs(image, {"a": tmp_path / "labels" / "a.png"}, ["a"])
    validate_pairs(image, image, [])
    with pytest.raises(DataError, match=r"/a.png: is both the image and the label map of 'a'"):
        validate_pairs(image, {"a": tmp_path / "again" / "a.png"}, ["a"])


def test_folders_that_ids_name(folder: Path) -> None:
    found = find_images(folder, ["a", "aachen/c", "celle/e"])
    assert found == {"a": folder / "a.ppm", "aachen/c": folder / "aachen" / "c.png"}
    assert [str(one) for one in id_folders(folder, ["bonn/d", "bonn/e", "celle/e"])] == [".", "bonn"]


def test_is_image() -> None:
    assert is_image(Path("x/a.JPG"))
    assert not is_image(Path("2007.01"))
