"""Names and colours of classes: of a data set, from a list file, or from the file beside a model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeplab_caffe.data.colormap import (
    CAMVID_CLASSES,
    CAMVID_COLORMAP,
    VOC_CLASSES,
    VOC_COLORMAP,
    distinct_colormap,
)
from deeplab_caffe.data.datasets import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_COLORMAP,
    CITYSCAPES_IDS,
    COCO_STUFF_CLASSES,
    PASCAL_CONTEXT_CLASSES,
    PERSON_PART_CLASSES,
)
from deeplab_caffe.data.io.lists import read_lines
from deeplab_caffe.errors import DataError, EvaluationError, warn
from deeplab_caffe.files.names import is_file

# Name of the file with a model's classes, in the folder of its weights or of its prototxt.
BESIDE = "classes.txt"


# The label that ids that are not in a data set become.
_NO_CLASS = 255


@dataclass(frozen=True, eq=False)
class Classes:
    """Names of labels 0, 1, 2, ... and their colours, uint8 RGB ``(K or more, 3)``.

    Attributes:
        names: K names.
        colormap: the colours.
        ids: K numbers below 255 that label maps have instead of 0, 1, 2, ...; None if they have 0, 1, 2, ...
    """

    names: tuple[str, ...]
    colormap: np.ndarray
    ids: tuple[int, ...] | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Classes):
            return NotImplemented
        same = self.names == other.names and self.ids == other.ids
        return same and np.array_equal(self.colormap, other.colormap)

    def __hash__(self) -> int:
        return hash((self.names, self.ids))

    def __len__(self) -> int:
        return len(self.names)

    def from_file(self, labels: np.ndarray) -> np.ndarray:
        """Return a file's label map as class numbers; unknown ids become 255, which does not count."""
        if self.ids is None:
            return labels
        table = np.full(256, _NO_CLASS, np.uint8)
        table[list(self.ids)] = range(len(self.ids))
        return np.where((labels >= 0) & (labels < 256), table[np.asarray(labels, np.int64) & 255], _NO_CLASS)

    def to_file(self, labels: np.ndarray) -> np.ndarray:
        """Return class numbers as the label map of a file."""
        return labels if self.ids is None else np.array(self.ids, np.uint8)[labels]

    @property
    def file_colormap(self) -> np.ndarray:
        """Return the colours of the values in label map files; unknown ids are black."""
        if self.ids is None:
            return self.colormap
        colours = np.zeros((256, 3), np.uint8)
        colours[list(self.ids)] = self.colormap[: len(self.ids)]
        return colours


KNOWN = {
    "voc12": Classes(VOC_CLASSES, VOC_COLORMAP),
    "camvid": Classes(CAMVID_CLASSES, CAMVID_COLORMAP),
    "cityscapes": Classes(CITYSCAPES_CLASSES, CITYSCAPES_COLORMAP),
    "cityscapes-ids": Classes(CITYSCAPES_CLASSES, CITYSCAPES_COLORMAP, CITYSCAPES_IDS),
    "cocostuff": Classes(COCO_STUFF_CLASSES, VOC_COLORMAP),
    "pascal-context": Classes(PASCAL_CONTEXT_CLASSES, VOC_COLORMAP),
    "person-part": Classes(PERSON_PART_CLASSES, VOC_COLORMAP),
}


# Colours by name, for any classes.
COLORMAPS = {
    "voc": VOC_COLORMAP,
    "camvid": CAMVID_COLORMAP,
    "cityscapes": CITYSCAPES_COLORMAP,
    "distinct": np.empty((0, 3), np.uint8),
}


def find_classes(given: str | os.PathLike[str] | Sequence[str] | Classes) -> Classes:
    """Return the classes of a data set by its name, of a text file, or of a list of names.

    A text with commas that is not the name of a file is a list too: ``"background,cat,dog"``. A file has one name per
    line, optionally followed by its colour as three numbers from 0 to 255: ``traffic light 250 170 30``. Classes
    without a colour get PASCAL VOC's colour of their label. Blank lines are skipped.

    Raises:
        EvaluationError: it is neither a known name nor a file with 1 to 255 names, or a name occurs twice.
    """
    if isinstance(given, Classes):
        return given
    if not isinstance(given, (str, os.PathLike)):
        if not isinstance(given, Iterable) or not all(isinstance(name, str) for name in given):
            raise EvaluationError(f"classes: expected a name, a file or a list of names, got {type(given).__name__}")
        return _from_lines(list(given), "classes")
    name = os.fspath(given)
    if name in KNOWN or (name.lower() in KNOWN and not Path(name).exists()):
        return KNOWN[name.lower()]
    if "," in name and not is_file(name):
        listed = [part.strip() for part in name.split(",")]
        if "" in listed:
            raise EvaluationError(
                f"classes: name {listed.index('')} in '{name}' is empty: each label needs one, from 0 on"
            )
        return _from_lines(listed, "classes")
    try:
        lines = [os.fsdecode(line) for line in read_lines(name)]
    except DataError as exc:
        known = ", ".join(KNOWN)
        raise EvaluationError(
            f"classes: expected {known} or a file with a name in each line, or names with commas, got '{name}': "
            f"{exc.reason}"
        ) from exc
    return _from_lines(lines, name)


def model_classes(
    num_classes: int | None,
    files: Iterable[str | os.PathLike[str] | None] = (),
    given: str | os.PathLike[str] | Sequence[str] | Classes | None = None,
) -> Classes:
    """Return the classes of a model.

    Args:
        num_classes: the model's number of classes; None if it is not known.
        files: the model's weights and prototxt; None for one that is not a file. A ``classes.txt`` beside one of them
            is used, unless it has another number of names, which gives a warning.
        given: the classes to use instead, see :func:`find_classes`.

    Returns:
        ``num_classes`` names. If nothing is known, PASCAL VOC's for 21 classes, else ``class 0``, ...

    Raises:
        EvaluationError: the names cannot be read, or their number is not the model's number of classes.
    """
    if given is not None:
        found = find_classes(given)
        if num_classes not in (None, len(found)):
            raise EvaluationError(f"classes: {len(found)} names are given, the model has {num_classes} classes")
        return found
    for path in paths_beside(files):
        if is_file(path):
            found = find_classes(path)
            if num_classes in (None, len(found)):
                return found
            warn(f"{path}: {len(found)} names are not the model's, which has {num_classes}")
    if num_classes == len(VOC_CLASSES):
        return KNOWN["voc12"]
    return Classes(tuple(class_name((), label) for label in range(num_classes or 0)), VOC_COLORMAP)


def paths_beside(files: Iterable[str | os.PathLike[str] | None]) -> list[Path]:
    """Return the paths where a model's ``classes.txt`` may be: beside its weights or prototxt, in order of priority."""
    return [folder / BESIDE for folder in dict.fromkeys(Path(file).parent for file in files if file is not None)]


def class_name(names: Sequence[str], label: int) -> str:
    """Return the name of a label; without one, for example, ``class 7``."""
    return names[label] if label < len(names) else f"class {label}"


def find_colormap(given: str | os.PathLike[str], num_classes: int) -> np.ndarray:
    """Return colours for ``num_classes`` classes.

    Args:
        given: ``"voc"``, ``"camvid"`` or ``"cityscapes"``, extended by colours of :func:`distinct_colormap` if there
            are more classes; ``"distinct"``: only these; or a text file with one colour per line, three numbers from 0
            to 255: ``250 170 30``. Blank lines are skipped.
        num_classes: number of colours that are needed, up to 256.

    Returns:
        uint8 RGB ``(num_classes or more, 3)``.

    Raises:
        DataError: it is neither such a name nor a file with enough colours, at most 256.
    """
    name = os.fspath(given)
    if name in COLORMAPS or (name.lower() in COLORMAPS and not Path(name).exists()):
        colours = COLORMAPS[name.lower()]
        return np.concatenate([colours, distinct_colormap(max(0, num_classes - len(colours)), colours)])
    try:
        lines = read_lines(name)
    except DataError as exc:
        known = ", ".join(COLORMAPS)
        raise DataError(f"colors: expected {known} or a file with R G B in each line: {exc.reason}", name) from exc
    found = []
    for number, words in enumerate((line.split() for line in lines), 1):
        if words and not (
            len(words) == 3 and all(re.fullmatch(rb"\d{1,3}", word) and int(word) < 256 for word in words)
        ):
            came = b" ".join(words).decode(errors="replace")
            raise DataError(f"expected a colour, three numbers from 0 to 255, got '{came}'", name, number)
        found += [tuple(map(int, words))] if words else []
    if not num_classes <= len(found) <= 256:
        raise DataError(f"expected {num_classes} to 256 colours, one in each line, got {len(found)}", name)
    return np.array(found, np.uint8)


def _from_lines(lines: Sequence[str], origin: str) -> Classes:
    found = [_name_and_colour(line) for line in lines if line.strip()]
    names = tuple(name for name, _ in found)
    if not 1 <= len(names) <= 255:
        raise EvaluationError(f"{origin}: expected 1 to 255 names of classes, one in each line, got {len(names)}")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise EvaluationError(f"{origin}: two classes are called '{twice[0]}'")
    colormap = VOC_COLORMAP.copy()
    for label, (_, colour) in enumerate(found):
        if colour is not None:
            colormap[label] = colour
    return Classes(names, colormap)


def _name_and_colour(line: str) -> tuple[str, list[int] | None]:
    words = line.split()
    numbers = [int(word) for word in words[-3:] if word.isascii() and word.isdecimal() and len(word) <= 3]
    if len(words) > 3 and len(numbers) == 3 and max(numbers) <= 255:
        return " ".join(words[:-3]), numbers
    return line.strip(), None
