from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.solver import Solver, read_config
from deeplab_caffe.solver.paths import found

NET = """layers { name: "d" type: IMAGE_SEG_DATA top: "data" top: "label"
  image_data_param { source: "list.txt" root_folder: "img/" batch_size: 1 }
  transform_param { mean_file: "mean.binaryproto" } }
"""
SOLVER = 'train_net: "net.prototxt" test_net: "net.prototxt" test_iter: 1 test_interval: 1 snapshot_prefix: "snap/x"'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A solver with all that it names, seen from another folder."""
    home = tmp_path / "home"
    for name in ("img", "snap"):
        (home / name).mkdir(parents=True)
    (home / "solver.prototxt").write_text(SOLVER)
    (home / "net.prototxt").write_text(NET)
    for name in ("list.txt", "mean.binaryproto"):
        (home / name).touch()
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    return home


def test_files_beside_the_solver(folder: Path) -> None:
    config = read_config(folder / "solver.prototxt")
    assert config.param.train_net == str(folder / "net.prototxt")
    assert config.param.snapshot_prefix == str(folder / "snap" / "x")
    for net in (config.train_net, config.test_nets[0][1]):
        param = net.layer[0]
        assert param.image_data_param.source == str(folder / "list.txt")
        assert param.image_data_param.root_folder == f"{folder}/img/"
        assert param.transform_param.mean_file == str(folder / "mean.binaryproto")


def test_weights_beside_the_solver(folder: Path) -> None:
    (folder / "solver.prototxt").write_text(SOLVER + ' weights: "a.h5, b.caffemodel" layer_wise_reduce: false')
    (folder / "b.caffemodel").touch()
    assert list(read_config(folder / "solver.prototxt").param.weights) == ["a.h5", f"{folder}/b.caffemodel"]


def test_weights_in_a_folder_with_a_comma(tmp_path: Path) -> None:
    home = tmp_path / "a,b"
    home.mkdir()
    text = (
        'net_param { layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 dim: 3 } } } '
        'layer { name: "ip" type: "InnerProduct" bottom: "d" top: "ip" inner_product_param { num_output: 1 '
        'weight_filler { type: "constant" value: VALUE } } } '
        'layer { name: "l" type: "EuclideanLoss" bottom: "ip" bottom: "ip" top: "l" } } '
        'base_lr: 1 lr_policy: "fixed" max_iter: 1 '
    )
    (home / "solver.prototxt").write_text(text.replace("VALUE", "7"))
    Solver(home / "solver.prototxt").net.save(home / "w.caffemodel")
    (home / "solver.prototxt").write_text(text.replace("VALUE", "1") + 'weights: "w.caffemodel"')
    loaded = Solver(home / "solver.prototxt")
    assert loaded.net.state_dict()["ip.weight"].tolist() == [[7.0, 7.0, 7.0]]


def test_a_net_that_the_run_script_has_not_filled_is_the_template_beside_the_solver(folder: Path) -> None:
    (folder / "solver.prototxt").write_text('train_net: "${EXP}/config/net/train_${SET}.prototxt"')
    (folder / "train.prototxt").write_text(NET.replace("list.txt", "${SET}.txt"))
    variables = {"EXP": "voc12", "SET": "list"}
    config = read_config(folder / "solver.prototxt", variables)
    assert config.param.train_net == str(folder / "train.prototxt")
    assert config.train_net.layer[0].image_data_param.source == str(folder / "list.txt")

    filled = Path("voc12/config/net/train_list.prototxt")
    filled.parent.mkdir(parents=True)
    filled.write_text(NET)
    assert read_config(folder / "solver.prototxt", variables).param.train_net == str(filled)


def test_only_a_net_of_that_folder_has_a_template(folder: Path) -> None:
    (folder / "solver.prototxt").write_text('train_net: "train_list.prototxt"')
    (folder / "train.prototxt").write_text(NET)
    with pytest.raises(PrototxtError, match="train_list.prototxt"):
        read_config(folder / "solver.prototxt")


def test_the_working_directory_goes_first(folder: Path) -> None:
    Path("net.prototxt").write_text(NET.replace('"d"', '"here"'))
    Path("snap").mkdir()
    config = read_config(folder / "solver.prototxt")
    assert config.train_net.layer[0].name == "here"
    assert config.param.snapshot_prefix == "snap/x"


def test_what_is_nowhere_keeps_its_name(folder: Path) -> None:
    assert found("none.txt", folder) == "none.txt"
    assert found("/none.txt", folder) == "/none.txt"
    assert found("", folder) == ""
