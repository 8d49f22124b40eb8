"""Segment a video or a camera's pictures, and write an overlay of each frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np

from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.video import Frame, VideoReader, VideoWriter
from deeplab_caffe.segmentation.pipeline import ahead, behind, in_order
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.results import ResultWriter


class DoneFrame(NamedTuple):
    """A frame whose overlay has been written.

    Attributes:
        number: number of the frame, from 0.
        seconds: time of the frame in the video.
        found: the frame's segmentation.
    """

    number: int
    seconds: float
    found: Segmentation


def segment_video(
    item: WorkItem,
    video: VideoReader,
    segment: Callable[[np.ndarray], Segmentation],
    writer: ResultWriter,
    max_frames: int | None = None,
    *,
    at_once: int = 1,
) -> Iterator[DoneFrame]:
    """Segment a video frame by frame, and write the overlays as a video of the same size and timing, without a legend.

    The file gets its name when all frames are in it. A camera's video ends, and is complete, at Ctrl-C.

    Args:
        item: the video's item.
        video: the frames.
        segment: the network and its CRF; one frame at a time it runs in the caller's thread.
        writer: decides the file and the look of the overlays.
        max_frames: stop after this many frames; None: at the end.
        at_once: how many frames are computed at a time, as by :func:`deeplab_caffe.segmentation.pipeline.in_order`.

    Raises:
        DataError: the video cannot be read or written; no file is left then.
    """
    (path,) = writer.paths(item)
    with atomic_write(path, make_folders=True) as file:
        out = VideoWriter(file, video, path)

        def write(computed: tuple[Frame, Segmentation]) -> tuple[Frame, Segmentation]:
            frame, found = computed
            drawn = found.overlay(frame.pixels, colormap=writer.colormap, outlines=writer.outlines, legend=False)
            out.write(Frame(drawn, frame.time))
            return computed

        def compute(frame: Frame) -> tuple[Frame, Segmentation]:
            return frame, segment(frame.pixels)

        # The reader's thread must have ended before the video is closed.
        with (
            closing(ahead(islice(video, max_frames))) as frames,
            closing(in_order(frames, compute, at_once)) as computed,
            closing(behind(computed, write)) as written,
        ):
            try:
                for number, (frame, found) in enumerate(written):
                    yield DoneFrame(number, float(frame.time * video.time_base), found)
            except (KeyboardInterrupt, GeneratorExit):
                if item.kind != "webcam":
                    raise
        out.close()
