"""The tree of a prototxt's fields with their lines.

``text_format`` parses the values but does not keep their lines. The upgrades need them: an error about a layer should
name the line of the wrong field.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike

from deeplab_caffe.errors import MOST_LISTED, DeepLabCaffeError, PrototxtError, listed

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<string>"[^"\\\n]*(?:\\.[^"\\\n]*)*"?|'[^'\\\n]*(?:\\.[^'\\\n]*)*'?)
      | (?P<mark>[{}<>\[\]:,;])
      | (?P<other>[^\s{}<>\[\]:,;"'\#]+)""",
    re.VERBOSE,
)

_QUOTES = {'"', "'"}


@dataclass(slots=True)
class Node:
    """One field as written, ``name: ...`` or ``name { ... }``.

    Attributes:
        name: the field's name.
        line: its line, from 1.
        value: its scalar as written, with its quotes, or None for a message.
        children: the fields inside it.
    """

    name: str
    line: int
    value: str | None = None
    # Most fields are scalars: they share one empty tuple.
    children: list[Node] | tuple[()] = ()

    def all(self, name: str) -> list[Node]:
        """Return the children of that name, in order: element ``i`` of a repeated field is ``all(name)[i]``."""
        return [child for child in self.children if child.name == name]

    def line_of(self, path: Iterable[str | int]) -> int | None:
        """Return the line of the field at a path such as ``("layers", 3, "convolution_param", "pad")``.

        If the path leads further than the text does, that is the line of the last field found; None if even the first
        is not found.
        """
        nodes = self._along(path)
        return nodes[-1].line if nodes else None

    def find(self, path: Sequence[str | int]) -> Node | None:
        """Return the field at a path, or None if the text has none there."""
        nodes = self._along(path)
        return nodes[-1] if nodes and len(nodes) == sum(isinstance(step, str) for step in path) else None

    def _along(self, path: Iterable[str | int]) -> list[Node]:
        node, found = self, []
        steps = list(path)
        for i, step in enumerate(steps):
            if isinstance(step, int):
                continue
            following = steps[i + 1] if i + 1 < len(steps) else None
            index = following if isinstance(following, int) else 0
            children = node.all(step)
            if index >= len(children):
                break
            node = children[index]
            found.append(node)
        return found


def outline(text: str) -> Node:
    """Return the tree of a prototxt's fields. Text that is not well formed gives the tree up to there."""
    return _Builder().build(text)


class Outline:
    """The outline of a text, made at its first use: a valid text never needs it."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def root(self) -> Node:
        """Return the tree."""
        return outline(self._text)


class _Builder:
    """A pass over the tokens with an explicit stack, so that nesting cannot exceed Python's recursion limit."""

    def __init__(self) -> None:
        self.root = Node("", 0)
        # The open messages, each with a flag: whether it is in a [ list ].
        self.open: list[tuple[Node, bool]] = [(self.root, False)]
        self.field: Node | None = None  # the field being written
        self.expects_value = False
        self.in_list = False

    def build(self, text: str) -> Node:
        line = 1
        for match in _TOKEN.finditer(text):
            kind, token = match.lastgroup, match.group()
            if kind == "newline":
                line += 1
            elif kind == "mark":
                self._mark(token, line)
            elif kind != "skip":
                self._word(token, line)
        return self.root

    def _mark(self, token: str, line: int) -> None:
        if token in "{<":
            if self.field is None or self.field.value is not None or self.field.children:
                self._start(self.field.name if self.field is not None and self.in_list else "", line)
            self.open.append((self.field, self.in_list))  # type: ignore[arg-type]
            self.field, self.expects_value, self.in_list = None, False, False
        elif token in "}>":
            if len(self.open) > 1:
                node, self.in_list = self.open.pop()
                self.field = node if self.in_list else None
                self.expects_value = False
        elif token == "[":
            self.in_list = self.expects_value = self.field is not None
        elif token == "]":
            self.field, self.expects_value, self.in_list = None, False, False
        elif token == ":":
            self.expects_value = self.field is not None
        elif self.in_list:
            self.expects_value = True
        else:
            self.field = None

    def _word(self, token: str, line: int) -> None:
        if self.field is not None and self.expects_value:
            if self.field.value is not None or self.field.children:
                self._start(self.field.name, line)
            self.field.value = token
            self.expects_value = False
        elif self.field is not None and self.field.value is not None and {token[0], self.field.value[0]} <= _QUOTES:
            self.field.value += token
        elif not self.in_list:
            self._start(token, line)

    def _start(self, name: str, line: int) -> None:
        self.field = Node(sys.intern(name), line)
        self.expects_value = False
        parent = self.open[-1][0]
        if isinstance(parent.children, list):
            parent.children.append(self.field)
        else:
            parent.children = [self.field]


@dataclass(frozen=True)
class Source:
    """A place in a prototxt: makes errors that name the file and the line.

    Attributes:
        path: the file.
        outline: of its text.
        steps: path of the current message, such as ``("layer", 3)``.
        layer: name of the layer the place belongs to, or None.
        into: the dialect that the message is converted to, for error messages.
    """

    path: str | PathLike[str]
    outline: Outline
    steps: tuple[str | int, ...] = ()
    layer: str | None = None
    into: str = "the inner form"

    def at(self, *steps: str | int) -> Source:
        """Return a place inside this one."""
        return replace(self, steps=self.steps + steps)

    def at_layer(self, field: str, index: int, name: str) -> Source:
        """Return the place of a layer in the repeated ``field``; a layer without a name is called by its number."""
        return replace(self, steps=(*self.steps, field, index), layer=name or f"#{index}")

    def word(self, *steps: str | int) -> str | None:
        """Return the scalar at ``steps`` inside this place as written in the text, or None."""
        node = self.outline.root.find(self.steps + steps)
        return None if node is None else node.value

    def error(self, message: str, *steps: str | int) -> DeepLabCaffeError:
        """Return the error for the field at ``steps`` inside this place."""
        if self.layer is not None:
            message = f"layer '{self.layer}': {message}"
        return PrototxtError(message, self.path, self.outline.root.line_of(self.steps + steps))

    def errors(self, found: Sequence[DeepLabCaffeError]) -> DeepLabCaffeError:
        """Return one error for several of :meth:`error`, which name their lines."""
        if len(found) == 1:
            return found[0]
        lines = [error.line for error in found if isinstance(error, PrototxtError) and error.line is not None]
        reasons = [f"line {str(error).removeprefix(f'{self.path}:')}" for error in found[:MOST_LISTED]]
        message = f"{len(found)} things are wrong: {listed(reasons, len(found))}"
        return PrototxtError(message, self.path, min(lines, default=None))
