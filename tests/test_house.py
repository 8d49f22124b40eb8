"""What import-linter cannot say of the package's imports: names, and the doors that they go through."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

import deeplab_caffe
from deeplab_caffe.errors import DeepLabCaffeError

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


ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`~?([^`]+)`")


def stands_for_something(name: str, module: ModuleType, classes: list[str]) -> bool:
    """Whether a docstring's name is the module's, its folder's door's, one of a class around it, or a whole one."""
    door = importlib.import_module(module.__spec__.parent)
    roots: list[tuple[object, str]] = [(module, name), (door, name), *((getattr(module, one), name) for one in classes)]
    parts = name.split(".")
    if parts[0] in ("deeplab_caffe", "torch"):
        for count in range(len(parts), 0, -1):
            with suppress(ImportError):
                roots.append((importlib.import_module(".".join(parts[:count])), ".".join(parts[count:])))
                break
    return any(has(owner, rest) for owner, rest in roots)


def has(owner: object, name: str) -> bool:
    """Whether a dotted name is below an object; what the objects of a class get counts too."""
    for part in filter(None, name.split(".")):
        if not hasattr(owner, part):
            own = rf"\bself\.{part}\b|^    {part}:"
            return isinstance(owner, type) and re.search(own, source_of(owner), re.MULTILINE) is not None
        owner = getattr(owner, part)
    return True


def source_of(cls: type) -> str:
    return "".join(inspect.getsource(one) for one in cls.__mro__ if one.__module__.startswith("deeplab_caffe"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_docstrings_name_what_there_is(path) -> None:
    text = path.read_text(encoding="utf-8")
    roles = [(text.count("\n", 0, role.start()) + 1, role[1]) for role in ROLE.finditer(text)]
    if not roles:
        return
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    try:
        module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    except (DeepLabCaffeError, ModuleNotFoundError) as error:
        pytest.skip(f"cannot be imported here: {error}")
    spans = [(one.lineno, one.end_lineno, one.name) for one in ast.parse(text).body if isinstance(one, ast.ClassDef)]
    around = {line: [name for first, last, name in spans if first <= line <= last] for line, _ in roles}
    unknown = [f"line {line}: {name}" for line, name in roles if not stands_for_something(name, module, around[line])]
    assert unknown == []


# Where an extra brings the package, as CONTRIBUTING's doors say: errors.how_to_install knows.
COMMANDS = {"errors.py": "the rule itself", "cli/__init__.py": "the list of extras in --help"}


def test_messages_say_how_to_install_by_the_one_rule() -> None:
    files = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    assert {name for name, text in files.items() if "pip install" in text} == set(COMMANDS)


def test_warnings_go_through_the_one_door_that_names_the_callers_line() -> None:
    """The command line shows no lines, so its own warnings may have any."""
    others = [
        str(path.relative_to(PACKAGE))
        for path in sorted(PACKAGE.rglob("*.py"))
        if re.search(r"\bwarnings\.warn\(", path.read_text(encoding="utf-8"))
    ]
    assert [path for path in others if not path.startswith("cli/")] == ["errors.py"]
