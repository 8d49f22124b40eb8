"""Write the type stubs of modules without Python source: the extension, and the protobuf messages made at import.

``python -m tools.stubs`` writes them. ``python -m tools.stubs --check`` writes nothing, and exits with 1 if a stub is
out of date. The extension must be built.

| stub | made from |
|---|---|
| ``deeplab_caffe/_C.pyi`` | the signatures that pybind11 puts into docstrings |
| ``deeplab_caffe/proto/caffe_pb2.pyi`` | the module's attributes and its messages' descriptors |
| ``deeplab_caffe/pycaffe/proto/caffe_pb2.pyi`` | the same; what it shares with the other is imported from there |
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import keyword
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parent.parent
EXTENSION = "deeplab_caffe._C"
MESSAGES = "deeplab_caffe.proto.caffe_pb2"
PYCAFFE_MESSAGES = "deeplab_caffe.pycaffe.proto.caffe_pb2"

# Arguments that take None as well, which pybind11 does not say of a pointer: (function, argument, type it gives, type).
OPTIONAL_ARGUMENTS = (
    ("CudaLattice.build", "image", "TensorView", "TensorView | None"),
    (
        "CudaMeanField.__init__",
        "kernels",
        "Sequence[tuple[CudaLattice, SupportsFloat, TensorView, TensorView, TensorView]]",
        "Sequence[tuple[CudaLattice, SupportsFloat, TensorView | None, TensorView | None, TensorView | None]]",
    ),
)


class StubError(Exception):
    """A stub cannot be made: something has no type, or a form that this script does not know."""


def _head(what: str) -> str:
    return f'"""Types of {what}. Written by ``python -m tools.stubs``: do not edit."""\n\n'


def _block(head: str, body: list[str]) -> str:
    return f"{head}\n{textwrap.indent(chr(10).join(body) or '...', '    ')}\n"


# ---- The extension --------------------------------------------------------------------------------------------------


class _Simpler(ast.NodeTransformer):
    """pybind11's spelling of a type in the words of a stub.

    An ``int`` argument takes what has ``__index__``: pybind11 names ``SupportsInt`` too, but refuses a float.
    """

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        text = ast.unparse(node)
        if text == "typing.SupportsInt | typing.SupportsIndex":
            return ast.Name("SupportsIndex")
        if text == "typing.SupportsFloat | typing.SupportsIndex":
            return ast.Name("SupportsFloat")
        return self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        if ast.unparse(node.value) == "typing.Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        text = ast.unparse(node)
        for module in (f"{EXTENSION}.", "collections.abc.", "typing."):
            if text.startswith(module):
                return ast.Name(text.removeprefix(module))
        return node


def _signatures(docstring: str | None, where: str) -> list[str]:
    """Return the signature of each overload in a docstring of pybind11, without ``def``."""
    lines = (docstring or "").splitlines()
    if len(lines) > 1 and lines[1].strip() == "Overloaded function.":
        found = [match[1] for line in lines if (match := re.match(r"\d+\. (.*->.*)", line))]
    else:
        found = [line for line in lines[:1] if "->" in line]
    if not found:
        raise StubError(f"{where}: no signature in its docstring; got {docstring!r}")
    return found


def _functions(name: str, docstring: str | None, where: str, decorator: str = "") -> Iterator[str]:
    """Return ``def`` lines of one function or method, an overload each."""
    signatures = _signatures(docstring, where)
    for signature in signatures:
        # A default that is no literal has no repr that parses.
        text = re.sub(r"= <[^>]*>", "= ...", signature[signature.index("(") :])
        try:
            parsed = ast.parse(f"def {name}{text}: ...").body[0]
        except SyntaxError:
            raise StubError(
                f"{where}: cannot read the signature {signature!r}; does a C++ type lack its binding?"
            ) from None
        assert isinstance(parsed, ast.FunctionDef)
        _check_arguments(parsed, where)
        parsed = _Simpler().visit(parsed)
        if parsed.args.args and parsed.args.args[0].arg == "self":
            parsed.args.args[0].annotation = None
        for one in parsed.args.args:
            _make_optional(one, where)
        if len(signatures) > 1:
            yield "@overload"
        if decorator:
            yield decorator
        yield ast.unparse(ast.fix_missing_locations(parsed)).replace("\n    ...", " ...")


def _make_optional(argument: ast.arg, where: str) -> None:
    """Give an argument of OPTIONAL_ARGUMENTS its type."""
    for function, name, given, wanted in OPTIONAL_ARGUMENTS:
        if (f"{EXTENSION}.{function}", name) == (where, argument.arg):
            found = ast.unparse(argument.annotation) if argument.annotation else ""
            if found != given:
                raise StubError(f"{where}: OPTIONAL_ARGUMENTS of tools/stubs.py expects {name}: {given}; got {found}")
            argument.annotation = ast.parse(wanted, mode="eval").body


def _check_arguments(function: ast.FunctionDef, where: str) -> None:
    for one in function.args.args:
        if re.fullmatch(r"arg\d+", one.arg):
            raise StubError(f"{where}: an argument has no name; give it one by py::arg in its binding")


def _class(cls: type) -> str:
    if "__members__" in vars(cls):
        return _enum(cls)
    body: list[str] = []
    where = f"{EXTENSION}.{cls.__name__}"
    for name, value in vars(cls).items():
        if isinstance(value, property):
            [signature] = _signatures(value.fget.__doc__ if value.fget else None, f"{where}.{name}")
            returned = _Simpler().visit(ast.parse(signature.rpartition("->")[2].strip(), mode="eval").body)
            body += ["@property", f"def {name}(self) -> {ast.unparse(returned)}: ..."]
            if value.fset:
                body += [f"@{name}.setter", f"def {name}(self, value: {ast.unparse(returned)}) -> None: ..."]
        elif isinstance(value, staticmethod):
            body += _functions(name, value.__func__.__doc__, f"{where}.{name}", "@staticmethod")
        elif not name.startswith("_") or (name == "__init__" and "->" in (value.__doc__ or "")):
            body += _functions(name, value.__doc__, f"{where}.{name}")
    if "__dict__" in vars(cls):
        body.append("def __setattr__(self, name: str, value: object, /) -> None: ...")
    return _block(f"class {cls.__name__}:", body)


def _enum(cls: Any) -> str:
    name = cls.__name__
    body = [f"{member}: ClassVar[{name}]" for member in cls.__members__]
    body += [
        f"__members__: ClassVar[dict[str, {name}]]",
        "def __init__(self, value: SupportsIndex) -> None: ...",
        "@property\ndef name(self) -> str: ...",
        "@property\ndef value(self) -> int: ...",
        "def __int__(self) -> int: ...",
        "def __index__(self) -> int: ...",
        "def __hash__(self) -> int: ...",
        "def __eq__(self, other: object, /) -> bool: ...",
    ]
    return _block(f"class {name}:", body)


def extension_stub(module: ModuleType) -> str:
    """Return the stub of the compiled extension.

    Raises:
        StubError: a binding has no signature, or one that names a C++ type.
    """
    constants: list[str] = []
    classes: list[str] = []
    functions: list[str] = []
    for name, value in sorted(vars(module).items()):
        if name.startswith("_"):
            continue
        where = f"{EXTENSION}.{name}"
        if inspect.isclass(value):
            classes.append(_class(value))
        elif inspect.isroutine(value):
            functions += _functions(name, value.__doc__, where)
        elif isinstance(value, (bool, int, float, str)):
            constants.append(f"{name}: {type(value).__name__}")
        else:
            raise StubError(f"{where}: has the type {type(value).__name__}, which tools/stubs.py does not know")
    for function, *_ in OPTIONAL_ARGUMENTS:
        owner, _, method = function.rpartition(".")
        if not hasattr(getattr(module, owner, None) if owner else module, method):
            raise StubError(f"OPTIONAL_ARGUMENTS of tools/stubs.py has {function}, which the extension lacks")
    body = "\n".join([*constants, "", *classes, *functions]) + "\n"
    return _head("the compiled extension") + _imports(body, _EXTENSION_IMPORTS) + body


_EXTENSION_IMPORTS = {
    "collections.abc": ("Callable", "Iterable", "Iterator", "Mapping", "Sequence"),
    "typing": ("Any", "ClassVar", "SupportsFloat", "SupportsIndex", "overload"),
}


def _imports(body: str, names_of: Mapping[str, tuple[str, ...]]) -> str:
    """Import lines for those of the names that the body has."""
    lines = []
    for module, names in names_of.items():
        used = [name for name in names if re.search(rf"(?<![\w.]){name}\b", body)]
        if used:
            lines.append(f"from {module} import {', '.join(used)}\n")
    return "".join(lines) + "\n"


# ---- The protobuf messages ------------------------------------------------------------------------------------------

_PYTHON_TYPES = {
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_UINT32: "int",
    FieldDescriptor.CPPTYPE_UINT64: "int",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
    FieldDescriptor.CPPTYPE_BOOL: "bool",
    FieldDescriptor.CPPTYPE_ENUM: "int",
}
_BUILTINS = {"int", "float", "bool", "str", "bytes", "property", "None"}
_MESSAGE_IMPORTS = {
    "collections.abc": ("Iterable",),
    "typing": ("ClassVar", "Literal", "final"),
    "google.protobuf.descriptor": ("Descriptor", "FileDescriptor"),
    "google.protobuf.internal.containers": ("RepeatedCompositeFieldContainer", "RepeatedScalarFieldContainer"),
    "google.protobuf.internal.enum_type_wrapper": ("EnumTypeWrapper",),
    "google.protobuf.message": ("Message",),
}

_Key = tuple[str, str]  # file's name, full name: unique over all pools


def _key(descriptor: Descriptor) -> _Key:
    return descriptor.file.name, descriptor.full_name


def _enum_class(enum: EnumDescriptor) -> str:
    return _block(f"class _{enum.name}(EnumTypeWrapper):", [f"{value.name}: int" for value in enum.values])


class _Messages:
    """The stub of a module of protobuf messages."""

    def __init__(self, module: ModuleType) -> None:
        self.where = module.__name__
        names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        self.public = {name: getattr(module, name) for name in names}
        self.names: dict[_Key, str] = {}
        for name, value in self.public.items():
            if _is_message(value):
                self._name(value.DESCRIPTOR, name)

    def _name(self, descriptor: Descriptor, name: str) -> None:
        self.names.setdefault(_key(descriptor), name)
        for nested in descriptor.nested_types:
            self._name(nested, f"{name}.{nested.name}")

    def text(self, elsewhere: ModuleType | None) -> str:
        """Return the stub; what is ``elsewhere``'s, the very object, is imported from there."""
        imported, aliases, enums, classes, constants = [], [], [], [], []
        made: dict[_Key, str] = {}
        theirs = {} if elsewhere is None else vars(elsewhere)
        for name, value in self.public.items():
            # A small int is one object wherever it comes from.
            if name in theirs and theirs[name] is value:
                imported.append(name)
            elif _is_message(value):
                key = _key(value.DESCRIPTOR)
                if key in made:
                    aliases.append(f"{name} = {made[key]}")
                else:
                    made[key] = name
                    classes.append(self._message(value.DESCRIPTOR, name))
            elif isinstance(value, EnumTypeWrapper):
                enums.append(_enum_class(value.DESCRIPTOR) + f"\n{name}: _{value.DESCRIPTOR.name}\n")
            elif isinstance(value, int):
                constants.append(f"{name}: int")
            elif isinstance(value, FileDescriptor):
                constants.append(f"{name}: FileDescriptor")
            else:
                raise StubError(
                    f"{self.where}.{name}: has the type {type(value).__name__}, which tools/stubs.py does not know; "
                    "begin its name with _ if it is not for users"
                )
        # Such a module may say the whole in one line.
        if imported and not (aliases or enums or classes or constants):
            body = f"from {elsewhere.__name__ if elsewhere else ''} import *\n"
            return _head("the protobuf messages") + body
        body = "\n".join([*constants, "", *enums, *classes, *aliases]) + "\n"
        head = _imports(body, _MESSAGE_IMPORTS)
        if imported and elsewhere is not None:
            head += (
                f"from {elsewhere.__name__} import {', '.join(f'{name} as {name}' for name in sorted(imported))}\n\n"
            )
        return _head("the protobuf messages") + head + body

    def _type(self, field: FieldDescriptor) -> str:
        if field.message_type is not None:
            try:
                return self.names[_key(field.message_type)]
            except KeyError:
                raise StubError(
                    f"{self.where}: {field.full_name} is a {field.message_type.full_name}, which the module lacks"
                ) from None
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "str"
        return _PYTHON_TYPES[field.cpp_type]

    def _message(self, descriptor: Descriptor, name: str) -> str:
        for field in descriptor.fields:
            if field.name in _BUILTINS or keyword.iskeyword(field.name):
                raise StubError(
                    f"{self.where}: a stub cannot say the field {field.full_name}: its name is Python's own"
                )
        body = ["DESCRIPTOR: Descriptor"]
        for enum in descriptor.enum_types:
            body.append(_enum_class(enum).rstrip("\n"))
            body.append(f"{enum.name}: ClassVar[_{enum.name}]")
            body += [f"{value.name}: ClassVar[int]" for value in enum.values]
        body += [self._message(nested, nested.name).rstrip("\n") for nested in descriptor.nested_types]
        body += [f"{field.name.upper()}_FIELD_NUMBER: ClassVar[int]" for field in descriptor.fields]
        arguments, single = [], []
        for field in descriptor.fields:
            kind = self._type(field)
            if field.is_repeated:
                container = "Scalar" if field.message_type is None else "Composite"
                body.append(f"@property\ndef {field.name}(self) -> Repeated{container}FieldContainer[{kind}]: ...")
                arguments.append(f"{field.name}: Iterable[{kind}] | None = ...")
                continue
            single.append(field.name)
            arguments.append(f"{field.name}: {kind} | None = ...")
            if field.message_type is None:
                body.append(f"{field.name}: {kind}")
            else:
                body.append(f"@property\ndef {field.name}(self) -> {kind}: ...")
        body.append(f"def __init__(self{', *, ' if arguments else ''}{', '.join(arguments)}) -> None: ...")
        for method, names, result in (
            ("HasField", single, "bool"),
            ("ClearField", [field.name for field in descriptor.fields], "None"),
        ):
            if names:
                literals = ", ".join(f'"{one}", b"{one}"' for one in sorted(names))
                body.append(f"def {method}(self, field_name: Literal[{literals}]) -> {result}: ...")
        return _block(f"@final\nclass {name}(Message):", body)


def _is_message(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, Message) and hasattr(value, "DESCRIPTOR")


def messages_stub(module: ModuleType, elsewhere: ModuleType | None = None) -> str:
    """Return the stub of a module of protobuf messages, enums and their constants.

    Enum values are ``int``, as they are when the program runs.

    Args:
        module: the module; names that begin with ``_`` are left out.
        elsewhere: a module that has its own stub; names that are the same object there are imported from it.

    Raises:
        StubError: an attribute is of an unknown kind, or a field's message is not in the module.
    """
    return _Messages(module).text(elsewhere)


# ---- Files ----------------------------------------------------------------------------------------------------------


def stubs() -> dict[Path, str]:
    """Return the text of every stub by its path, not formatted.

    Raises:
        StubError: see :func:`extension_stub` and :func:`messages_stub`.
    """
    extension, messages, pycaffe = (importlib.import_module(name) for name in (EXTENSION, MESSAGES, PYCAFFE_MESSAGES))
    makers: dict[str, Callable[[], str]] = {
        EXTENSION: lambda: extension_stub(extension),
        MESSAGES: lambda: messages_stub(messages),
    }
    if pycaffe is not messages:
        makers[PYCAFFE_MESSAGES] = lambda: messages_stub(pycaffe, messages)
    return {ROOT / (name.replace(".", "/") + ".pyi"): make() for name, make in makers.items()}


def is_current(path: Path, text: str) -> bool:
    """Return whether a stub says what it should; how it is laid out does not count."""
    if not path.is_file():
        return False
    return ast.dump(ast.parse(path.read_text(encoding="utf-8"))) == ast.dump(ast.parse(text))


def _formatted(path: Path, text: str) -> str:
    """Return the text as ruff lays it out; as it is if there is no ruff."""
    beside = Path(sys.executable).with_name("ruff")
    ruff = str(beside) if beside.is_file() else shutil.which("ruff")
    if ruff is None:
        print("ruff is not installed: the stubs are not formatted", file=sys.stderr)
        return text
    for arguments in (("check", "--select", "I", "--fix", "--quiet", "-"), ("format", "-")):
        command = [ruff, *arguments[:-1], "--stdin-filename", str(path), arguments[-1]]
        text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the stubs, or check them; the exit status is 1 if one is not current or cannot be made."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a stub is not current")
    check = parser.parse_args(arguments).check
    try:
        texts = stubs()
    except StubError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in texts.items() if not is_current(path, text)]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(
                f"{name} is not current: run `python -m tools.stubs` (after `make build`) and commit it",
                file=sys.stderr,
            )
        else:
            path.write_text(_formatted(path, texts[path]), encoding="utf-8")
            print(f"wrote {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
