from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator

import pytest

import deeplab_caffe.pycaffe
from deeplab_caffe.errors import NetError
from deeplab_caffe.pycaffe import aliasing, install_as_caffe


@pytest.fixture(autouse=True)
def modules_as_before() -> Iterator[None]:
    before = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(before)


def test_import_caffe_finds_this_package() -> None:
    install_as_caffe()
    caffe = importlib.import_module("caffe")
    assert caffe is deeplab_caffe.pycaffe
    install_as_caffe()  # once more does no harm
    for name in ("io", "proto", "proto.caffe_pb2", "classifier"):
        found = importlib.import_module(f"caffe.{name}")
        assert found is importlib.import_module(f"deeplab_caffe.pycaffe.{name}")
    for half, name in (("_caffe", "BlobVec"), ("_caffe", "Solver"), ("pycaffe", "Net")):
        found = getattr(importlib.import_module(f"caffe.{half}"), name)
        assert found is getattr(getattr(deeplab_caffe.pycaffe, half), name)
    space: dict[str, object] = {}
    exec("import caffe.io\nfrom caffe.proto import caffe_pb2\nfrom caffe import Layer, TEST", space)
    assert space["Layer"] is deeplab_caffe.pycaffe.Layer
    assert space["caffe_pb2"] is deeplab_caffe.pycaffe.proto.caffe_pb2


def test_another_caffe_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = types.ModuleType("caffe")
    real.__file__ = "/opt/caffe/python/caffe/__init__.py"
    monkeypatch.setitem(sys.modules, "caffe", real)
    with pytest.raises(
        NetError, match=r"'caffe' is imported already, from /opt/caffe/.*: call install_as_caffe\(\) before"
    ):
        install_as_caffe()
    aliasing.install_unless_found()
    assert sys.modules["caffe"] is real


def test_the_alias_is_put_in_place_where_there_is_no_caffe() -> None:
    aliasing.install_unless_found("caffe_that_nobody_has")
    assert importlib.import_module("caffe_that_nobody_has") is deeplab_caffe.pycaffe
    aliasing.install_unless_found("json")
    assert importlib.import_module("json") is not deeplab_caffe.pycaffe
