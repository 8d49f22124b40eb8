"""Text of networks in the V2 syntax: layers, comments, and messages from Python's own types."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Four columns are left for what stands around a line: "# " and " }".
WIDTH = 116
WRITTEN = "Written by `make networks` (tools/networks), which overwrites the package's own file: edit copies."


class Word(str):
    """A value that is written without quotes: an enum's name, or a variable in place of a number."""


MAX = Word("MAX")
SUM = Word("SUM")


def scalar(value: Any) -> str:
    """Return a value as protobuf text has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and not isinstance(value, Word):
        return f'"{value}"'
    return str(value)


def pieces(fields: Mapping[str, Any], indent: int) -> list[str]:
    """Return each field's text: ``name: value``, or ``name { ... }`` for a dict; a list is a repeated field."""
    found = []
    for name, values in fields.items():
        for value in values if isinstance(values, (list, tuple)) else [values]:
            found.append(
                message(name, value, indent) if isinstance(value, Mapping) else f"{name}: {scalar(value)}",
            )
    return found


def message(name: str, fields: Mapping[str, Any], indent: int = 0) -> str:
    """Return ``name { ... }``: in one line if it fits, else filled into lines that are two columns further in."""
    parts = pieces(fields, indent + 2)
    line = f"{name} {{ {' '.join(parts)} }}"
    if indent + len(line) <= WIDTH and "\n" not in line:
        return line
    return f"{name} {{\n{fill(parts, indent + 2)}\n{' ' * indent}}}"


def fill(parts: Iterable[str], indent: int, begin: str = "", end: str = "") -> str:
    """Return the parts in as few lines as hold them, after ``begin`` and before ``end``."""
    lines = [begin] if begin else []
    for part in parts:
        line = f"{lines[-1]} {part}" if lines else ""
        # A part of several lines has its lines for itself.
        if lines and "\n" not in line and len(line) + len(end) <= WIDTH:
            lines[-1] = line
        else:
            lines.append(" " * indent + part)
    return "\n".join(lines) + end


def comment(text: str) -> str:
    """Return the lines of a text as comments."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.strip("\n").splitlines())


def head(*paragraphs: str) -> str:
    """Return a file's head: its paragraphs, the empty ones left out, and who wrote it."""
    return comment("\n\n".join(textwrap.fill(part.strip(), WIDTH) for part in (*paragraphs, WRITTEN) if part))


class Net:
    """The text of one net, written layer by layer.

    Args:
        kind: ``"train"``, ``"test"`` or ``"deploy"``. Only a deploy net has no ``${VAR}``: it is that of EXP=voc12.
        name: the net's name in a deploy file; the others have ``${NET_ID}``.
        heads: what the file says of itself, in front: paragraphs.

    Attributes:
        training: whether it is a train net.
        exp: the data set's name in the names of the last layers.
        num_labels: the classes.
    """

    def __init__(self, kind: str, name: str, *heads: str) -> None:
        deploy = kind == "deploy"
        self.kind = kind
        self.training = kind == "train"
        self.exp = "voc12" if deploy else "${EXP}"
        self.num_labels = 21 if deploy else Word("${NUM_LABELS}")
        self._text = head(*heads) + f'name: "{name if deploy else "${NET_ID}"}"\n'

    def comment(self, text: str) -> None:
        """Write a comment after an empty line."""
        self._text += "\n" + comment(text)

    @contextmanager
    def switched_off(self, why: str) -> Iterator[None]:
        """Write the layers of the ``with`` as comments, after a line that says why."""
        before, self._text = self._text, ""
        yield
        self._text = f"{before}\n{comment(why)}{comment(self._text)}\n"

    def input(self, name: str, *shape: int) -> str:
        """Write an input blob; return its name."""
        self._text += f'input: "{name}"\n{message("input_shape", {"dim": shape})}\n'
        return name

    def layer(self, type_: str, name: str, bottom: str | Iterable[str], top: Any = None, **fields: Any) -> str:
        """Write a layer.

        Args:
            type_: its type.
            name: its name.
            bottom: its bottoms.
            top: its tops; None for one of the layer's name, the empty tuple for none.
            fields: further fields of the layer, in this order: dicts for messages, lists for repeated fields.

        Returns:
            The (first) top's name; the layer's, if it has no top.
        """
        bottoms = [bottom] if isinstance(bottom, str) else list(bottom)
        tops = [name] if top is None else [top] if isinstance(top, str) else list(top)
        blobs = pieces({"name": name, "type": type_, "bottom": bottoms, "top": tops}, 2)
        rest = pieces(fields, 2)
        line = f"layer {{ {' '.join([*blobs, *rest])} }}"
        if len(line) > WIDTH or "\n" in line:
            begin = fill(blobs, 2, begin="layer {", end="" if rest else " }")
            line = f"{begin}\n{fill(rest, 2, end=' }')}" if rest else begin
        self._text += line + "\n"
        return tops[0] if tops else name

    def __str__(self) -> str:
        return self._text


def variables(kind: str, end: str) -> str:
    """Return what a head says of the variables to be filled; of a deploy net, which has none, what it is up to."""
    sets = {"train": "TRAIN_SET, NUM_LABELS (21)", "test": "TEST_SET, NUM_LABELS (21), FEATURE_DIR"}
    if kind == "deploy":
        return f"Not part of any release: test.prototxt with an input in place of the data layer, up to {end}."
    return f"Variables: NET_ID, EXP (voc12), DATA_ROOT, {sets[kind]}."


def solvers(title: str, source: str, **fields: Any) -> dict[str, str]:
    """Return the texts of both rounds of training, a field a line: ``solver`` and ``solver2``.

    Args:
        title: the network.
        source: where the values come from.
        fields: of the solver, besides its files. ``train_net`` is where the run script writes it.
    """
    texts = {}
    for number, what in (("", "on train_aug"), ("2", "on trainval_aug, the second round")):
        text = head(
            f"{title} {what}: {source}. Variables: EXP (voc12), NET_ID, TRAIN_SET. The run script fills the templates "
            "into train_${TRAIN_SET}.prototxt."
        )
        values = {
            "train_net": "${EXP}/config/${NET_ID}/train_${TRAIN_SET}.prototxt",
            **fields,
            "snapshot_prefix": f"${{EXP}}/model/${{NET_ID}}/train{number}",
            "solver_mode": Word("GPU"),
        }
        texts[f"solver{number}"] = text + "".join(piece + "\n" for piece in pieces(values, 0))
    return texts


def folder(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of a network by their paths in ``prototxt/``."""
    return {f"{name}/{kind}.prototxt": text for kind, text in texts.items()}
