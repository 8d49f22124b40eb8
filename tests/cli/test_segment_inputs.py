"""What ``segment`` takes beside single photographs: folders, lists, stdin, shards, videos and cameras."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import load_image
from deeplab_caffe.data.video import open_video
from deeplab_caffe.segmentation.segmenter import Segmenter
from deeplab_caffe.viz import VOC_COLORMAP
from deeplab_caffe.zoo.default import DEFAULT_MODEL, DEMO_PHOTO
from tests.data.test_video import make_video


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four small photographs, one of them in a folder of its own."""
    picture = load_image(DEMO_PHOTO)
    for number, name in enumerate(("a.png", "b.png", "c.png", "deep/a.png")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[50 * number :][:30, :40]).save(tmp_path / "in" / name)
    return tmp_path / "in"


def results(folder: Path) -> list[str]:
    ends = ("_labels.png", "_overlay.png")
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    names = [name.removesuffix(ends[0]) for name in found if name.endswith(ends[0])]
    assert [f"{name}{end}" for name in names for end in ends] == found
    return names


def test_folders_and_lists(run, folder: Path, tmp_path: Path, seven: tuple) -> None:
    outcome = run("segment", folder, "--out", tmp_path / "flat", *seven)
    assert outcome.status == 0, outcome.err
    assert results(tmp_path / "flat") == ["a", "b", "c"]
    assert outcome.out.splitlines()[-1].startswith("3 done in ")
    assert run("segment", folder, "--recursive", "--out", folder / "out", *seven).status == 0
    assert results(folder / "out") == ["a", "b", "c", "deep/a"]
    # What is in --out is not taken for photographs the second time.
    again = run("segment", folder, "--recursive", "--out", folder / "out", *seven)
    assert "4 done in" in again.out
    assert "warning: 4 of 4 have results" in again.err
    (tmp_path / "val.txt").write_text("/b.png /labels/b.png\n/deep/a.png /labels/a.png\n")
    words = ("--list", tmp_path / "val.txt", "--data-root", folder, "--out", tmp_path / "list", *seven)
    assert run("segment", *words).status == 0
    assert results(tmp_path / "list") == ["b", "deep/a"]


def test_two_photos_of_one_name(run, folder: Path, tmp_path: Path, seven: tuple) -> None:
    photos = (folder / "a.png", folder / "deep" / "a.png")
    assert run("segment", *photos, "--out", tmp_path / "out", *seven).status == 0
    assert results(tmp_path / "out") == ["a", "deep/a"]


def test_a_folder_without_photographs(run, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert "the folder has no image" in run("segment", tmp_path / "none").error_line()
    assert "--crf took" in run("segment", "--crf", tmp_path / "none").err


def test_a_bad_file_in_a_folder(run, folder: Path, tmp_path: Path, seven: tuple) -> None:
    (folder / "b.png").write_bytes(b"no image")
    outcome = run("segment", folder, "--out", tmp_path / "out", *seven)
    assert "b.png" in outcome.error_line()
    assert outcome.status == 1
    assert results(tmp_path / "out") == ["a", "c"]
    assert "2 done" in outcome.out
    assert "1 failed" in outcome.out


def test_a_photograph_on_standard_input(
    run, folder: Path, tmp_path: Path, seven: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in ((folder / "a.png").read_bytes(), b"", b"text"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        outcome = run("segment", "-", "--out", tmp_path / "out", *seven)
        if content.startswith(b"\x89PNG"):
            assert outcome.status == 0, outcome.err
            assert results(tmp_path / "out") == ["stdin"]
        else:
            assert "stdin: is not an image" in outcome.error_line()


def test_results_that_are_there(run, folder: Path, tmp_path: Path, seven: tuple) -> None:
    words = ("segment", folder, "--out", tmp_path / "out", *seven)
    assert run(*words).err == ""
    marked = tmp_path / "out" / "a_labels.png"
    os.utime(marked, (1, 1))
    (tmp_path / "out" / "b_overlay.png").unlink()
    outcome = run(*words, "--skip-existing")
    assert outcome.err == ""
    assert "1 done" in outcome.out
    assert "2 were there" in outcome.out
    assert results(tmp_path / "out") == ["a", "b", "c"]
    assert marked.stat().st_mtime == 1
    assert "0 done" in run(*words, "--skip-existing").out
    assert run(*words, "--overwrite").err == ""
    assert marked.stat().st_mtime > 1
    assert "3 of 3 have results" in run(*words).err


def test_quiet(run, folder: Path, tmp_path: Path, seven: tuple) -> None:
    outcome = run("segment", folder, tmp_path / "missing.jpg", "--out", tmp_path / "out", "--quiet", *seven)
    assert outcome.out == ""
    assert "missing.jpg" in outcome.error_line()
    assert results(tmp_path / "out") == ["a", "b", "c"]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("flags", [("--json", "-"), ("--jsonl", "-"), ()])
def test_standard_streams_that_are_closed(
    run, folder: Path, tmp_path: Path, seven: tuple, flags: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``<&-`` and ``>&-`` in a shell; JSON was lost with the exit status 0."""
    name = "stdout" if flags else "stdin"
    monkeypatch.setattr(sys, name, None)
    outcome = run("segment", folder / "a.png" if flags else "-", "--out", tmp_path / "out", *seven, *flags)
    assert outcome.status == 1
    assert f"standard {name[3:]}put is closed: give a file's name" in outcome.error_line()


def test_json_lines(run, folder: Path, tmp_path: Path, seven: tuple) -> None:
    words = ("segment", folder, "--out", tmp_path / "out", *seven)
    assert run(*words, "--json", tmp_path / "all.json").status == 0
    expected = json.loads((tmp_path / "all.json").read_text())
    path = tmp_path / "new" / "found.jsonl"
    assert run(*words, "--jsonl", path).status == 0
    assert lines(path) == expected
    outcome = run(*words, "--jsonl", "-", "--overwrite")
    assert [json.loads(line) for line in outcome.out.splitlines()] == expected
    assert "3 done" in outcome.err
    # A killed process: the last line is cut, and the line before is missing.
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(whole[0] + b'{"photo": "elsewhere.jpg"}\n' + whole[2][:20])
    assert "2 done" in run(*words, "--jsonl", path, "--skip-existing").out
    found = lines(path)
    assert found[1] == {"photo": "elsewhere.jpg"}
    assert found[:1] + found[2:] == expected
    for line in ('{"photo": []}', "3", "[" * 100_000):
        path.write_text(f"\n{line}\n")
        error = run(*words, "--jsonl", path, "--skip-existing").error_line()
        assert f"{path}:2: expected a line of --jsonl" in error
        assert path.read_text() == f"\n{line}\n"
    for wrong in (("--json", "x.json", "--jsonl", "x.jsonl"), ("--json", "x.json", "--skip-existing")):
        assert run(*words, *wrong).status == 2
    assert str(tmp_path) in run(*words, "--jsonl", tmp_path).error_line()


def test_shards_do_all_together(
    run, folder: Path, tmp_path: Path, seven: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("segment", folder, "--recursive", *seven, "--jsonl", tmp_path / "found.jsonl", "--out")
    assert run(*words, tmp_path / "0", "--shard", "0/3").status == 0
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in (1, 2):
        monkeypatch.setenv("RANK", str(rank))
        assert run(*words, tmp_path / str(rank)).status == 0
    assert [results(tmp_path / str(rank)) for rank in range(3)] == [["a", "deep/a"], ["b"], ["c"]]
    told = [lines(tmp_path / f"found-{rank}-of-3.jsonl") for rank in range(3)]
    assert [len(one) for one in told] == [2, 1, 1]
    assert "a shard is I/N" in run(*words, tmp_path / "3", "--shard", "3/3").error_line()
    # More processes than photographs.
    assert run(*words, tmp_path / "9", "--shard", "9/10").status == 0
    assert not (tmp_path / "9").exists()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A cat that moves through the picture: cuts of a free photograph."""
    picture = load_image(DEMO_PHOTO)
    frames = [np.ascontiguousarray(picture[100:196, 100 + 8 * i : 228 + 8 * i]) for i in range(6)]
    return make_video(tmp_path / "clip.avi", frames, rate=Fraction(24000, 1001))


def test_a_video(run, clip: Path, tmp_path: Path) -> None:
    words = ("segment", clip, "--device", "cpu", "--out", tmp_path / "out", "--jsonl", tmp_path / "found.jsonl")
    outcome = run(*words, "--crf", "--no-outlines")
    assert outcome.status == 0, outcome.err
    assert f"{clip}: 6 frames\n  {tmp_path}/out/clip_overlay.mp4\n" in outcome.out
    segmenter = Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu", crf=DEFAULT_MODEL.crf)
    told = lines(tmp_path / "found.jsonl")
    assert [one["frame"] for one in told] == list(range(6))
    np.testing.assert_allclose([one["seconds"] for one in told], np.arange(6) * 1001 / 24000, atol=1e-3)
    with open_video(str(clip)) as source, open_video(str(tmp_path / "out" / "clip_overlay.mp4")) as overlay:
        assert (overlay.count, overlay.rate) == (source.count, source.rate)
        for frame, drawn, one in zip(source, overlay, told, strict=True):
            assert drawn.pixels.shape == frame.pixels.shape
            labels = segmenter(frame.pixels)
            assert {c["id"]: c["pixels"] for c in one["classes"]} == dict(
                zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True)
            )
            expected = 0.5 * frame.pixels + 0.5 * VOC_COLORMAP[labels]
            assert np.abs(drawn.pixels - expected).mean() < 6
    before = (tmp_path / "out" / "clip_overlay.mp4").read_bytes()
    assert "0 frames" not in run(*words, "--skip-existing").out
    assert (tmp_path / "out" / "clip_overlay.mp4").read_bytes() == before


def test_a_bad_video_leaves_nothing(run, clip: Path, folder: Path, tmp_path: Path, seven: tuple) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(clip.read_bytes()[:300])
    outcome = run("segment", bad, folder / "a.png", "--out", tmp_path / "out", *seven)
    assert "bad.mp4: cannot be opened as a video" in outcome.error_line()
    assert results(tmp_path / "out") == ["a"]
    for words in (("--marginals", "npy"), ("--json", "x.json")):
        assert run("segment", clip, "--out", tmp_path / "out", *seven, *words).status == 2


def test_a_camera(run, clip: Path, tmp_path: Path, seven: tuple) -> None:
    """A file stands for it."""
    words = ("segment", f"webcam:{clip}", "--out", tmp_path, *seven, "--max-frames")
    assert "4 frames" in run(*words, 4).out
    with open_video(str(tmp_path / "webcamclip_overlay.mp4")) as video:
        assert len(list(video)) == 4
    assert "cannot be opened as a video" in run("segment", "webcam:97", *seven).error_line()


def test_ctrl_c_ends_a_camera_well_and_a_video_without_a_file(
    run, clip: Path, tmp_path: Path, seven: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment, count = Segmenter.segment, 0

    def interrupted(self, image, **flags):
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return segment(self, image, **flags)

    monkeypatch.setattr(Segmenter, "segment", interrupted)
    assert run("segment", f"webcam:{clip}", "--out", tmp_path / "out", *seven).status == 0
    with open_video(str(tmp_path / "out" / "webcamclip_overlay.mp4")) as video:
        assert len(list(video)) == 3
    count = 0
    assert run("segment", clip, "--out", tmp_path / "none", *seven).status == 130
    assert not list((tmp_path / "none").iterdir())


def test_results_over_what_is_read_are_refused(run, photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "photo_labels.png"
    other.write_bytes(photo.read_bytes())
    (tmp_path / "list.txt").write_text("photo.png\n")
    (tmp_path / "link").symlink_to(tmp_path)
    listed = ("--list", tmp_path / "list.txt", "--data-root", f"{tmp_path}/")
    read = {path: path.read_bytes() for path in (photo, other, tmp_path / "list.txt")}
    for words, names in (
        ((photo, other, "--out", tmp_path), (f"{other}: a result of {photo}", "the image")),
        ((photo, other, "--out", tmp_path / "link"), ("photo_labels.png", f"the image '{other}'")),
        ((photo, "--jsonl", photo), (f"{photo}: the file of --json or --jsonl", "the image")),
        ((photo, "--json", tmp_path / "link" / "photo.png"), ("the image", str(photo))),
        ((photo, "--jsonl", tmp_path / "photo_overlay.png"), ("photo_overlay.png", "a result of")),
        ((*listed, "--jsonl", tmp_path / "list.txt"), ("list.txt", "over --list")),
    ):
        where = () if "--out" in words else ("--out", tmp_path)
        line = run("segment", *words, *where).error_line()
        assert all(name in line for name in names), line
        assert "would be written over" in line
        assert not (tmp_path / "photo_overlay.png").exists()
    assert {path: path.read_bytes() for path in read} == read
    # What is left out is not written over.
    assert run("segment", photo, "--out", tmp_path, "--overwrite").status == 0
    assert run("segment", photo, other, "--out", tmp_path, "--skip-existing").status == 0


def test_pipes_and_sockets_are_no_photographs(run, folder: Path, tmp_path: Path) -> None:
    """To open a pipe without a writer takes for ever."""
    os.mkfifo(folder / "z.png")
    os.mkfifo(folder / "other")
    (folder / "link.png").symlink_to(folder / "z.png")
    outcome = run("segment", folder, "--out", tmp_path / "out")
    assert outcome.status == 0, outcome.err
    for name in ("z.png", "link.png"):
        assert f"warning: {folder / name}: a pipe, no file: it is left out" in outcome.err
    assert len(outcome.err.splitlines()) == 2
    assert "3 done" in outcome.out
    line = run("segment", folder / "z.png", "--out", tmp_path / "one").error_line()
    assert line == f"error: {folder / 'z.png'}: is a pipe, no file: give an image's bytes on standard input, as -"
    assert "is a device" in run("segment", "/dev/zero", "--out", tmp_path / "one").error_line()
    assert "is a pipe" in run("mean", folder / "z.png").error_line()
    assert run("mean", folder).status == 0


def test_what_is_open_already_is_read(run, photo: Path, tmp_path: Path) -> None:
    """The shell's <(command)."""
    reader, writer = os.pipe()
    os.write(writer, photo.read_bytes())
    os.close(writer)
    assert run("segment", f"/dev/fd/{reader}", "--out", tmp_path / "out").status == 0
    os.close(reader)


def test_sigterm_ends_what_waits_for_standard_input(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "deeplab_caffe", "segment", "-", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # It writes over what is there: the warning says that it is about to begin.
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "stdin_labels.png").touch()
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stderr is not None
        assert "are replaced" in process.stderr.readline()
        time.sleep(1)
        process.terminate()
        assert process.wait(timeout=20) == 128 + signal.SIGTERM


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_told_with_the_file(run, photo: Path, tmp_path: Path) -> None:
    line = run("segment", photo, "--out", tmp_path / "out", "--jsonl", "/dev/full", "--quiet").error_line()
    assert line == "error: /dev/full: cannot be written: No space left on device"


@pytest.mark.parametrize("words", [("segment",), ("extract", "--blobs", "data")])
def test_a_name_with_a_newline_is_told_on_one_line(run, tmp_path: Path, words: tuple[str, ...]) -> None:
    line = run(words[0], "x\n\x1b[2Jy.png", *words[1:], "--out", tmp_path / "out").error_line()
    assert line == r"error: x\n\x1b[2Jy.png: cannot be read: No such file or directory"
