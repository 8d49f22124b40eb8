from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.pycaffe.paths import text_path

DEPLOY = """
input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 2 kernel_size: 4 weight_filler { type: "xavier" } } }
"""
TRAIN = """
layer { name: "d" type: "DummyData" top: "d" top: "l"
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { value: 1 } data_filler { value: 0 } } }
layer { name: "f" type: "InnerProduct" bottom: "d" top: "f" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "l" top: "loss" }
"""


def test_text_path() -> None:
    assert text_path(b"caf\xe9") == os.fsdecode(b"caf\xe9")
    assert [text_path(same) for same in ("a", Path("a"), None)] == ["a", Path("a"), None]


def in_bytes(path: Path, content: str | None = None) -> bytes:
    if content is not None:
        path.write_text(content)
    return os.fsencode(path)


def test_nets_take_paths_of_bytes(tmp_path: Path) -> None:
    model, weights = in_bytes(tmp_path / "é.prototxt", DEPLOY), in_bytes(tmp_path / "é.caffemodel")
    first = caffe.Net(model, caffe.TEST)
    first.save(weights)
    first.save_hdf5(in_bytes(tmp_path / "é.h5"))
    kernel = first.params["c"][0].data
    orders = [(model, weights, caffe.TEST), (model, caffe.TEST, weights), (model, weights)]
    for net in (*(caffe.Net(*order) for order in orders), caffe.Net(model, caffe.TEST, weights=weights)):
        assert np.array_equal(net.params["c"][0].data, kernel)
    for load, path in (("copy_from", weights), ("load_hdf5", in_bytes(tmp_path / "é.h5"))):
        net = caffe.Net(model, caffe.TEST)
        getattr(net, load)(path)
        assert np.array_equal(net.params["c"][0].data, kernel)


def test_images_means_and_pictures(tmp_path: Path) -> None:
    model, weights = in_bytes(tmp_path / "a.prototxt", DEPLOY), in_bytes(tmp_path / "a.caffemodel")
    caffe.Net(model, caffe.TEST).save(weights)
    Image.new("RGB", (6, 5), (255, 0, 0)).save(tmp_path / "a.png")
    np.save(tmp_path / "mean.npy", np.ones(3))
    image = caffe.io.load_image(in_bytes(tmp_path / "a.png"))
    assert image.shape == (5, 6, 3)
    net = caffe.Classifier(model, weights, mean=in_bytes(tmp_path / "mean.npy"))
    assert net.mean["data"].ravel().tolist() == [1, 1, 1]
    assert net.predict([image]).shape == (1, 2)
    windows = [(in_bytes(tmp_path / "a.png"), [(0, 0, 4, 4)])]
    assert caffe.Detector(model, weights).detect_windows(windows)[0]["prediction"].size == 2
    caffe.draw.draw_net_to_file(net.module.param, in_bytes(tmp_path / "net.svg"))
    assert (tmp_path / "net.svg").read_text().startswith("<")


def test_solvers_take_paths_of_bytes(tmp_path: Path) -> None:
    in_bytes(tmp_path / "n.prototxt", TRAIN)
    text = f'net: "{tmp_path}/n.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3 display: 0'
    path = in_bytes(tmp_path / "s.prototxt", f'{text} snapshot_prefix: "{tmp_path}/x"')
    solver = caffe.SGDSolver(path)
    solver.step(2)
    solver.snapshot()
    state = in_bytes(tmp_path / "x_iter_2.solverstate")
    again = caffe.get_solver(path)
    again.restore(state)
    assert again.iter == 2
    again = caffe.AdamSolver(path)
    assert type(again) is caffe.AdamSolver
    again = caffe.SGDSolver(path)
    again.solve(state)
    assert again.iter == 3
