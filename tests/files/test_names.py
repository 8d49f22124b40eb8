from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe import Net
from deeplab_caffe.errors import CaffeModelError, DataError, PrototxtError, SolverError
from deeplab_caffe.files.names import exists, is_file, is_folder
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
