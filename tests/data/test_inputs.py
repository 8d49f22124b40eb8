from __future__ import annotations

import os
from pathlib import Path

import pytest

from deeplab_caffe.data.inputs import WorkItem, expand_inputs, parse_shard, shard_of_environment, share_of
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.errors import DataError, NetError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.jpg", "clip.mp4", "cats/a.png", "cats/deep/c.JPG", ".t/d.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def names(items: list[WorkItem]) -> list[str]:
    return [item.name for item in items]


def test_files_are_called_by_their_stems_whether_they_are_there_or_not() -> None:
    assert expand_inputs(["x/b.c.jpg", Path("a.png")]) == [WorkItem("x/b.c.jpg", "b.c"), WorkItem("a.png", "a")]
    assert expand_inputs(["noending"]) == [WorkItem("noending", "noending")]


def test_the_images_of_a_folder_in_their_order(folder: Path) -> None:
    assert expand_inputs(["in"]) == [WorkItem("in/a.png", "a"), WorkItem("in/b.jpg", "b")]
    found = expand_inputs(["in"], recursive=True)
    assert found == [
        WorkItem("in/a.png", "a"),
        WorkItem("in/b.jpg", "b"),
        WorkItem("in/cats/a.png", "cats/a"),
        WorkItem("in/cats/deep/c.JPG", "cats/deep/c"),
    ]
    assert expand_inputs([folder, "in/cats"])[-1] == WorkItem("in/cats/a.png", "cats/a")


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "link.png").symlink_to(folder / "a.png")
    assert names(expand_inputs(["in"], recursive=True)) == ["a", "b", "cats/a", "cats/deep/c", "link"]
    assert names(expand_inputs(["in/loop"])) == ["a", "b", "link"]


def test_results_are_no_photographs(folder: Path) -> None:
    for name in ("b_labels.png", "b_overlay.png", "other_labels.png", "out/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert names(expand_inputs(["in"])) == ["a", "b", "other_labels"]
    assert "out/x" in names(expand_inputs(["in"], recursive=True))
    assert "out/x" not in names(expand_inputs(["in"], recursive=True, results=folder / "out"))
    # Told by name, it is wanted.
    assert names(expand_inputs(["in/b_labels.png"])) == ["b_labels"]


def test_a_folder_without_images_and_one_that_cannot_be_read(folder: Path) -> None:
    (folder / "none").mkdir()
    with pytest.raises(DataError, match="none: the folder has no image; --recursive"):
        expand_inputs(["in/none"])
    if os.geteuid() == 0:
        return
    (folder / "none").chmod(0)
    with pytest.raises(DataError, match="cannot be read as a folder"):
        expand_inputs(["in/none"])
    assert WorkItem("in/none", "none") in expand_inputs(["in"], recursive=True)


def test_lists_as_deeplab_has_them(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_text("/JPEGImages/x.jpg /Labels/x.png\n../up/y.jpg\n\nz.mp4 0\n")
    assert expand_inputs(["w.jpg"], lists=[path], data_root="/data/voc") == [
        WorkItem("w.jpg", "w"),
        WorkItem("/data/voc/JPEGImages/x.jpg", "JPEGImages/x"),
        WorkItem("/data/voc../up/y.jpg", "up/y"),
        WorkItem("/data/vocz.mp4", "z", "video"),
    ]
    assert expand_inputs([], lists=[path])[0] == WorkItem("/JPEGImages/x.jpg", "JPEGImages/x")
    path.write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: the list holds no image"):
        expand_inputs([], lists=[path])


def test_stdin_videos_and_cameras() -> None:
    found = expand_inputs(["-", "webcam:0", "a/Clip.MOV", "webcam:/dev/video2", "moving.gif"])
    assert found == [
        WorkItem("-", "stdin", "stdin"),
        WorkItem("webcam:0", "webcam0", "webcam"),
        WorkItem("a/Clip.MOV", "Clip", "video"),
        WorkItem("webcam:/dev/video2", "webcamvideo2", "webcam"),
        WorkItem("moving.gif", "moving"),
    ]


def test_names_are_unique(folder: Path) -> None:
    assert names(expand_inputs(["a/x.jpg", "b/x.jpg", "b/y.jpg"])) == ["a/x", "b/x", "y"]
    assert names(expand_inputs(["x.jpg", "x.png", "sub/x.jpg"])) == ["x.jpg", "x.png", "sub/x"]
    assert names(expand_inputs(["-", "stdin.jpg", "clip.mp4", "clip.png"])) == [
        "stdin",
        "stdin.jpg",
        "clip.mp4",
        "clip.png",
    ]
    assert names(expand_inputs(["in", "in/cats"])) == ["a", "b", "cats/a"]


def test_what_is_given_twice_is_there_once(folder: Path) -> None:
    assert expand_inputs(["in/b.jpg", "in", "in/cats/../a.png", "-", "-"]) == [
        WorkItem("in/b.jpg", "b"),
        WorkItem("in/a.png", "a"),
        WorkItem("-", "stdin", "stdin"),
    ]


def test_names_that_stay_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a/x.jpg\n")
    (tmp_path / "b.txt").write_text("/a/x.jpg\n")
    found = expand_inputs(["deep/a/x.png"], lists=[tmp_path / "a.txt", tmp_path / "b.txt"])
    assert len(set(names(found))) == 3
    with pytest.raises(DataError, match=r"'p/a/x\.jpg' have the name 'a/x\.jpg' too"):
        expand_inputs(["p/a/x.jpg", "p/b/x.jpg"], lists=[tmp_path / "a.txt"])


@pytest.mark.parametrize("world", [1, 2, 3, 7, 20])
def test_shards_are_disjoint_and_complete(world: int) -> None:
    items = expand_inputs([f"{number}.jpg" for number in range(17)])
    parts = [share_of(items, Shard(rank, world)) for rank in range(world)]
    assert sorted(item.source for part in parts for item in part) == sorted(item.source for item in items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_shards_in_words() -> None:
    assert parse_shard("2/8") == Shard(2, 8)
    for wrong in ("", "1", "8/8", "-1/8", "a/b", "0/0", "1/2/3", f"0/{'9' * 5000}", f"{'9' * 5000}/{'9' * 5000}"):
        with pytest.raises(NetError, match="a shard is I/N with I from 0"):
            parse_shard(wrong)


def test_the_shard_that_torchrun_sets() -> None:
    assert shard_of_environment({}) == Shard()
    assert shard_of_environment({"RANK": "0", "WORLD_SIZE": "1"}) == Shard()
    assert shard_of_environment({"RANK": "3", "WORLD_SIZE": "4"}) == Shard(3, 4)
    with pytest.raises(NetError, match="WORLD_SIZE=4 and no RANK: torchrun sets both"):
        shard_of_environment({"WORLD_SIZE": "4"})
    for rank, world in (("4", "4"), ("a", "4"), ("1", "many")):
        with pytest.raises(NetError, match=f"WORLD_SIZE={world} and RANK={rank}:"):
            shard_of_environment({"WORLD_SIZE": world, "RANK": rank})
