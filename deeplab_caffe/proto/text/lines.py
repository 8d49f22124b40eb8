"""The lines of a prototxt's layers, for messages about the net."""

from __future__ import annotations

import os
import re
from functools import cached_property

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto.text.outline import Node, outline
from deeplab_caffe.proto.text.parse import read_text


class LayerLines:
    """The lines of a prototxt's layers, by name. The file is read at the first call.

    Attributes:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)

    def of(self, layer: str) -> int | None:
        """Return the line where the first layer of a name begins, or None; a ``${VAR}`` in it may be anything."""
        return next((line for name, line in self._layers if re.fullmatch(name, layer)), None)

    @cached_property
    def _layers(self) -> list[tuple[str, int]]:
        try:
            root = outline(read_text(self.path))
        except PrototxtError:  # gone since
            return []
        return [(_pattern(node), node.line) for node in root.children if node.name in ("layer", "layers")]


def _pattern(node: Node) -> str:
    """Return a regular expression for a layer's name; a V0 layer's stands one level deeper."""
    name = node.find(("name",)) or node.find(("layer", 0, "name"))
    word = "" if name is None else (name.value or "").strip("\"'")
    return ".*".join(map(re.escape, re.split(r"\$\{\w+\}", word)))
