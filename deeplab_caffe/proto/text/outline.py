"""Where each field of a prototxt stands: the tree of fields with their lines.

``text_format`` parses the values but forgets where they came from. The upgrades need it: an error about a layer should
name the line of the field that is to blame.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from os import PathLike

from deeplab_caffe.errors import PrototxtError

_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?)
      | (?P<mark>[{}<>\[\]:,;])
      | (?P<other>[^\s{}<>\[\]:,;"'\#]+)""",
    re.VERBOSE,
)

_QUOTES = {'"', "'"}


@dataclass
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
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> list[Node]:
        """The children of that name, in order: element ``i`` of a repeated field is ``all(name)[i]``."""
        return [child for child in self.children if child.name == name]

    def line_of(self, path: Iterable[str | int]) -> int | None:
        """Line of the field at a path such as ``("layers", 3, "convolution_param", "pad")``.

        Where the path leads further than the text does, the line of the last field found; None where even the first is
        not found.
        """
        node, line = self, None
        steps = list(path)
        for i, step in enumerate(steps):
            if isinstance(step, int):
                continue
            index = steps[i + 1] if i + 1 < len(steps) and isinstance(steps[i + 1], int) else 0
            found = node.all(step)
            if index >= len(found):
                break
            node = found[index]
            line = node.line
        return line


def outline(text: str) -> Node:
    """The tree of a prototxt's fields. Text that is not well formed gives the tree as far as it can be told."""
    return _Builder().build(text)


class _Builder:
    """A walk over the tokens with a stack of its own: nesting cannot exhaust Python's."""

    def __init__(self) -> None:
        self.root = Node("", 0)
        # The messages that are open, each with whether it stands in a [ list ].
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
        self.field = Node(name, line)
        self.expects_value = False
        self.open[-1][0].children.append(self.field)


@dataclass(frozen=True)
class Source:
    """A place in a prototxt: makes errors that name the file and the line.

    Attributes:
        path: the file.
        tree: its outline.
        steps: where the message at hand stands, such as ``("layer", 3)``.
        layer: name of the layer the place belongs to, or None.
    """

    path: str | PathLike[str]
    tree: Node
    steps: tuple[str | int, ...] = ()
    layer: str | None = None

    def at(self, *steps: str | int) -> Source:
        """A place inside this one."""
        return replace(self, steps=self.steps + steps)

    def at_layer(self, field: str, index: int, name: str) -> Source:
        """The layer of that number in the repeated ``field``; a layer without a name is called by its number."""
        return replace(self, steps=(*self.steps, field, index), layer=name or f"#{index}")

    def error(self, message: str, *steps: str | int) -> PrototxtError:
        """The error for the field at ``steps`` inside this place."""
        if self.layer is not None:
            message = f"layer '{self.layer}': {message}"
        return PrototxtError(message, self.path, self.tree.line_of(self.steps + steps))
