from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import NetContext, create_layer
from deeplab_caffe.proto import caffe_pb2
from tests import python_layers


def make(module: str, layer: str, param_str: str = "", allowed: bool | str = True, phase: int = 1):
    python = caffe_pb2.PythonParameter(module=module, layer=layer, param_str=param_str)
    param = caffe_pb2.LayerParameter(name="l", type="Python", bottom=["b"], top=["t"], python_param=python)
    return create_layer(param, NetContext(phase=phase, python_layers=allowed))


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        (
            "no_such_module",
            "X",
            "module 'no_such_module' cannot be imported: No module named 'no_such_module': .*PYTHONPATH",
        ),
        ("", "X", "import of module  of .X: ValueError: Empty module name"),
        ("tests.python_layers", "Nobody", "module 'tests.python_layers' has no class 'Nobody'"),
        (
            "tests.python_layers",
            "Foreign",
            r"tests.python_layers.Foreign must be derived from this package's caffe.Layer",
        ),
        ("tests.python_layers", "text", "tests.python_layers.text must be derived from"),
    ],
)
def test_module_and_class_are_checked(module: str, layer: str, message: str) -> None:
    with pytest.raises(NetError, match=f"^layer 'l': {message}"):
        make(module, layer)


def test_the_advice_where_caffe_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wants_caffe.py").write_text("import caffe\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        NetError, match=r"No module named 'caffe': have 'import caffe' find .*pycaffe.install_as_caffe\(\)"
    ):
        make("wants_caffe", "X")


def test_what_a_layer_is_told() -> None:
    user = make("tests.python_layers", "Times", "2.5", phase=0).code.layer
    assert isinstance(user, python_layers.Times)
    assert (user.param_str, user.param_str_, user.phase, user.type) == ("2.5", "2.5", 0, "Python")
    assert list(user.blobs) == []


def test_parameter_blobs() -> None:
    layer = make("tests.python_layers", "Slope")
    blobs = layer.code.layer.blobs
    blobs.add_blob(2, 3)
    blobs.add_blob()
    assert [blob.shape for blob in blobs] == [(2, 3), ()]
    assert not blobs[0].data.any()
    blobs[0].data[1, 2] = 4
    assert layer.blobs[0][1, 2] == 4
    assert list(layer.named_blobs) == ["blob0", "blob1"]


def test_exceptions_unchanged() -> None:
    layer = make("tests.python_layers", "Broken", "forward", allowed="unchanged")
    layer.setup([(2,)])
    with pytest.raises(KeyError, match="no forward") as e:
        layer.code.forward()
    assert getattr(e.value, "__notes__", ["layer 'l': forward of tests.python_layers.Broken"]) == [
        "layer 'l': forward of tests.python_layers.Broken"
    ]
