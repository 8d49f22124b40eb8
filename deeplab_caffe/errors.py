"""The exceptions that deeplab_caffe raises for bad input, and how it warns.

Every one of them is a :class:`DeepLabCaffeError`, so that a caller (the command line, a service) can turn all of them
into one line for its user with a single ``except``. Messages say which file, layer, blob or argument is meant, what was
expected, and what came.

A message may quote untrusted files: each message is one line of at most :data:`MOST_CHARACTERS`, without control
characters.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import Any

MOST_CHARACTERS = 3000
# The most items of one kind that a message lists.
MOST_LISTED = 20
_LONGEST_WORD = 200
# Packages whose calls a warning does not name: this one, and those through which it calls itself.
_NO_CALLERS = {"contextlib", "deeplab_caffe", "torch"}
# The extra of pyproject.toml that installs a module.
_EXTRAS = {
    "av": "video",
    "cupy": "cupy",
    "filelock": "torch",
    "gradio": "page",
    "h5py": "hdf5",
    "lmdb": "lmdb",
    "matplotlib": "plot",
    "onnx": "convert",
    "plyvel": "leveldb",
    "pooch": "torch",
    "ray": "ray",
    "requests": "torch",
    "safetensors": "convert",
    "scipy": "scipy",
    "tensorboard": "tensorboard",
    "torch": "torch",
    "wandb": "wandb",
}


def printable(text: str) -> str:
    r"""Return a text that terminals, XML and Markdown can show on one line: control characters as Python writes them.

    An escape becomes the four characters ``\x1b``; so do line breaks, marks that change the direction of writing, and
    bytes that are not text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shortened(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters; a longer text is shortened in the middle."""
    if len(text) <= most:
        return text
    head = (most - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (most - 3 - head) :]}"


def one_line(text: str) -> str:
    """Return a message for users: printable and of bounded length; long words are shortened first."""
    if len(text) > MOST_CHARACTERS:
        text = re.sub(rf"\S{{{_LONGEST_WORD + 1},}}", lambda word: shortened(word.group(), _LONGEST_WORD), text)
    return shortened(printable(shortened(text, MOST_CHARACTERS)), MOST_CHARACTERS)


def listed(items: Sequence[str], count: int, separator: str = "; ") -> str:
    """Return a text with the given items, the first of ``count``, and the number of the others."""
    more = count - len(items)
    return separator.join(items) + (f"{separator}and {more} more" if more > 0 else "")


def how_to_install(module: str) -> str:
    """Return the command that installs a module, through the package's extra if it has one."""
    extra = _EXTRAS.get(module)
    return f"pip install {module}" if extra is None else f"pip install 'deeplab-caffe[{extra}]'"


@contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Make a failing import within the block say what to install.

    Args:
        purpose: what needs the module, in the plural: ``"trimaps"``.

    Raises:
        ModuleNotFoundError: replaces the one of an import; its ``name`` is the package's.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = str(error.name).partition(".")[0]
        message = f"{purpose} need {module}, which is not installed: {how_to_install(module)}"
        raise ModuleNotFoundError(message, name=module) from None


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of what is computed nevertheless, at the line of the caller outside of this package.

    That line is the one that the caller can change. However many calls of this package lie between, it is found.

    Args:
        message: what is wrong, and what to do.
        category: the warning's class.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NO_CALLERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


class DeepLabCaffeError(Exception):
    """Base of all errors caused by bad input, bad files or a bad request."""

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(str(message)))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ calls the class with the message only, but most of these classes need more arguments.
        return _remade, (type(self), self.args), self.__dict__


def _remade(kind: type[DeepLabCaffeError], args: tuple[Any, ...]) -> DeepLabCaffeError:
    """Create an error without calling its __init__, for pickle and copy, which then set its fields."""
    error = kind.__new__(kind, *args)
    error.args = args
    return error


class PrototxtError(DeepLabCaffeError, ValueError):
    """A prototxt cannot be read.

    Attributes:
        path: the file, or ``"<string>"`` for text that came from memory.
        line: line number from 1, or None if the error is not in a single line.
    """

    def __init__(self, message: str, path: str | PathLike[str] = "<string>", line: int | None = None) -> None:
        self.path = str(path)
        self.line = line
        where = self.path if line is None else f"{self.path}:{line}"
        super().__init__(f"{where}: {message}")


class CaffeModelError(DeepLabCaffeError, ValueError):
    """A caffemodel, solverstate or binaryproto file cannot be read.

    Attributes:
        path: the file.
        offset: byte offset of the offending field, or None.
        layer: name of the layer being read, or None.
        reason: the operating system's message, or the message itself.
    """

    def __init__(
        self,
        message: str,
        path: str | PathLike[str],
        offset: int | None = None,
        layer: str | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        self.path = str(path)
        self.reason = message if reason is None else reason
        self.offset = offset
        self.layer = layer
        where = self.path
        if offset is not None:
            where += f" at byte {offset}"
        if layer is not None:
            where += f", layer '{layer}'"
        super().__init__(f"{where}: {message}")


class NetError(DeepLabCaffeError, ValueError):
    """A network cannot be built, fed or run as asked.

    Attributes:
        layer: name of the layer, or None if the error is about the whole net.
        reason: the message without the layer's name and place.
        path: the prototxt that has the layer, or None.
        line: the line at which the layer begins, or None.
        parts: the errors that this one summarizes, if there are several.
    """

    def __init__(
        self,
        message: str,
        layer: str | None = None,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        parts: Sequence[NetError] = (),
    ) -> None:
        self.layer = layer
        self.reason = message
        self.path = None if path is None else str(path)
        self.line = line
        self.parts = tuple(parts)
        if layer is not None and not parts:
            message = f"layer '{layer}': {message}"
        super().__init__(message if path is None else f"{path}:{line}: {message}")


class SolverError(DeepLabCaffeError, ValueError):
    """Training cannot start, continue or be resumed as asked.

    Attributes:
        path: the solver prototxt, solverstate or snapshot concerned, or None.
        field: the SolverParameter field that is wrong, or None.
    """

    def __init__(self, message: str, path: str | PathLike[str] | None = None, *, field: str | None = None) -> None:
        self.path = None if path is None else str(path)
        self.field = field
        super().__init__(message if path is None else f"{path}: {message}")


class DataError(DeepLabCaffeError, ValueError):
    """An image, label map, list, MAT or BIN file cannot be read or written, or does not fit its partner.

    Attributes:
        path: the file.
        line: line number from 1 in a list file, or None.
        reason: the operating system's message ("No space left on device"), or the message itself.
    """

    def __init__(
        self, message: str, path: str | PathLike[str], line: int | None = None, *, reason: str | None = None
    ) -> None:
        self.path = str(path)
        self.line = line
        self.reason = message if reason is None else reason
        where = self.path if line is None else f"{self.path}:{line}"
        super().__init__(f"{where}: {message}")


class BoxError(DeepLabCaffeError, ValueError):
    """A bounding box is empty, or does not fit its image or classes."""


class CRFError(DeepLabCaffeError, ValueError):
    """Scores, image or parameters of a dense CRF do not fit together."""


class EvaluationError(DeepLabCaffeError, ValueError):
    """Label maps and predictions do not fit together, or hold classes that do not exist.

    Attributes:
        what: ``"label"`` or ``"prediction"``, the array with the unknown class; None if it is not a single one.
    """

    def __init__(self, message: str = "", what: str | None = None) -> None:
        self.what = what
        super().__init__(message)


class DownloadError(DeepLabCaffeError):
    """Weights cannot be downloaded, or a file is not the expected one."""


class ConversionError(DeepLabCaffeError, ValueError):
    """Weights or a network cannot be converted to or from another format."""


class KernelError(DeepLabCaffeError, RuntimeError):
    """A CUDA kernel cannot be compiled or launched on this machine."""
