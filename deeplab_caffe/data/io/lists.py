"""List files: image lists of the data layers and id lists of MAT_WRITE and MAT_READ."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

from deeplab_caffe.errors import DataError
from deeplab_caffe.proto.text.encoding import utf8


@dataclass(frozen=True)
class ListEntry:
    """One line of an image list.

    Attributes:
        image: the first word, to be appended to the root folder without a separator.
        label: the second word; "" if the line has one word.
        line: line number from 1.
        words: number of words in the line.
    """

    image: str
    label: str
    line: int
    words: int = field(default=2, compare=False)

    @property
    def hint(self) -> str:
        r"""Return a hint for a name that was not found, if white space cut it or it has ``\``; else ``""``."""
        if "\\" in self.image:
            return " (lists part folders by '/', not by a backslash)"
        parted = self.words > 2 or (self.words == 2 and not Path(self.image).suffix)
        return _parted(self.words) if parted else ""


def _parted(words: int) -> str:
    return f" (the line has {words} words: lists part names at white space, so no file's name may hold any)"


def read_image_list(path: str | PathLike[str], *, label_required: bool = False) -> list[ListEntry]:
    """Read "image label" lines as IMAGE_SEG_DATA does (layers/image_seg_data_layer.cpp).

    Words are separated by white space, so names cannot have any; words after the second are ignored. Blank lines are
    skipped (the original fails on them).

    Args:
        path: the list file.
        label_required: whether a line without a second word is an error.

    Raises:
        DataError: the file cannot be read, has no line, or a line lacks its label.
    """
    entries = []
    for number, words in _lines_of_words(path):
        if len(words) < 2 and label_required:
            raise DataError(f"expected 'image label', got '{words[0]}' alone", path, number)
        entries.append(ListEntry(words[0], words[1] if len(words) > 1 else "", number, len(words)))
    if not entries:
        raise DataError("the list holds no image", path)
    return entries


@dataclass(frozen=True)
class LabelledEntry:
    """One line of IMAGE_DATA's list.

    Attributes:
        image: the name, to be appended to the root folder without a separator.
        labels: the numbers after it.
        line: line number from 1.
    """

    image: str
    labels: tuple[int, ...]
    line: int


def read_labelled_list(path: str | PathLike[str], max_labels: int | None) -> list[LabelledEntry]:
    """Read "image label label ..." lines as IMAGE_DATA does (layers/image_data_layer.cpp).

    With ``max_labels=1`` a name followed by a single number may have white space: BVLC's Caffe since 1.0 rc4 splits its
    lines, which have one label, at the last space.

    Args:
        path: the list file.
        max_labels: maximum number of labels in a line; None: ignore what follows the images' names.

    Raises:
        DataError: the file cannot be read, has no line, or a line has too many labels or one that is no whole number.
    """
    entries = []
    for number, line in _filled_lines(path):
        image, *words = _words(line)
        if max_labels is None:
            words = []
        elif max_labels == 1 and len(words) > 1 and _is_label(words[-1]) and not _is_label(words[-2]):
            image, words = os.fsdecode(line.rsplit(maxsplit=1)[0].strip()), words[-1:]
        elif len(words) > max_labels:
            hint = "" if Path(image).suffix else _parted(1 + len(words))
            raise DataError(f"'{image}' has {len(words)} labels, max_labels is {max_labels}{hint}", path, number)
        for word in words:
            if not _is_label(word):
                hint = "" if Path(image).suffix else _parted(1 + len(words))
                raise DataError(f"expected a label for '{image}', a whole number, got '{word}'{hint}", path, number)
        entries.append(LabelledEntry(image, tuple(int(word) for word in words), number))
    if not entries:
        raise DataError("the list holds no image", path)
    return entries


def _is_label(word: str) -> bool:
    return re.fullmatch(r"[+-]?\d{1,9}", word, re.ASCII) is not None


def read_id_list(path: str | PathLike[str], *, strip: int = 0) -> list[str]:
    """Read the first word of every line without its last ``strip`` characters (layers/mat_write_layer.cpp).

    Args:
        path: the list file.
        strip: number of characters to cut at the end, 4 for ".jpg".

    Raises:
        DataError: the file cannot be read, ``strip`` is negative, or nothing is left of a name.
    """
    if strip < 0:
        raise DataError(f"strip must not be negative, got {strip}", path)
    names = []
    for number, words in _lines_of_words(path):
        if len(words[0]) <= strip:
            raise DataError(f"stripping {strip} characters leaves nothing of '{words[0]}'", path, number)
        names.append(words[0][: len(words[0]) - strip])
    return names


def read_words(path: str | PathLike[str]) -> list[str]:
    """Read all words of a file, as HDF5_DATA reads its list of files.

    Raises:
        DataError: if the file cannot be read.
    """
    return [word for _, word in numbered_words(path)]


def numbered_words(path: str | PathLike[str]) -> list[tuple[int, str]]:
    """Read all words of a file, each with its line number from 1.

    Raises:
        DataError: if the file cannot be read.
    """
    return [(number, word) for number, words in _lines_of_words(path) for word in words]


def read_lines(path: str | PathLike[str]) -> list[bytes]:
    """Read the lines of a text file, converted to UTF-8 if it is UTF-16, without line ends and byte order mark.

    Raises:
        DataError: the file cannot be read, or has a NUL byte.
    """
    try:
        content = utf8(Path(path).read_bytes())
    except (OSError, ValueError) as exc:
        raise DataError(f"cannot be read: {getattr(exc, 'strerror', None) or exc}", path) from exc
    if b"\0" in content:
        raise DataError("a NUL byte: this is no text file", path, content[: content.index(b"\0")].count(b"\n") + 1)
    return content.split(b"\n")


def _filled_lines(path: str | PathLike[str]) -> list[tuple[int, bytes]]:
    return [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]


def _words(line: bytes) -> list[str]:
    # bytes.split splits only at ASCII white space, like C++ streams; str.split would also split at U+00A0, for example.
    return [os.fsdecode(word) for word in line.split()]


def _lines_of_words(path: str | PathLike[str]) -> list[tuple[int, list[str]]]:
    return [(number, _words(line)) for number, line in _filled_lines(path)]
