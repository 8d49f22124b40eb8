"""The list files of an experiment: find or make them, and compare them with the released ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.lists import ListEntry, read_image_list, read_lines
from deeplab_caffe.errors import DataError
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings

# Number of lines and beginning of the SHA-256 of the released lists of voc12.
RELEASED = {
    "train": (1464, "d3a74d3fda5df419"),
    "train_aug": (10582, "656221098f98c756"),
    "trainval": (2913, "89e5077ecbeca66f"),
    "trainval_aug": (12031, "ba7832c99bf8df07"),
    "val": (1449, "e8e5e47a6710a667"),
    "test": (1456, "ec3a15639bfa6747"),
    "val_id": (1449, "cdc1326d12f69ce5"),
    "test_id": (1456, "5e8fe0c14b2e6633"),
}
_WHERE = "the lists of the DeepLab release go to exper/<EXP>/list, to DATA_ROOT/list or, with --lists, anywhere"


class Lists:
    """The lists of one experiment.

    Args:
        settings: the experiment's settings.
        dry: write nothing; lists that would be made are kept in memory.
    """

    def __init__(self, settings: ExperimentSettings, *, dry: bool = False) -> None:
        self.settings = settings
        self.dry = dry
        self._content: dict[str, bytes] = {}

    def content(self, name: str) -> bytes:
        """Return the bytes of a list; a list that the experiment does not have yet is first copied or made.

        Raises:
            ExperimentError: the list cannot be found.
            DataError: the list cannot be read or written.
        """
        if name not in self._content:
            path = self.settings.path(self.settings.list_file(name))
            if path.is_file():
                self._content[name] = path.read_bytes()
            else:
                self._content[name] = self._made(name)
                if not self.dry:
                    with atomic_write(path, make_folders=True) as stream:
                        stream.write(self._content[name])
        return self._content[name]

    def entries(self, name: str) -> list[ListEntry]:
        """Return the lines of an image list."""
        self.content(name)
        return read_image_list(self._source(name))

    def lines(self, name: str) -> list[bytes]:
        """Return the lines of a list that are not blank, in UTF-8, stripped of white space."""
        content, source = self.content(name), self._source(name)
        # In a dry run, lists that would be made exist only in memory.
        found = read_lines(source) if source.is_file() else content.split(b"\n")
        return [line.strip() for line in found if line.strip()]

    def ids(self, name: str) -> list[str]:
        """Return the ids of a set, which are the first words of its ``_id`` list.

        Raises:
            DataError: a list cannot be read, or they have different lengths.
        """
        found = self.entries(name)
        ids = [os.fsdecode(line.split()[0]) for line in self.lines(f"{name}_id")]
        if len(ids) != len(found):
            raise DataError(f"has {len(ids)} ids, {name}.txt {len(found)} images", self._source(f"{name}_id"))
        return ids

    def checksum(self, name: str) -> str:
        """Return the SHA-256 of a list."""
        return hashlib.sha256(self.content(name)).hexdigest()

    def check(self, name: str) -> str | None:
        """Return how a list of voc12 differs from the released one, or None."""
        if self.settings.exp != "voc12" or name not in RELEASED:
            return None
        lines, checksum = RELEASED[name]
        if self.checksum(name).startswith(checksum):
            return None
        found = len(self.lines(name))
        if found != lines:
            return f"list/{name}.txt has {found} lines, the released one {lines}"
        return f"list/{name}.txt has {lines} lines as the released one, but others, or in another order"

    def missing_files(self, name: str) -> list[str]:
        """Return the images and labels of a list that are not under DATA_ROOT."""
        words = [word for entry in self.entries(name) for word in (entry.image, entry.label) if word.startswith("/")]
        return [word for word in words if not Path(f"{self.settings.data_root}{word}").is_file()]

    def weak_set(self, train_set: str) -> str | None:
        """Make the list of a training set's weak images, as run_pascal.sh does; return its name, None without one.

        Raises:
            ExperimentError: no image of the set is weakly labelled.
        """
        strong, length = self.settings.strong_set, self.settings.weak_length
        if strong is None:
            return None
        known = set(self.lines(strong))
        others = [line for line in self.lines(train_set) if line not in known]
        name = f"{train_set}_diff_{strong}" + (f"_head{length}" if length else "")
        content = b"".join(line + b"\n" for line in others[:length])
        if not others:
            raise ExperimentError(f"every image of {train_set} is in {strong}: no weakly labelled image is left")
        path = self.settings.path(self.settings.list_file(name))
        self._content[name] = content
        if not self.dry and (not path.is_file() or path.read_bytes() != content):
            with atomic_write(path, make_folders=True) as stream:
                stream.write(content)
        return name

    def _source(self, name: str) -> Path:
        """Return a file with the content of the list, also in a dry run."""
        path = self.settings.path(self.settings.list_file(name))
        return path if path.is_file() else self._origin(name)

    def _origin(self, name: str) -> Path:
        return (self.settings.lists or self.settings.data_root / "list") / f"{name}.txt"

    def _made(self, name: str) -> bytes:
        origin = self._origin(name)
        if origin.is_file():
            return origin.read_bytes()
        if name.endswith("_id"):
            ids = ids_of([entry.image for entry in self.entries(name[:-3])])
            return os.fsencode("".join(f"{one}\n" for one in ids))
        here = self.settings.path(self.settings.list_file(name))
        raise ExperimentError(f"there is no list '{name}': neither {here} nor {origin}; {_WHERE}")


def ids_of(images: Sequence[str]) -> list[str]:
    """Return the ids of a list's images: their names without ending, with folders only as far as they differ.

    ``/img/a.jpg`` is ``a``. ``/img/aachen/a.png`` and ``/img/bonn/a.png`` in one list are ``aachen/a`` and ``bonn/a``.
    """
    paths = [PurePosixPath(image).with_suffix("") for image in images]
    if len({path.is_absolute() for path in paths}) > 1:
        return [path.name for path in paths]
    common = os.path.commonpath([path.parent for path in paths])
    return [str(path.relative_to(common)) for path in paths]


def folder_of(path: str, name: str) -> Path:
    """Return the folder in which a file has the relative name ``name``; if there is none, the file's own folder."""
    bare = PurePosixPath(path).with_suffix("")
    inner = PurePosixPath(name).parts
    return Path(*bare.parts[: -len(inner)]) if bare.parts[-len(inner) :] == inner else Path(path).parent
