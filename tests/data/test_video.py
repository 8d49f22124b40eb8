from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import atomic_write
from deeplab_caffe.data.video import Frame, VideoReader, VideoWriter, open_video
from deeplab_caffe.errors import DataError


def test_without_pyav_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with (
        pytest.raises(DataError, match=r"x\.mp4: videos need PyAV: pip install 'deeplab-caffe\[video\]'"),
        open_video("x.mp4"),
    ):
        pass


def make_video(path: Path, frames: list[np.ndarray], *, rate: Fraction = Fraction(25), rotation: int = 0) -> Path:
    """A video for tests, by PyAV alone."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, options={"qscale": "2"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV writes no rotation")
            stream.set_display_rotation(rotation)
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def ramps(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames dark at the left and bright at the right, each brighter than the one before."""
    row = np.linspace(0, 150, width)
    return [np.broadcast_to(row[None, :, None] + 10 * i, (height, width, 3)).astype(np.uint8) for i in range(count)]


def test_frames_and_times(tmp_path: Path) -> None:
    frames = ramps(8)
    with open_video(str(make_video(tmp_path / "x.mp4", frames, rate=Fraction(30000, 1001)))) as video:
        assert video.count == 8
        assert video.rate == Fraction(30000, 1001)
        found = list(video)
        seconds = [float(frame.time * video.time_base) for frame in found]
    np.testing.assert_allclose(seconds, np.arange(8) * 1001 / 30000, atol=1e-4)
    for frame, expected in zip(found, frames, strict=True):
        assert frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 4


def test_times_below_zero_are_kept(tmp_path: Path) -> None:
    """They became -1, 0, 1, ... of the time base, till a frame had a later time than that."""
    av = pytest.importorskip("av")
    source = tmp_path / "x.mkv"
    with av.open(str(source), "w", options={"avoid_negative_ts": "disabled"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for i, pixels in enumerate(ramps(8)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = i - 5, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    path = tmp_path / "y.mp4"
    with open_video(str(source)) as video, atomic_write(path) as file:
        writer, seconds = VideoWriter(file, video, path), []
        for frame in video:
            seconds.append(float(frame.time * video.time_base))
            writer.write(frame)
        writer.close()
    np.testing.assert_allclose(seconds, np.arange(-5, 3) / 10, atol=1e-3)
    with open_video(str(path)) as video:
        # What an .mp4 has to show before 0 is left out by players.
        written = [float(frame.time * video.time_base) for frame in video]
    np.testing.assert_allclose(written, np.arange(8) / 10, atol=1e-3)


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (-90, -1), (180, 2)])
def test_frames_are_turned_as_the_video_says(tmp_path: Path, rotation: int, turns: int) -> None:
    """A display rotation is counterclockwise, as np.rot90 turns."""
    frames = ramps(2)
    with open_video(str(make_video(tmp_path / "x.mp4", frames, rotation=rotation))) as video:
        found = next(iter(video)).pixels.astype(int)
    assert np.abs(found - np.rot90(frames[0], turns)).mean() < 4


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_written_as_read(tmp_path: Path, size: tuple[int, int]) -> None:
    source = make_video(tmp_path / "x.avi", ramps(5, 48, 64), rate=Fraction(12))
    path = tmp_path / "y.mp4"
    with open_video(str(source)) as video, atomic_write(path) as file:
        writer = VideoWriter(file, video, path)
        frames = [Frame(frame.pixels[: size[0], : size[1]], frame.time) for frame in video]
        for frame in frames:
            writer.write(frame)
        writer.close()
    with open_video(str(path)) as again:
        assert again.rate == 12
        assert again.count == 5
        found = list(again)
    for frame, expected in zip(found, frames, strict=True):
        assert frame.pixels.shape == (*size, 3)
        assert np.abs(frame.pixels.astype(int) - expected.pixels).mean() < 6


def test_what_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'x.ts'}\n")
    for name in ("text.mp4", "list.mp4", "none.mp4", "webcam:97", f"webcam:{tmp_path}/text.mp4"):
        source = name if ":" in name else str(tmp_path / name)
        with pytest.raises(DataError, match="cannot be opened as a video"), open_video(source):
            pass
    noise = list(np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3), np.uint8))
    cut = make_video(tmp_path / "cut.avi", noise)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    with open_video(str(cut)) as video:
        assert 1 < len(list(video)) < 8


def test_frames_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "y.mp4"
    with open_video(str(make_video(tmp_path / "x.avi", ramps(2)))) as video, path.open("wb") as file:
        first, second = video
        writer = VideoWriter(file, video, path)
        writer.write(first)
        with pytest.raises(DataError, match="change their size from 64 x 48 to 32 x 48"):
            writer.write(Frame(second.pixels[:, :32], second.time))


def test_a_camera_may_be_a_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.avi", ramps(3))
    with open_video(f"webcam:{path}") as video:
        assert isinstance(video, VideoReader)
        assert len(list(video)) == 3
