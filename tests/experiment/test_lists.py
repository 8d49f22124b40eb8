from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplab_caffe.errors import DataError
from deeplab_caffe.experiment.lists import Lists, folder_of, ids_of
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings

Make = Callable[..., ExperimentSettings]


def test_lists_are_copied_and_ids_made(settings: Make, data_root: Path, tmp_path: Path) -> None:
    dry = Lists(settings(), dry=True)
    assert dry.ids("val") == ["i2", "i3", "i4"]
    assert not (tmp_path / "exper").exists()
    lists = Lists(settings())
    assert lists.ids("val") == ["i2", "i3", "i4"]
    assert (tmp_path / "exper/toy/list/val.txt").read_bytes() == (data_root / "list/val.txt").read_bytes()
    # The experiment's own list goes first from then on.
    (tmp_path / "exper/toy/list/val.txt").write_text("/JPEGImages/i4.png /SegmentationClass/i4.png\n")
    with pytest.raises(DataError, match=r"val_id\.txt: has 3 ids, val\.txt 1 images"):
        Lists(settings()).ids("val")


def test_weak_images_are_those_that_are_not_strong(settings: Make, data_root: Path, tmp_path: Path) -> None:
    (data_root / "list" / "strong.txt").write_text("/JPEGImages/i3.png /SegmentationClass/i3.png\n")
    lists = Lists(settings(strong_set="strong"))
    assert lists.weak_set("val") == "val_diff_strong"
    made = (tmp_path / "exper/toy/list/val_diff_strong.txt").read_text()
    assert made == "/JPEGImages/i2.png /SegmentationClass/i2.png\n/JPEGImages/i4.png /SegmentationClass/i4.png\n"
    assert Lists(settings(strong_set="strong", weak_length=1)).weak_set("val") == "val_diff_strong_head1"
    assert (tmp_path / "exper/toy/list/val_diff_strong_head1.txt").read_text().count("\n") == 1
    assert Lists(settings()).weak_set("val") is None
    with pytest.raises(ExperimentError, match="no weakly labelled image is left"):
        Lists(settings(strong_set="val")).weak_set("val")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_other_systems(settings: Make, data_root: Path, tmp_path: Path, encoding: str) -> None:
    """Windows's Notepad and PowerShell write a mark before the first line, which is no part of it."""
    folder = data_root / "list"
    first, second = (f"/JPEGImages/i{number}.png /SegmentationClass/i{number}.png\n" for number in (0, 1))
    (folder / "train.txt").write_text(first + second, encoding="utf-8")
    (folder / "strong.txt").write_text(first, encoding=encoding)
    (folder / "val_id.txt").write_text("i2\r\ni3\r\ni4\r\n", encoding=encoding)
    lists = Lists(settings(strong_set="strong"))
    assert lists.ids("val") == ["i2", "i3", "i4"]
    assert lists.weak_set("train") == "train_diff_strong"
    assert (tmp_path / "exper/toy/list/train_diff_strong.txt").read_text() == second
    # The copy is as the original: its checksum is compared with the released list's.
    assert (tmp_path / "exper/toy/list/val_id.txt").read_bytes() == (folder / "val_id.txt").read_bytes()


def test_lines_and_words_are_those_of_the_data_layers(settings: Make, data_root: Path) -> None:
    """Lines end at a line feed alone, ids at ASCII white space; names need not be UTF-8."""
    folder = data_root / "list"
    names = ["a\u2028b", "c\u00a0d", os.fsdecode(b"\xe4")]
    images = "".join(f"/JPEGImages/{name}.png /SegmentationClass/{name}.png\n" for name in names)
    (folder / "odd.txt").write_bytes(os.fsencode(images))
    assert Lists(settings()).ids("odd") == names
    (folder / "odd_id.txt").write_bytes(os.fsencode("".join(f"{name} 1\n" for name in names)))
    (settings().path("toy/list/odd_id.txt")).unlink()
    lists = Lists(settings(strong_set="train"))
    assert lists.ids("odd") == names
    assert lists.weak_set("odd") == "odd_diff_train"
    assert lists.content("odd_diff_train") == os.fsencode(images)


def test_lists_of_voc_are_compared_with_the_released_ones(settings: Make, data_root: Path) -> None:
    voc = Lists(settings(exp="voc12"))
    assert voc.check("val") == "list/val.txt has 3 lines, the released one 1449"
    (data_root / "list" / "trainval.txt").write_text("/JPEGImages/i2.png /SegmentationClass/i2.png\n" * 2913)
    assert "or in another order" in voc.check("trainval")
    assert Lists(settings()).check("val") is None


def test_files_that_are_not_there(settings: Make, data_root: Path) -> None:
    assert Lists(settings()).missing_files("val") == []
    (data_root / "SegmentationClass" / "i3.png").unlink()
    assert Lists(settings()).missing_files("val") == ["/SegmentationClass/i3.png"]
    with pytest.raises(ExperimentError, match=r"no list 'fine'.*DATA_ROOT/list"):
        Lists(settings()).content("fine")


def test_ids_of_several_folders() -> None:
    assert ids_of(["/img/a.jpg", "/img/b.jpg"]) == ["a", "b"]
    assert ids_of(["/img/aachen/a.png", "/img/bonn/a.png"]) == ["aachen/a", "bonn/a"]
    assert ids_of(["img/a.jpg", "/img/b.jpg"]) == ["a", "b"]


def test_the_folder_behind_which_ids_stand() -> None:
    assert folder_of("/data/img/aachen/a.png", "aachen/a") == Path("/data/img")
    assert folder_of("/data/img/a.jpg", "a") == Path("/data/img")
    assert folder_of("/data/img/a.jpg", "other") == Path("/data/img")
