from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeplab_caffe import Net
from deeplab_caffe.data import load_image
from deeplab_caffe.errors import CaffeModelError, DataError, PrototxtError, SolverError
from deeplab_caffe.files.names import exists, is_file, is_folder
from deeplab_caffe.proto import parse_net, parse_solver, read_net, read_solver
from deeplab_caffe.solver import Solver

# No file can have these names: one is too long for file systems, one holds what ends a name.
IMPOSSIBLE = ["q" * 300, "a\0b"]
NET = """
layer { name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 2 } } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
layer { name: "l" type: "EuclideanLoss" bottom: "y" bottom: "x" top: "l" }
"""
RULES = ' lr_policy: "fixed" base_lr: 0.1 max_iter: 1 '


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    assert (exists(tmp_path / "a"), is_file(tmp_path / "a"), is_folder(tmp_path / "a")) == (True, True, False)
    assert (exists(tmp_path), is_file(tmp_path), is_folder(tmp_path)) == (True, False, True)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_names_are_not_there(name: str) -> None:
    assert not exists(name)
    assert not is_file(name)
    assert not is_folder(name)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_names_in_files_are_refused(tmp_path: Path, name: str) -> None:
    """Whatever names a file: it is one of the package's errors, and not pathlib's."""
    written = name.replace("\0", "\\000")
    (tmp_path / "net.prototxt").write_text(NET)
    solver = tmp_path / "solver.prototxt"
    net = f'net: "{tmp_path / "net.prototxt"}"'
    for text, expected in (
        (f'net: "{written}"', PrototxtError),
        (f'{net} weights: "{written}"', CaffeModelError),
        (f'{net} test_net: "{written}" test_iter: 1 test_interval: 1', PrototxtError),
        (f'{net} snapshot_prefix: "{tmp_path / written}"', SolverError),
    ):
        solver.write_text(text + RULES)
        with pytest.raises(expected):
            Solver(solver).solve()
    with pytest.raises(CaffeModelError):
        Net(tmp_path / "net.prototxt", name)
    for backend in ("LMDB", "LEVELDB"):
        (tmp_path / "data.prototxt").write_text(
            'layer { name: "d" type: "Data" top: "d" '
            f'data_param {{ source: "{written}" batch_size: 1 backend: {backend} }} }}'
        )
        with pytest.raises(DataError, match="no such database"):
            Net(tmp_path / "data.prototxt")


@pytest.mark.parametrize("wrong", [None, b"x", 3, ["x"], np.zeros((9, 9, 3), np.uint8)], ids=lambda w: type(w).__name__)
def test_what_is_no_path_is_named(tmp_path: Path, wrong: Any) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    net = Net(tmp_path / "net.prototxt")
    hint = "fsdecode" if isinstance(wrong, bytes) else "caffe_pb2"
    came = f"must be a path \\(str or os.PathLike\\), got {'None' if wrong is None else type(wrong).__name__}"
    for call in (Net, read_net, read_solver, Solver):
        with pytest.raises(TypeError, match=f"a prototxt {came}.*{hint}"):
            call(wrong)
    with pytest.raises(TypeError, match=f"weights {came}"):
        net.copy_from(wrong)
    with pytest.raises(TypeError, match=f"a file to save weights in {came}"):
        net.save(wrong)
    with pytest.raises(TypeError, match=f"an image's file {came}") as error:
        load_image(wrong)
    assert len(str(error.value)) < 300
    for parse in (parse_net, parse_solver):
        with pytest.raises(TypeError, match=f"text must be a str, a prototxt's content, got {type(wrong).__name__}: "):
            parse(wrong)
    with pytest.raises(TypeError, match=r"weights must be .*: a state_dict is for net.load_state_dict"):
        net.copy_from(net.state_dict())
