from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

from deeplab_caffe import _C
from tools import stubs

FieldProto = descriptor_pb2.FieldDescriptorProto


def with_docstring(text: str):
    def function() -> None: ...

    function.__doc__ = text
    return function


def extension(**functions: str) -> ModuleType:
    module = ModuleType("extension")
    for name, docstring in functions.items():
        setattr(module, name, with_docstring(docstring))
    return module


def functions_of(text: str) -> list[str]:
    return [ast.unparse(node) for node in ast.parse(text).body if hasattr(node, "args")]


@pytest.fixture
def no_optional_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubs, "OPTIONAL_ARGUMENTS", ())


@pytest.mark.usefixtures("no_optional_arguments")
def test_signatures_by_hand() -> None:
    number = "typing.SupportsInt | typing.SupportsIndex"
    module = extension(
        one=f"one(x: deeplab_caffe._C.TensorView, n: {number} = 0, mode: M = <M.A: 1>) -> list[float]\n\nText.",
        pair=f'pair(p: typing.Annotated[collections.abc.Sequence[{number}], "FixedSize(2)"]) -> None',
        two="two(*args, **kwargs)\nOverloaded function.\n\n1. two(x: str) -> int\n\n2. two(x: bytes) -> float\n",
    )
    text = stubs.extension_stub(module)
    assert "from collections.abc import Sequence\nfrom typing import SupportsIndex, overload\n" in text
    assert functions_of(text) == [
        "def one(x: TensorView, n: SupportsIndex=0, mode: M=...) -> list[float]:\n    ...",
        "def pair(p: Sequence[SupportsIndex]) -> None:\n    ...",
        "@overload\ndef two(x: str) -> int:\n    ...",
        "@overload\ndef two(x: bytes) -> float:\n    ...",
    ]


@pytest.mark.usefixtures("no_optional_arguments")
@pytest.mark.parametrize(
    ("docstring", "message"),
    [
        ("Adds one.", r"_C\.f: no signature in its docstring"),
        ("f(arg0: int) -> int", r"_C\.f: an argument has no name; give it one by py::arg"),
        ("f(x: std::vector<Axis>) -> int", r"_C\.f: cannot read the signature .*C\+\+ type"),
    ],
)
def test_bindings_without_types_are_refused(docstring: str, message: str) -> None:
    with pytest.raises(stubs.StubError, match=message):
        stubs.extension_stub(extension(f=docstring))


def test_optional_arguments_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stubs, "OPTIONAL_ARGUMENTS", (("f", "x", "TensorView", "TensorView | None"),))
    assert "def f(x: TensorView | None) -> int: ..." in stubs.extension_stub(
        extension(f="f(x: deeplab_caffe._C.TensorView) -> int")
    )
    with pytest.raises(stubs.StubError, match="expects x: TensorView; got str"):
        stubs.extension_stub(extension(f="f(x: str) -> int"))
    with pytest.raises(stubs.StubError, match="has f, which the extension lacks"):
        stubs.extension_stub(extension(g="g(x: str) -> int"))


def test_everything_of_the_extension_is_in_its_stub() -> None:
    tree = ast.parse(stubs.extension_stub(_C))
    names = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    names |= {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert names == {name for name in vars(_C) if not name.startswith("_")}
    assert all(node.returns is not None for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def small_module() -> ModuleType:
    """Two messages, one nested in the other's list, and an enum in each place."""
    file = descriptor_pb2.FileDescriptorProto(name="small.proto", package="small", syntax="proto2")
    inner = file.message_type.add(name="Inner")
    inner.field.add(name="raw", number=1, label=FieldProto.LABEL_OPTIONAL, type=FieldProto.TYPE_BYTES)
    outer = file.message_type.add(name="Outer")
    kind = outer.enum_type.add(name="Kind")
    kind.value.add(name="A", number=0)
    for number, (name, label, type_, of) in enumerate(
        [
            ("numbers", FieldProto.LABEL_REPEATED, FieldProto.TYPE_FLOAT, ""),
            ("inner", FieldProto.LABEL_REPEATED, FieldProto.TYPE_MESSAGE, ".small.Inner"),
            ("one", FieldProto.LABEL_OPTIONAL, FieldProto.TYPE_MESSAGE, ".small.Inner"),
            ("kind", FieldProto.LABEL_OPTIONAL, FieldProto.TYPE_ENUM, ".small.Outer.Kind"),
        ],
        start=1,
    ):
        outer.field.add(name=name, number=number, label=label, type=type_, type_name=of or None)
    phase = file.enum_type.add(name="Phase")
    phase.value.add(name="TRAIN", number=0)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindFileByName("small.proto")
    module = ModuleType("small")
    module._pool, module.DESCRIPTOR = pool, descriptor
    for name, message in descriptor.message_types_by_name.items():
        setattr(module, name, message_factory.GetMessageClass(message))
    module.Phase = enum_type_wrapper.EnumTypeWrapper(descriptor.enum_types_by_name["Phase"])
    module.TRAIN = 0
    return module


def test_messages_by_hand() -> None:
    module = small_module()
    module.Alias = module.Outer
    lines = [line.strip() for line in stubs.messages_stub(module).splitlines()]
    for line in (
        "DESCRIPTOR: FileDescriptor",
        "TRAIN: int",
        "Phase: _Phase",
        "Kind: ClassVar[_Kind]",
        "A: ClassVar[int]",
        "raw: bytes",
        "kind: int",
        "ONE_FIELD_NUMBER: ClassVar[int]",
        "def numbers(self) -> RepeatedScalarFieldContainer[float]: ...",
        "def inner(self) -> RepeatedCompositeFieldContainer[Inner]: ...",
        "def one(self) -> Inner: ...",
        'def HasField(self, field_name: Literal["kind", b"kind", "one", b"one"]) -> bool: ...',
        "Alias = Outer",
    ):
        assert line in lines


def test_what_is_elsewhere_is_imported() -> None:
    module = small_module()
    assert stubs.messages_stub(module, module).endswith("\nfrom small import *\n")
    other = small_module()
    other.Inner = module.Inner
    text = stubs.messages_stub(other, module)
    assert "from small import Inner as Inner, TRAIN as TRAIN\n" in text
    assert "class Inner(" not in text


def test_unknown_attributes_are_refused() -> None:
    module = small_module()
    module.words = ["a"]
    with pytest.raises(stubs.StubError, match=r"small\.words: has the type list"):
        stubs.messages_stub(module)
    module = small_module()
    del module.Inner
    with pytest.raises(stubs.StubError, match=r"small\.Outer\.inner is a small\.Inner, which the module lacks"):
        stubs.messages_stub(module)


def test_check_says_what_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    path = tmp_path / "a.pyi"
    monkeypatch.setattr(stubs, "ROOT", tmp_path)
    monkeypatch.setattr(stubs, "stubs", lambda: {path: "x: int\ndef f(a: int, b: int) -> None: ...\n"})
    assert stubs.main(["--check"]) == 1
    assert "a.pyi is not current: run `python -m tools.stubs`" in capsys.readouterr().err
    assert not path.exists()
    assert stubs.main([]) == 0
    assert stubs.main(["--check"]) == 0
    # The layout does not count.
    path.write_text("x: int\ndef f(\n    a: int,\n    b: int,\n) -> None: ...\n")
    assert stubs.main(["--check"]) == 0
    path.write_text("x: str\n")
    assert stubs.main(["--check"]) == 1


def test_the_stubs_are_current() -> None:
    assert stubs.main(["--check"]) == 0, "run `python -m tools.stubs` after `make build`"


def test_a_checker_finds_wrong_uses(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "from deeplab_caffe.proto import caffe_pb2\n"
        "from deeplab_caffe import _C\n"
        "param = caffe_pb2.SolverParameter(base_lr=0.1)\n"
        "param.max_iter = 10\n"
        "reveal_type(param.test_iter)\n"
        "_C.set_num_threads(1)\n"
        "param.max_iter = 'ten'  # wrong\n"
        "param.max_itre = 10  # wrong\n"
        "param.HasField('max_itre')  # wrong\n"
        "_C.set_num_threads('all')  # wrong\n"
        "_C.set_threads(1)  # wrong\n"
    )
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=skip",
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    found = subprocess.run([*command, str(program)], cwd=stubs.ROOT, capture_output=True, text=True)
    wrong = [number for number, line in enumerate(program.read_text().splitlines(), 1) if "# wrong" in line]
    lines = found.stdout.splitlines()
    assert [int(line.split(":")[1]) for line in lines if ": error:" in line] == wrong, found.stdout
    assert 'RepeatedScalarFieldContainer[int]"' in found.stdout.replace("builtins.", "")
