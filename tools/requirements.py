"""Print what the project needs, a line each, from pyproject.toml: ``python tools/requirements.py test lint``.

Named extras are included, and what the build needs. pip cannot install a project's dependencies without the project.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tomllib
except ImportError:  # Python 3.10
    from pip._vendor import tomli as tomllib  # type: ignore[no-redef]  # the same functions


def main(extras: list[str]) -> None:
    """Print the requirements, with those of the extras."""
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    project = tables["project"]
    wanted = [*tables["build-system"]["requires"], *project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    print("\n".join(dict.fromkeys(wanted)))


if __name__ == "__main__":
    main(sys.argv[1:])
