from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.inference import autotune
from deeplab_caffe.inference.autotune import Autotuner
from deeplab_caffe.inference.convolution import ConvSpec, direct
from tests.inference.test_convolution import expected, image, spec


@pytest.fixture
def alternatives(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three algorithms: a right one, one that fails, one that is wrong; the names of those made."""
    made: list[str] = []

    def algorithms(s, shape):
        def broken():
            made.append("broken")
            raise RuntimeError("no such engine\nlong story")

        def wrong():
            made.append("wrong")
            return lambda x: direct(s)(x) * 1.001

        def right():
            made.append("right")
            return direct(s)

        return {"broken": broken, "wrong": wrong, "right": right}

    monkeypatch.setattr(autotune, "algorithms", algorithms)
    return made


def test_failures_and_wrong_results_drop_out_by_name(alternatives: list[str]) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=True), image(1, 6, 9, 9)
    autotuner = Autotuner(1e-5, autotune=True)
    run = autotuner.choose("conv", "CUDNN", s, x.shape)
    assert torch.equal(run(x), expected(s, x))
    (found,) = autotuner.results
    assert found.algorithm == "right"
    assert found.failures["broken"] == "RuntimeError: no such engine"
    assert found.failures["wrong"].startswith("differs from torch's convolution by 1.0e-03")
    assert set(found.milliseconds) == {"right"}


def test_layers_that_are_alike_are_tried_once(alternatives: list[str]) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=True), image(1, 6, 9, 9)
    autotuner = Autotuner(1e-5, autotune=True)
    for name in ("a", "b"):
        autotuner.choose(name, "CUDNN", s, x.shape)
    assert alternatives == ["broken", "wrong", "right", "right", "right"]
    assert [c.layer for c in autotuner.results] == ["a", "b"]


def test_fixed_and_untuned_algorithms_are_not_tried(alternatives: list[str]) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=False), image(1, 6, 9, 9)
    Autotuner(1e-5, autotune=True, fixed={"conv": "right"}).choose("conv", "CUDNN", s, x.shape)
    assert alternatives == ["right"]
    with pytest.raises(RuntimeError, match="no such engine"):
        Autotuner(1e-5, autotune=False).choose("conv", "CUDNN", s, x.shape)
    with pytest.raises(NetError, match=r"layer 'conv': there is no algorithm 'best'; there are broken, wrong, right"):
        Autotuner(1e-5, autotune=True, fixed={"conv": "best"}).choose("conv", "CUDNN", s, x.shape)


def test_what_is_not_timed_is_verified_where_that_is_wanted(
    alternatives: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=True), image(1, 6, 9, 9)
    with pytest.raises(
        NetError, match="layer 'conv': no algorithm computes it: .*'broken': 'RuntimeError: no such engine'"
    ):
        Autotuner(1e-5, autotune=False, verify=True).choose("conv", "CUDNN", s, x.shape)
    others = autotune.algorithms
    monkeypatch.setattr(autotune, "algorithms", lambda s, shape: others(s, shape) | {"direct": lambda: direct(s)})
    autotuner = Autotuner(1e-5, autotune=False, verify=True)
    assert torch.equal(autotuner.choose("conv", "CUDNN", s, x.shape)(x), expected(s, x))
    autotuner.fixed["other"] = "right"
    autotuner.choose("other", "CUDNN", s, x.shape)
    assert [(c.layer, c.algorithm, c.milliseconds) for c in autotuner.results] == [
        ("conv", "direct", {}),
        ("other", "right", {}),
    ]
    assert set(autotuner.results[0].failures) == {"broken"}
    autotuner.fixed["third"] = "wrong"
    with pytest.raises(NetError, match="layer 'third': no algorithm .*differs from torch's convolution by 1.0e-03"):
        autotuner.choose("third", "CUDNN", s, x.shape)


def test_what_rounds_more_is_taken_if_asked_for() -> None:
    s = ConvSpec(torch.randn((16, 16, 3, 3)), None, (1, 1), (1, 1), (1, 1), 1, False)
    strict, fast, fixed = (Autotuner(5e-5, autotune=True) for _ in range(3))
    strict.choose("conv", "CUDNN", s, (1, 16, 20, 20))
    assert "winograd_2x2" in strict.results[0].milliseconds
    assert "winograd_4x4" not in strict.results[0].milliseconds
    fast.choose("conv", "CUDNN", replace(s, fast=True), (1, 16, 20, 20))
    assert "winograd_4x4" in fast.results[0].milliseconds
    fixed.fixed["conv"] = "winograd_4x4"
    fixed.choose("conv", "CUDNN", s, (1, 16, 20, 20))
    assert fixed.results[0].algorithm == "winograd_4x4"


def test_what_losers_have_prepared_goes() -> None:
    s = ConvSpec(torch.randn((16, 16, 3, 3)), None, (1, 1), (1, 1), (1, 1), 1, False, fast=True)
    autotuner = Autotuner(5e-5, autotune=True)
    autotuner.choose("conv", "CUDNN", s, (1, 16, 20, 20))
    algorithm = autotuner.results[0].algorithm
    assert len(s.transformed) == algorithm.startswith("winograd")
    assert len(s.packs) == algorithm.startswith("onednn")


def test_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autotune, "algorithms", lambda s, shape: dict.fromkeys("ab", lambda: lambda x: x))
    s, x = spec(3, 1, 0, 2, 1, relu=False), image(1, 6, 9, 9)
    with pytest.raises(NetError, match=r"no algorithm computes it.*differs from torch's convolution by inf"):
        Autotuner(1e-5, autotune=True).choose("conv", "CUDNN", s, x.shape)
