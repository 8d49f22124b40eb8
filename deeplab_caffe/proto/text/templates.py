"""``${VAR}`` templates: the released prototxts are filled in by ``sed`` from the run script's environment.

The values come from a mapping, then from the environment. What stands in a comment is left alone, filled or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from deeplab_caffe.errors import PrototxtError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# A line up to its comment: quoted strings may hold '#'. A quote without its partner runs to the end of the line, where
# the parser proper will complain.
# Each quoted string is unrolled: a group repeated once a character would cost memory for each.
_CODE = re.compile(r"""(?:[^#"']+|"[^"\\]*(?:\\(?:.|$)[^"\\]*)*(?:"|$)|'[^'\\]*(?:\\(?:.|$)[^'\\]*)*(?:'|$))*""")


def strip_comments(text: str) -> str:
    """``text`` without its ``#`` comments; lines and columns of the rest keep their places."""
    return "\n".join(_CODE.match(line).group() for line in text.split("\n"))  # type: ignore[union-attr]


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
        variables: values by name (anything that ``str`` turns into the wanted text); looked at before ``os.environ``.
        path: for messages.

    Returns:
        The text, line for line where it was.

    Raises:
        PrototxtError: a variable has no value (all such are named), its value has a line break, or a ``${`` is not
            followed by a name and ``}``.
    """
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
