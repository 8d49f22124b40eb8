"""Layers of type Python in the torch Net, which runs them only if it is told to."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError
from deeplab_caffe.solver import Solver
from tests.nets import build, inputs
from tests.python_layers import Watcher, text, write_problem

DATA = inputs(data=(1, 2, 1, 2))
X = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 2, 1, 2)


def test_refused_unless_allowed(tmp_path: Path) -> None:
    prototxt = tmp_path / "net.prototxt"
    prototxt.write_text(DATA + text("ten", "Times", "data", "ten"))
    message = (
        r"layer 'ten': class 'Times' of module 'tests\.python_layers' is code that the net would run: if you trust it, "
        r"allow it by python_layers=True, or --python-layers"
    )
    with pytest.raises(NetError, match=message):
        dc.Net(prototxt)
    with pytest.raises(NetError, match=message):
        dc.Segmenter(prototxt)
    assert dc.Net(prototxt, python_layers=True)(X).flatten().tolist() == [10, 20, 30, 40]


def test_gradient_and_shapes() -> None:
    net = build(DATA + text("a", "Times", "data", "a", "3") + text("b", "Times", "a", "b"), python_layers=True)
    x = X.clone().requires_grad_()
    out = net(x)
    out.sum().backward()
    assert out.flatten().tolist() == [30, 60, 90, 120]
    assert x.grad.flatten().tolist() == [30] * 4
    assert net.infer_shapes(data=(3, 2, 5, 1))["b"] == (3, 2, 5, 1)
    assert net(torch.ones(3, 2, 5, 1)).shape == (3, 2, 5, 1)


def test_reshape_runs_once_before_each_forward() -> None:
    net = build(DATA + text("a", "Times", "data", "a"), python_layers=True)
    user = net.by_name["a"].code.layer
    assert user.calls == ["reshape"]
    net(X)
    net(X)
    assert user.calls == ["reshape"] + 2 * ["reshape", "forward"]


def test_two_passes_before_one_way_back() -> None:
    """The class has one set of arrays; the way back must work with those of its own pass."""
    net = build(DATA + text("a", "Slope", "data", "a"), python_layers=True)
    first, second = net(X), net(2 * X)
    first.sum().backward()
    assert net.by_name["a"].blob0.grad.tolist() == [10]
    second.sum().backward()
    assert net.by_name["a"].blob0.grad.tolist() == [30]
    assert first.flatten().tolist() == [3, 6, 9, 12]


def test_parameters_are_saved_loaded_and_shared(tmp_path: Path) -> None:
    net = build(DATA + text("a", "Slope", "data", "a"), python_layers=True)
    assert {name: value.tolist() for name, value in net.state_dict().items()} == {"a.blob0": [3]}
    with torch.no_grad():
        net.by_name["a"].blob0.fill_(7)
    for suffix in ("caffemodel", "safetensors", "pth"):
        net.save(tmp_path / f"x.{suffix}")
        again = build(DATA + text("a", "Slope", "data", "a"), python_layers=True)
        again.copy_from(tmp_path / f"x.{suffix}")
        assert again(X).flatten().tolist() == [7, 14, 21, 28]
    share = 'param { name: "w" }'
    net = build(
        DATA + text("a", "Slope", "data", "a", more=share) + text("b", "Slope", "a", "b", more=share),
        python_layers=True,
    )
    with torch.no_grad():
        net.by_name["a"].blob0.fill_(2)
    net(X).sum().backward()
    assert net(X).flatten().tolist() == [4, 8, 12, 16]
    assert net.by_name["b"].blob0.grad.tolist() == [2 * 2 * 10]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_blobs_of_its_own(copied: Callable[[dc.Net], dc.Net]) -> None:
    net = build(DATA + text("a", "Slope", "data", "a"), python_layers=True)
    other = copied(net)
    with torch.no_grad():
        other.by_name["a"].blob0.fill_(7)
    assert net(X).flatten().tolist() == [3, 6, 9, 12]
    assert other(X).flatten().tolist() == [7, 14, 21, 28]
    other(X).sum().backward()
    assert other.by_name["a"].blob0.grad.tolist() == [10]
    assert net.by_name["a"].blob0.grad is None
    other(torch.ones(3, 2, 5, 1))
    assert net.by_name["a"].code.bottoms[0].shape == (1, 2, 1, 2)


def test_data_layers() -> None:
    net = build(text("d", "Batches", "", "x y") + text("ten", "Times", "y", "ten"), python_layers=True)
    for number in range(3):
        found = net(blobs=["x"])
        assert found["x"].shape == (number + 1, 1, 2, 2)
        assert set(found["x"].flatten().tolist()) == {number}
        assert set(found["ten"].flatten().tolist()) == {20 * number}


def test_a_data_layer_is_not_shared_out_over_processes() -> None:
    with pytest.raises(NetError, match=r"layer 'd': 2 processes would all read the same data"):
        build(text("d", "Batches", "", "x"), python_layers=True, shard=(1, 2))


def test_without_tops() -> None:
    net = build(DATA + text("w", "Watcher", "data") + text("ten", "Times", "data", "ten"), python_layers=True)
    before = len(Watcher.seen)
    net(X.clone().requires_grad_()).sum().backward()
    assert Watcher.seen[before:] == [10]


def test_loss_weight() -> None:
    text_ = inputs(data=(1, 2, 1, 2), label=(1, 2, 1, 2)) + text(
        "loss", "Distance", "data label", "loss", more="loss_weight: 0.5"
    )
    net = build(text_, phase="TRAIN", python_layers=True)
    x = X.clone().requires_grad_()
    loss = net.loss(net(x, torch.ones(1, 2, 1, 2)))
    loss.backward()
    assert loss.item() == 0.5 * (0 + 1 + 4 + 9) / 2
    assert x.grad.flatten().tolist() == [0, 0.5, 1, 1.5]


@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
def test_errors_name_layer_class_and_line(method: str) -> None:
    def run() -> None:
        net = build(DATA + text("a", "Broken", "data", "a", method), python_layers=True)
        net(X.clone().requires_grad_()).sum().backward()

    message = f"layer 'a': {method} of tests.python_layers.Broken: KeyError: 'no {method}' "
    with pytest.raises(NetError, match=message) as e:
        run()
    assert isinstance(e.value.__cause__, KeyError)
    assert "python_layers.py:" in str(e.value)
    assert "\n" not in str(e.value)


def test_what_the_class_does_to_its_bottom_stays_its_own() -> None:
    net = build(DATA + text("a", "Times", "data", "a"), python_layers=True)
    x = X.clone()
    first = net(x)
    net.by_name["a"].code.bottoms[0].data[...] = 0
    net.by_name["a"].code.tops[0].data[...] = 0
    assert x.tolist() == X.tolist()
    assert first.flatten().tolist() == [10, 20, 30, 40]


@pytest.mark.parametrize("sizes", [1, 3])
def test_threads_take_turns(sizes: int) -> None:
    """Also with images of several sizes, and when all threads find the net at another size (the first images)."""
    images = [torch.full((1, 2, 64 + i % sizes, 64), float(i)) for i in range(16)]
    for _ in range(4):
        net = build(DATA + text("a", "Times", "data", "a"), python_layers=True)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(net, images))
        for i, (image, top) in enumerate(zip(images, found, strict=True)):
            assert top.shape == image.shape
            assert top.unique().tolist() == [10 * i]


def test_optimized() -> None:
    net = build(DATA + text("a", "Slope", "data", "a"), python_layers=True)
    optimized = net.optimize()
    assert "'a' (Python)" in optimized.graph.graph_break_reason
    assert optimized(X).flatten().tolist() == [3, 6, 9, 12]


def test_training(tmp_path: Path) -> None:
    solver = write_problem(tmp_path, "solver_mode: CPU snapshot_after_train: false")
    with pytest.raises(NetError, match="allow it by python_layers=True"):
        Solver(solver)
    trained = Solver(solver, python_layers=True)
    trained.step(1)
    # The loss is (2 w - 10)^2 = 16; its derivative 4 (2 w - 10) / 2 x 2 = -16.
    assert trained.losses == [16]
    assert trained.net.by_name["w"].blob0.tolist() == pytest.approx([3 + 0.05 * 16])
    trained.step(2)
    assert trained.losses == pytest.approx([16, 2.4**2, 1.44**2])
