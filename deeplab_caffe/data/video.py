"""Read and write video by PyAV (the extra ``video``), which is imported when a video is opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deeplab_caffe.data.inputs import WEBCAM
from deeplab_caffe.errors import DataError, how_to_install, warn
from deeplab_caffe.files.names import is_file

# Other formats are lists of further files and addresses; a video from a stranger must not make us open those.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,gif"
_CAMERAS = {"linux": ("v4l2", "/dev/video{}"), "darwin": ("avfoundation", "{}"), "win32": ("dshow", "video={}")}


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        pixels: uint8 RGB (H, W, 3), rotated as the video's metadata say.
        time: time at which it is shown, in the video's ``time_base``; negative in some files.
    """

    pixels: np.ndarray
    time: int


class VideoReader:
    """The frames of a video file or a camera; they can be iterated once.

    Attributes:
        count: number of frames according to the file; None if it does not say.
        rate: average number of frames per second.
        time_base: unit of the frames' times, in seconds.
    """

    def __init__(self, source: str, container: Any) -> None:
        if not container.streams.video:
            raise DataError("there is no video in the file", source)
        self._source, self._container, self._stream = source, container, container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self.count: int | None = self._stream.frames or None
        self.rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or 25)
        self.time_base = Fraction(self._stream.time_base or 1 / self.rate)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; damaged frames are skipped, with a warning at the end.

        Raises:
            DataError: the file cannot be read, or has no frame.
        """
        count, damaged, time = 0, 0, 0
        step = max(1, round(1 / (self.rate * self.time_base)))
        av = _av(self._source)
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    damaged += 1
                    continue
                for frame in frames:
                    # The encoder needs increasing times; some files and cameras have none, or repeat them.
                    if frame.pts is None:
                        time += step if count else 0
                    else:  # the first time may be negative
                        time = max(time + 1, frame.pts) if count else frame.pts
                    count += 1
                    yield Frame(_upright(frame), time)
        except av.error.FFmpegError as error:
            raise DataError(f"the video is damaged: {error.strerror or error}", self._source) from error
        if not count:
            raise DataError("the video has no frame that can be decoded", self._source)
        if damaged:
            warn(f"{self._source}: {damaged} damaged pieces of the video are left out")


@contextmanager
def open_video(source: str) -> Iterator[VideoReader]:
    """Open a video file, or a camera: ``webcam:0``, or ``webcam:`` with a device or file.

    Raises:
        DataError: the source cannot be opened or has no video, or PyAV is not installed.
    """
    av = _av(source)
    name, options = _camera(source) if source.startswith(WEBCAM) else _file(source)
    try:
        container = av.open(name, **options)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        wrong = isinstance(error, (av.error.InvalidDataError, ValueError))
        reason = "it is no video in a format that is read here" if wrong else getattr(error, "strerror", None) or error
        raise DataError(f"cannot be opened as a video: {reason}", source) from error
    with container:
        yield VideoReader(source, container)


class VideoWriter:
    """Writes an .mp4 (H.264) of one size, without sound, to a file object that can seek.

    Frames keep their times; if a video begins at a negative time, all frames are shifted so that the first is at 0.

    Args:
        file: file object to write to.
        like: the video whose frame rate and time base are used.
        path: the file's name, for messages.
    """

    def __init__(self, file: BinaryIO, like: VideoReader, path: str | os.PathLike[str]) -> None:
        self._av, self._path, self._like = _av(path), path, like
        self._container = self._av.open(file, "w", format="mp4")
        self._stream: Any = None
        self._begin = 0

    def write(self, frame: Frame) -> None:
        """Add a frame; all frames must have the first one's size.

        Raises:
            DataError: the frame has another size, or the encoder refuses it.
        """
        height, width = frame.pixels.shape[:2]
        try:
            if self._stream is None:
                self._stream = self._new_stream(width, height)
                # Players skip frames of an .mp4 with times below 0.
                self._begin = min(0, frame.time)
            if (self._stream.width, self._stream.height) != (width, height):
                was = f"{self._stream.width} x {self._stream.height}"
                raise DataError(f"the frames change their size from {was} to {width} x {height}", self._path)
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.pixels), format="rgb24")
            picture.pts, picture.time_base = frame.time - self._begin, self._like.time_base
            self._container.mux(self._stream.encode(picture))
        except self._av.error.FFmpegError as error:
            raise DataError(f"the video cannot be encoded: {error.strerror or error}", self._path) from error

    def close(self) -> None:
        """Write what the encoder has buffered, and the file's end.

        Raises:
            DataError: the video cannot be encoded or written.
        """
        try:
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
        except self._av.error.FFmpegError as error:
            raise DataError(f"the video cannot be encoded: {error.strerror or error}", self._path) from error

    def _new_stream(self, width: int, height: int) -> Any:
        # FFmpeg builds without GPL parts do not have libx264.
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        options = {"crf": "18", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
        stream = self._container.add_stream(codec, rate=self._like.rate, options=options)
        stream.width, stream.height = width, height
        # Chroma subsampling, which players expect, needs even sides.
        odd = codec == "libx264" and (width % 2 or height % 2)
        stream.pix_fmt = "yuv444p" if odd else "yuv420p"
        stream.codec_context.time_base = self._like.time_base
        return stream


def _file(path: str) -> tuple[str, dict[str, Any]]:
    # An absolute path, because FFmpeg interprets "concat:a|b" and the like as protocols.
    return str(Path(path).absolute()), {"options": {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}}


def _camera(source: str) -> tuple[str, dict[str, Any]]:
    number = source.removeprefix(WEBCAM)
    if sys.platform not in _CAMERAS:
        raise DataError(f"cameras are not read on {sys.platform}", source)
    format_name, name = _CAMERAS[sys.platform]
    if number.isdecimal():
        return name.format(number), {"format": format_name}
    return _file(number) if is_file(number) else (number, {"format": format_name})


def _upright(frame: Any) -> np.ndarray:
    """Return a frame's pixels rotated by its metadata, in multiples of 90 degrees, as phones record them."""
    pixels: np.ndarray = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(getattr(frame, "rotation", 0) / 90)) if getattr(frame, "rotation", 0) else pixels


def _av(source: str | os.PathLike[str]) -> Any:
    try:
        import av
    except ModuleNotFoundError as error:
        raise DataError(f"videos need PyAV: {how_to_install('av')}", source) from error
    return av
