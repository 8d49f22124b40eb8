"""The work of ``segment`` on pictures and videos, and its messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any, TextIO

import click
import numpy as np

from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.cli.progress import Advance, progress, tell_error
from deeplab_caffe.data import atomic_write, load_image
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.data.io.lists import read_lines
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.data.video import open_video
from deeplab_caffe.errors import DataError, DeepLabCaffeError
from deeplab_caffe.files.names import exists
from deeplab_caffe.segmentation.pipeline import MemoryBudget, segment_pictures
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.results import ResultWriter, shares
from deeplab_caffe.segmentation.segmenter import Segmenter
from deeplab_caffe.segmentation.video import segment_video

_MOST_STDIN = 1 << 30
_STDOUT = Path("-")


@dataclass
class Run:
    """One call of ``segment``.

    Attributes:
        segmenter: the network.
        writer: writes the result files.
        record: receives areas and boxes; None: do not compute them.
        min_share: regions with a smaller share of the picture get no box.
        max_frames: frames to process of a video; None for all.
        quiet: print only errors.
        to_stderr: print messages on stderr, because stdout has the results.
        count: number of pictures and frames that are done.
        failed: number of items that failed.
    """

    segmenter: Segmenter
    writer: ResultWriter
    record: Callable[[dict[str, Any]], None] | None
    min_share: float
    max_frames: int | None = None
    quiet: bool = False
    to_stderr: bool = False
    count: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        available = available_memory()
        # Half: a picture may take more than is estimated, and others are read and written.
        self._memory = MemoryBudget(None if available is None else available // 2)

    def all(self, items: Sequence[WorkItem]) -> None:
        """Process all items, in order."""
        for is_video, group in groupby(items, lambda item: item.kind in ("video", "webcam")):
            if not is_video:
                self._pictures(list(group))
                continue
            for item in group:
                try:
                    self._video(item)
                except DeepLabCaffeError as error:
                    self._tell(item, error)

    def _pictures(self, items: Sequence[WorkItem]) -> None:
        # Who stops does not wait for what standard input may never give.
        with_stdin = any(item.kind == "stdin" for item in items)
        at_once = 1 if with_stdin else self.segmenter.images_at_once(len(items))
        with self._progress("segmenting", len(items), "photos") as advance:
            for done in segment_pictures(items, _read, self._segment, self.writer, at_once=at_once):
                if done.error is not None or done.found is None:
                    self._tell(done.item, done.error)
                else:
                    self._finished(done.item, done.found)
                    self._log(advance, f"{done.item.source}: {shares(done.found)}", done.paths)
                advance()

    def _video(self, item: WorkItem) -> None:
        with open_video(item.source) as video:
            total = min(filter(None, (video.count, self.max_frames)), default=None)
            before = self.count
            # A camera's frames come one at a time.
            at_once = 1 if item.kind == "webcam" else self.segmenter.images_at_once(total)
            with self._progress(item.source, total, "frames") as advance:
                frames = segment_video(item, video, self._segment, self.writer, self.max_frames, at_once=at_once)
                for frame in frames:
                    self._finished(item, frame.found, frame=frame.number, seconds=round(frame.seconds, 6))
                    advance()
                self._log(advance, f"{item.source}: {self.count - before} frames", self.writer.paths(item))

    def _segment(self, image: np.ndarray) -> Segmentation:
        with self._memory.take(self.segmenter.memory_needed(*image.shape[:2])):
            return self.segmenter.segment(image, labels_only=self.writer.marginals is None)

    def _progress(self, what: str, total: int | None, unit: str) -> Any:
        return progress(what, total, to_stderr=self.to_stderr, hidden=self.quiet, unit=unit)

    def _finished(self, item: WorkItem, found: Segmentation, **more: float) -> None:
        self.count += 1
        if self.record:
            self.record({"photo": item.source, **more, **found.to_json(self.min_share)})

    def _log(self, advance: Advance, line: str, paths: Sequence[Path]) -> None:
        if not self.quiet:
            for one in (line, *(f"  {path}" for path in paths)):
                advance.log(one)

    def _tell(self, item: WorkItem, error: DeepLabCaffeError | None) -> None:
        self.failed += 1
        tell_error(item.source, error)


def _read(item: WorkItem) -> np.ndarray:
    if item.kind != "stdin":
        return load_image(item.source)
    content = _opened(sys.stdin, "standard input").buffer.read(_MOST_STDIN + 1)
    if len(content) > _MOST_STDIN:
        raise DataError(f"the image has more than {_MOST_STDIN:,} bytes", "stdin")
    return load_image("stdin", content=content)


def _opened(stream: TextIO | None, name: str) -> TextIO:
    """Return a standard stream; raise if it is None, because the process was started with it closed."""
    if stream is None:
        raise DataError(f"{name} is closed: give a file's name", "-")
    return stream


def unfinished(items: Sequence[WorkItem], writer: ResultWriter, lines: Path | None) -> list[WorkItem]:
    """Return the items that lack one of their files, or their line in a file of JSON lines."""
    told = {source for source, _ in _told(lines)} if lines is not None and lines.is_file() else set()
    return [
        item
        for item in items
        if not all(map(exists, writer.paths(item))) or (lines is not None and item.source not in told)
    ]


def replaced(items: Sequence[WorkItem], writer: ResultWriter) -> int:
    """Return the number of items that have a result already."""
    return sum(any(map(exists, writer.paths(item))) for item in items)


def path_of_shard(path: Path | None, shard: Shard) -> Path | None:
    """Return a process's own file: ``areas-1-of-4.json`` for ``areas.json``."""
    if path is None or shard.world == 1 or path == _STDOUT:
        return path
    return path.with_name(f"{path.stem}-{shard.rank}-of-{shard.world}{path.suffix}")


@contextmanager
def json_array(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Collect records and write them as one JSON array at the end, a line for each; ``-`` is stdout."""
    described: list[dict[str, Any]] = []
    if path == _STDOUT:
        _opened(sys.stdout, "standard output")
    yield described.append
    lines = ",\n".join(json.dumps(one, allow_nan=False) for one in described)
    text = f"[\n{lines}\n]\n"
    if path == _STDOUT:
        click.echo(text, nl=False)
        return
    with atomic_write(path, make_folders=True) as file:
        file.write(text.encode())


@contextmanager
def json_lines(path: Path, todo: Sequence[WorkItem] | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Write each record as a line of JSON, at once; ``-`` is stdout.

    Args:
        path: the file.
        todo: replace the file's lines of these items and keep its other lines; None: start a new file.
    """
    if path == _STDOUT:
        yield partial(_write_line, _opened(sys.stdout, "standard output").buffer, "standard output")
        return
    kept = [] if todo is None or not path.is_file() else _told(path)
    again = {item.source for item in todo or ()}
    with atomic_write(path, make_folders=True) as file:
        file.writelines(line + b"\n" for source, line in kept if source not in again)
    stream = path.open("ab")
    try:
        yield partial(_write_line, stream, path)
    finally:
        # Each line was flushed: what is left in the buffer could not be written, which was reported.
        with suppress(OSError):
            stream.close()


def _write_line(stream: IO[bytes], path: str | Path, one: dict[str, Any]) -> None:
    try:
        stream.write(json.dumps(one, allow_nan=False).encode() + b"\n")
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", path, reason=error.strerror) from error


def _told(path: Path) -> list[tuple[str, bytes]]:
    """Return the source and the text of each whole line; a killed process may have left part of a line.

    Raises:
        DataError: a line is some other JSON, which rewriting the file would lose.
    """
    found = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        except RecursionError:
            told = None
        source = told.get("photo") if isinstance(told, dict) else None
        if not isinstance(source, str):
            raise DataError(
                'expected a line of --jsonl, an object with the text "photo": give another file, or remove the line',
                path,
                number,
            )
        found.append((source, line))
    return found
