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
        image: the first word, to be put behind the root folder as it is.
        label: the second word, or "" where the line has one word.
        line: line number from 1.
        words: how many words the line has.
    """

    image: str
    label: str
    line: int
    words: int = field(default=2, compare=False)

    @property
    def hint(self) -> str:
        r"""Return what to say of a name that is not found, if white space parted it or it has ``\``; else ``""``."""
        if "\\" in self.image:
            return " (lists part folders by '/', not by a backslash)"
        parted = self.words > 2 or (self.words == 2 and not Path(self.image).suffix)
        return _parted(self.words) if parted else ""


def _parted(words: int) -> str:
    return f" (the line has {words} words: lists part names at white space, so no file's name may hold any)"


def read_image_list(path: str | PathLike[str], *, label_required: bool = False) -> list[ListEntry]:
    """Read "image label" lines as IMAGE_SEG_DATA does (layers/image_seg_data_layer.cpp).

    Words are parted by white space, so names cannot hold any; words after the second are not looked at. Blank lines are
    left out (the original fails on them).

    Args:
        path: the list file.
        label_required: whether a line without a second word is an error.

    Raises:
        DataError: if the file cannot be read, holds no line, or a line lacks its label.
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
        image: the name, to be put behind the root folder as it is.
        labels: the numbers behind it.
        line: line number from 1.
    """

    image: str
    labels: tuple[int, ...]
    line: int


def read_labelled_list(path: str | PathLike[str], max_labels: int | None) -> list[LabelledEntry]:
    """Read "image label label ..." lines as IMAGE_DATA does (layers/image_data_layer.cpp).

    With ``max_labels=1`` names may hold white space where a lone number follows: BVLC's Caffe since 1.0 rc4 parts its
    lines, which have one label, at the last space.

    Args:
        path: the list file.
        max_labels: how many labels a line may have; None leaves out whatever is behind the images.

    Raises:
        DataError: if the file cannot be read, holds no line, or a line has more labels or one that is no whole number.
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
    """Read the first word of every line less its last ``strip`` characters (layers/mat_write_layer.cpp).

    Args:
        path: the list file.
        strip: how many characters to take off the end, 4 for ".jpg".

    Raises:
        DataError: if the file cannot be read, ``strip`` is negative, or it leaves nothing of a name.
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
    """Read all words of a file, each with the number of its line from 1.

    Raises:
        DataError: if the file cannot be read.
    """
    return [(number, word) for number, words in _lines_of_words(path) for word in words]


def read_lines(path: str | PathLike[str]) -> list[bytes]:
    """Read the lines of a text file, in UTF-8 where it is UTF-16; without their ends, and without a byte order mark.

    Raises:
        DataError: it cannot be read, or holds a NUL byte.
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
    # Bytes part at ASCII white space only, as C++ streams do; str.split would also part names at, say, U+00A0.
    return [os.fsdecode(word) for word in line.split()]


def _lines_of_words(path: str | PathLike[str]) -> list[tuple[int, list[str]]]:
    return [(number, _words(line)) for number, line in _filled_lines(path)]
