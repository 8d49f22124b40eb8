"""Window files: images and boxes with class and overlap, for WINDOW_DATA (layers/window_data_layer.cpp)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import TypeVar

from deeplab_caffe.data.io.lists import numbered_words
from deeplab_caffe.errors import DataError

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class ImageWindow:
    """A box in an image.

    Attributes:
        image: the image file's name, as in the window file.
        line: line of the box in the window file, from 1.
        label: class of the box; 0 for background.
        x1: first column.
        y1: first row.
        x2: last column.
        y2: last row.
    """

    image: str
    line: int
    label: int
    x1: int
    y1: int
    x2: int
    y2: int


@dataclass
class WindowFile:
    """The content of a window file.

    Attributes:
        channels: number of channels of its images, as given for the last one.
        foreground: boxes that overlap an object by ``fg_threshold`` or more.
        background: boxes that overlap by less than ``bg_threshold``, all with label 0.
    """

    channels: int = 0
    foreground: list[ImageWindow] = field(default_factory=list)
    background: list[ImageWindow] = field(default_factory=list)


def read_window_file(path: str | PathLike[str], fg_threshold: float, bg_threshold: float) -> WindowFile:
    """Read a window file.

    For each image: "# index", the image file's name, channels, height, width, the number of boxes, and for each box
    "class overlap x1 y1 x2 y2", all separated by white space. Boxes that are neither foreground nor background are
    skipped.

    Raises:
        DataError: the file cannot be read, is empty or malformed, or a foreground box has class 0 or less.
    """
    words = _Words(path)
    found = WindowFile()
    index = 0
    while words.more():
        words.expect("#")
        if words.number(int, "an image index") != index:
            raise words.error(f"images must be numbered from 0 on, this is number {index}")
        image = words.word("an image file")
        found.channels = words.number(int, "channels")
        words.number(int, "height")
        words.number(int, "width")
        for _ in range(words.number(int, "the number of windows")):
            label, overlap = words.number(int, "a class"), words.number(float, "an overlap")
            line = words.line
            x1, y1, x2, y2 = (words.number(int, "a box's corner") for _ in range(4))
            if overlap >= fg_threshold:
                if label < 1:
                    raise words.error(f"a foreground window (overlap {overlap}) needs a positive class, got {label}")
                found.foreground.append(ImageWindow(image, line, label, x1, y1, x2, y2))
            elif overlap < bg_threshold:
                found.background.append(ImageWindow(image, line, 0, x1, y1, x2, y2))
        index += 1
    if index == 0:
        raise DataError("the window file is empty", path)
    return found


class _Words:
    """Reads the words of a file one after the other."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = path
        self.line = 0
        self._words: Iterator[tuple[int, str]] = iter(numbered_words(path))
        self._next = next(self._words, None)

    def more(self) -> bool:
        return self._next is not None

    def word(self, what: str) -> str:
        if self._next is None:
            raise self.error(f"the file ends where {what} should be")
        self.line, word = self._next
        self._next = next(self._words, None)
        return word

    def expect(self, expected: str) -> None:
        word = self.word(f"'{expected}'")
        if word != expected:
            raise self.error(f"expected '{expected}', got '{word}'")

    def number(self, kind: Callable[[str], Number], what: str) -> Number:
        word = self.word(what)
        try:
            return kind(word)
        except ValueError:
            raise self.error(f"expected {what}, got '{word}'") from None

    def error(self, message: str) -> DataError:
        return DataError(message, self.path, self.line or None)
