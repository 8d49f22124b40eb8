"""What import-linter cannot say of the package's imports: names, and the doors that they go through."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

import pytest

import deeplab_caffe

PACKAGE = Path(deeplab_caffe.__file__).parent
# Names of the package itself that rooms may import from it: no Python module says them.
OF_THE_PACKAGE = {"_C"}


class Import(NamedTuple):
    where: str
    room: str
    module: str
    name: str


def imports_of(text: str, module: str, is_package: bool) -> Iterator[Import]:
    """Each ``from deeplab_caffe... import name`` of a module, imports inside functions too."""
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            source = resolve_name(source, package) if node.level else source
            if source.split(".")[0] == "deeplab_caffe":
                for alias in node.names:
                    yield Import(f"{module}:{node.lineno}", room_of(module), source, alias.name)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name == "deeplab_caffe":
                    yield Import(f"{module}:{node.lineno}", room_of(module), alias.name, "")


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or path.joinpath("__init__.py").is_file()


def package_imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module != "deeplab_caffe":
            found += imports_of(path.read_text(encoding="utf-8"), module, is_package)
    return found


IMPORTS = package_imports()


def private(one: Import) -> bool:
    """Whether a name that begins with _ is taken from another room."""
    return (
        re.match(r"_(?!_)", one.name) is not None
        and (one.module, one.name) != ("deeplab_caffe", "_C")
        and room_of(one.module if one.module != "deeplab_caffe" else f"deeplab_caffe.{one.name}") != one.room
        and not (one.module == "deeplab_caffe" and is_module(f"deeplab_caffe.{one.name}"))
    )


def from_the_face(one: Import) -> bool:
    """Whether a room imports the package's face, which stands above it."""
    return (
        one.module == "deeplab_caffe"
        and one.name not in OF_THE_PACKAGE
        and not (one.name and is_module(f"deeplab_caffe.{one.name}"))
    )


def through_its_own_door(one: Import) -> bool:
    """Whether a file imports from the ``__init__`` of the folder that it is in: a circle, as that imports the file."""
    module = one.where.partition(":")[0]
    return (
        module.startswith(f"{one.module}.")
        and one.module != "deeplab_caffe"
        and not is_module(f"{one.module}.{one.name}")
    )


@pytest.mark.parametrize("rule", [private, from_the_face, through_its_own_door], ids=lambda rule: rule.__name__)
def test_imports(rule) -> None:
    assert [f"{one.where}: from {one.module} import {one.name}" for one in IMPORTS if rule(one)] == []


def test_the_rules_by_hand() -> None:
    text = """
from deeplab_caffe import _C, Net, errors
from deeplab_caffe.net.net import _cast
from deeplab_caffe.proto import text
def later():
    from deeplab_caffe.proto import parse_net
    from deeplab_caffe.proto.text import _parse
    from . import read_net
    import deeplab_caffe
"""
    found = list(imports_of(text, "deeplab_caffe.proto.write", is_package=False))
    assert [one.name for one in found if private(one)] == ["_cast"]
    assert [one.name for one in found if from_the_face(one)] == ["Net", ""]
    assert [one.name for one in found if through_its_own_door(one)] == ["parse_net", "read_net"]
