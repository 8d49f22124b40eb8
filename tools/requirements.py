"""Print the project's requirements from pyproject.toml, one in a line: ``python tools/requirements.py test lint``.

The requirements of the named extras and of the build are included. This script exists because pip cannot install a
project's dependencies without the project.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]  # the same functions


def of_extra(project: dict[str, Any], extra: str) -> Iterator[str]:
    """Yield what an extra needs; an extra may name others: ``deeplab-caffe[torch]``."""
    for line in project["optional-dependencies"][extra]:
        others = re.fullmatch(rf"{project['name']}\[([\w,]+)\]", line)
        if others is None:
            yield line
            continue
        for other in others[1].split(","):
            yield from of_extra(project, other)


def main(extras: list[str]) -> None:
    """Print the requirements, with those of the extras."""
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    project = tables["project"]
    wanted = [*tables["build-system"]["requires"], *project["dependencies"]]
    for extra in extras:
        wanted += of_extra(project, extra)
    print("\n".join(dict.fromkeys(wanted)))


if __name__ == "__main__":
    main(sys.argv[1:])
