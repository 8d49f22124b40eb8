"""Expand a command's inputs, files, folders, lists, videos and cameras, to an ordered list of work items."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal

from deeplab_caffe.data.io.folders import folder_names, is_image
from deeplab_caffe.data.io.lists import read_image_list
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.files.names import is_folder

SourceKind = Literal["image", "stdin", "video", "webcam"]

STDIN = "-"
WEBCAM = "webcam:"
# A .gif counts as an image: its first frame is used.
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")
# Endings of results; such files beside their photographs are not inputs.
_RESULTS = ("_labels", "_overlay")


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One input of a command.

    Attributes:
        source: path of the file, as the user gave it; ``-`` for stdin, ``webcam:0`` for a camera.
        name: name of its results: a path inside the results' folder, with ``/``, without the source's ending. Names are
            unique within a list.
        kind: what the source is.
    """

    source: str
    name: str
    kind: SourceKind = "image"


def expand_inputs(
    arguments: Sequence[str | PathLike[str]],
    *,
    recursive: bool = False,
    lists: Sequence[str | PathLike[str]] = (),
    data_root: str | PathLike[str] = "",
    results: str | PathLike[str] | None = None,
) -> list[WorkItem]:
    """Return the work items for a command's arguments, in a fixed order: first the arguments', then the lists'.

    A file stands for itself, even if it does not exist. A folder stands for the images in it, sorted by name. Hidden
    files, links to folders, and results (``x_labels.png`` beside ``x.jpg``) are left out, and so are, with a warning,
    pipes, sockets and devices. An input that is given twice is used once.

    The results of a file are named after it, those of an image in a folder or list by its path in the folder or list.
    If two items would have the same name, they get the path below their common folder, and if this is the same too, the
    ending: ``a/x.jpg b/x.jpg`` become ``a/x`` and ``b/x``; ``x.jpg x.png`` become ``x.jpg`` and ``x.png``.


    Args:
        arguments: image files, video files, folders, ``-`` for an image's bytes on stdin, ``webcam:0``.
        recursive: search the folders inside folders too.
        lists: list files in DeepLab's form, with a line "image" or "image label" for each image.
        data_root: text that is put before the lists' names, as IMAGE_SEG_DATA's ``root_folder``.
        results: a folder that is not searched.

    Raises:
        DataError: a folder or list cannot be read or has no image, or two names stay the same.
    """
    closed = None if results is None else os.path.realpath(results)
    items = [item for argument in arguments for item in _expanded(os.fspath(argument), recursive, closed)]
    for path in lists:
        for entry in read_image_list(path):
            items.append(_item(f"{os.fspath(data_root)}{entry.image}", entry.image))
    once = {item.source if item.kind in ("stdin", "webcam") else _absolute(item.source): item for item in items[::-1]}
    return _uniquely_named(list(once.values())[::-1])


def share_of(items: Sequence[WorkItem], shard: Shard) -> list[WorkItem]:
    """Return one process's part of the items: every ``world``-th item, starting at its rank.

    The parts of all ranks together have every item once.
    """
    return list(items[shard.rank :: shard.world])


def parse_shard(text: str) -> Shard:
    """Return the shard of a text such as ``"2/8"``: the third of eight processes.

    Raises:
        NetError: the text has another form.
    """
    # Nobody has a process for each number of ten digits, and Python refuses to read thousands of them.
    rank, slash, world = text.partition("/") if len(text) < 20 else ("", "", "")
    if not (slash and rank.isdecimal() and world.isdecimal()) or int(rank) >= int(world):
        last = f", up to {int(world) - 1}/{int(world)}" if world.isdecimal() and int(world) else ""
        raise NetError(f"a shard is I/N with I from 0, 0/4 for the first of four{last}; got '{text}'")
    return Shard(int(rank), int(world))


def shard_of_environment(environment: Mapping[str, str]) -> Shard:
    """Return the shard of a process that torchrun started, by its RANK and WORLD_SIZE; else the whole.

    Raises:
        NetError: the variables are not such numbers.
    """
    if environment.get("WORLD_SIZE", "1") == "1":
        return Shard()
    rank, world = environment.get("RANK"), environment["WORLD_SIZE"]
    try:
        return parse_shard(f"{rank or ''}/{world}")
    except NetError:
        came = "no RANK" if rank is None else f"RANK={rank}"
        raise NetError(
            f"the environment has WORLD_SIZE={world} and {came}: torchrun sets both, RANK from 0 to WORLD_SIZE - 1; "
            f"unset them, or say --shard I/N"
        ) from None


def _expanded(argument: str, recursive: bool, closed: str | None) -> Iterator[WorkItem]:
    if argument == STDIN:
        yield WorkItem(STDIN, "stdin", "stdin")
    elif argument.startswith(WEBCAM):
        yield WorkItem(argument, f"webcam{PurePath(argument.removeprefix(WEBCAM)).stem}", "webcam")
    elif is_folder(argument):
        inside = list(_images_in(Path(argument), PurePosixPath(), recursive, closed))
        if not inside:
            more = "" if recursive else "; --recursive looks into the folders in it"
            raise DataError(f"the folder has no image{more}", argument)
        yield from inside
    else:
        yield _item(argument, PurePath(argument).name)


def _images_in(folder: Path, below: PurePosixPath, recursive: bool, closed: str | None) -> Iterator[WorkItem]:
    names = sorted(name for name in folder_names(folder) if not name.startswith("."))
    images = [name for name in names if is_image(PurePath(name))]
    known = {*images, *(PurePath(name).stem for name in images)}
    for name in names:
        path = folder / name
        if name in images:
            if not _is_result(PurePath(name).stem, known):
                yield _item(str(path), str(below / name))
        elif recursive and is_folder(path) and not path.is_symlink() and os.path.realpath(path) != closed:
            try:
                yield from list(_images_in(path, below / name, recursive, closed))
            except DataError:
                # The command that reads it will report why it cannot, and go on with the others.
                yield _item(str(path), str(below / name))


def _is_result(stem: str, known: set[str]) -> bool:
    return any(stem.endswith(end) and stem.removesuffix(end) in known for end in _RESULTS)


def _item(source: str, name: str) -> WorkItem:
    path = PurePosixPath(name.replace("\\", "/") if os.name == "nt" else name)
    parts = [part for part in path.with_suffix("").parts if part not in ("/", "..")] if path.name else []
    kind: SourceKind = "video" if path.suffix.lower() in VIDEO_SUFFIXES else "image"
    return WorkItem(source, "/".join(parts) or "image", kind)


def _absolute(source: str) -> str:
    return os.path.abspath(source)  # noqa: PTH100  # Path.absolute keeps ".."


def _uniquely_named(items: list[WorkItem]) -> list[WorkItem]:
    """Return the items, with longer names for those that have the same name.

    Raises:
        DataError: two items have the same name even then.
    """
    for longer in (_by_path, _by_ending):
        counts = Counter(item.name for item in items)
        if len(counts) == len(items):
            return items
        groups = defaultdict(list)
        for item in items:
            groups[item.name].append(item.source)
        items = [item if counts[item.name] == 1 else longer(item, groups[item.name]) for item in items]
    first: dict[str, str] = {}
    for item in items:
        if item.name in first:
            raise DataError(
                f"the results of '{first[item.name]}' have the name '{item.name}' too: work on them one after the "
                f"other, with two folders for the results",
                item.source,
            )
        first[item.name] = item.source
    return items


def _by_path(item: WorkItem, sources: Sequence[str]) -> WorkItem:
    if item.kind in ("stdin", "webcam"):
        return item
    folders = [os.path.dirname(_absolute(source)) for source in sources if source != STDIN]  # noqa: PTH120
    path = os.path.relpath(_absolute(item.source), os.path.commonpath(folders))
    return replace(item, name=str(PurePosixPath(*PurePath(path).with_suffix("").parts)))


def _by_ending(item: WorkItem, _: Sequence[str]) -> WorkItem:
    return replace(item, name=item.name + PurePath(item.source).suffix)
