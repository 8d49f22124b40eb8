"""``${VAR}`` templates: in the release ``sed`` fills in the prototxts from the run script's environment.

The values come from a mapping, then from the environment. Variables in comments are ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from reprlib import repr as short_repr

from deeplab_caffe.errors import PrototxtError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What matters on the way to a line's comment: quoted strings may hold '#'.
_MARK = re.compile(r"""["'#]|\\.?""")


def strip_comments(text: str) -> str:
    """Return a text without its ``#`` comments; lines and columns of the rest keep their places."""
    return "\n".join(_code(line) if "#" in line else line for line in text.split("\n"))


def _code(line: str) -> str:
    """Return a line up to its comment.

    An unclosed quote extends to the end of the line; the parser will report it.
    """
    quote = ""
    for match in _MARK.finditer(line):
        # A backslash escapes the next character, but only in a string.
        mark = match.group() if quote else match.group()[-1]
        if mark == quote:
            quote = ""
        elif mark == "#" and not quote:
            return line[: match.end() - 1]
        elif mark in "\"'" and not quote:
            quote = mark
    return line


def template_variables(text: str) -> dict[str, int]:
    """Return the variables that a template uses outside of comments, each with the line (from 1) of its first use."""
    found: dict[str, int] = {}
    for number, line in enumerate(strip_comments(text).split("\n"), start=1):
        for match in _VARIABLE.finditer(line):
            found.setdefault(match.group(1), number)
    return found


def fill_template(
    text: str, variables: Mapping[str, object] | None = None, path: str | os.PathLike[str] = "<string>"
) -> str:
    """Fill the ``${VAR}`` of a prototxt and drop its comments.

    Args:
        text: the template.
        variables: values by name, converted by ``str``; they take precedence over ``os.environ``.
        path: for messages.

    Returns:
        The text, with unchanged line numbers.

    Raises:
        PrototxtError: variables have no value (the message names all of them), a value has a line break, or a ``${`` is
            not followed by a name and ``}``.
        TypeError: ``variables`` is no mapping.
    """
    if not isinstance(variables, Mapping | None):
        raise TypeError(f"variables must be a dict of values by name, got {short_repr(variables)}")
    given = variables or {}

    def value_of(name: str) -> str | None:
        return str(given[name]) if name in given else os.environ.get(name)

    missing: dict[str, int] = {}
    lines = []
    for number, line in enumerate(strip_comments(text).split("\n"), start=1):
        if "${" in line:
            rest = _VARIABLE.sub("", line)
            if "${" in rest:
                raise PrototxtError("'${' is not followed by a variable's name and '}'", path, number)
            for name in _VARIABLE.findall(line):
                value = value_of(name)
                if value is None:
                    missing.setdefault(name, number)
                elif "\n" in value or "\r" in value:
                    raise PrototxtError(f"the value of ${{{name}}} contains a line break", path, number)
            line = _VARIABLE.sub(lambda match: value_of(match.group(1)) or "", line)
        lines.append(line)
    if missing:
        name, number = next(iter(missing.items()))
        others = ", ".join(f"${{{other}}} (line {at})" for other, at in list(missing.items())[1:])
        also = f" nor for {others}" if others else ""
        raise PrototxtError(
            f"no value for ${{{name}}}{also}: give it by --var NAME=VALUE, in `variables` or the environment",
            path,
            number,
        )
    return "\n".join(lines)
