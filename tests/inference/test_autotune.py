from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.inference import autotune as choice
from deeplab_caffe.inference.autotune import Chooser
from deeplab_caffe.inference.convolution import direct
from tests.inference.test_convolution import expected, image, spec


@pytest.fixture
def alternatives(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three ways: a right one, one that fails, one that is wrong; the names of those made."""
    made: list[str] = []

    def ways(s, shape):
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

    monkeypatch.setattr(choice, "ways", ways)
    return made


def test_failures_and_wrong_results_drop_out_by_name(alternatives: list[str]) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=True), image(1, 6, 9, 9)
    chooser = Chooser(1e-5, autotune=True)
    run = chooser.choose("conv", "CUDNN", s, x.shape)
    assert torch.equal(run(x), expected(s, x))
    (found,) = chooser.choices
    assert found.way == "right"
    assert found.failures["broken"] == "RuntimeError: no such engine"
    assert found.failures["wrong"].startswith("differs from torch's convolution by 1.0e-03")
    assert set(found.milliseconds) == {"right"}


def test_layers_that_are_alike_are_tried_once(alternatives: list[str]) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=True), image(1, 6, 9, 9)
    chooser = Chooser(1e-5, autotune=True)
    for name in ("a", "b"):
        chooser.choose(name, "CUDNN", s, x.shape)
    assert alternatives == ["broken", "wrong", "right", "right", "right"]
    assert [c.layer for c in chooser.choices] == ["a", "b"]


def test_fixed_and_untuned_ways_are_not_tried(alternatives: list[str]) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=False), image(1, 6, 9, 9)
    Chooser(1e-5, autotune=True, fixed={"conv": "right"}).choose("conv", "CUDNN", s, x.shape)
    assert alternatives == ["right"]
    with pytest.raises(RuntimeError, match="no such engine"):
        Chooser(1e-5, autotune=False).choose("conv", "CUDNN", s, x.shape)
    with pytest.raises(NetError, match=r"layer 'conv': there is no way 'best'; there are broken, wrong, right"):
        Chooser(1e-5, autotune=True, fixed={"conv": "best"}).choose("conv", "CUDNN", s, x.shape)


def test_what_is_not_timed_is_verified_where_that_is_wanted(
    alternatives: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    s, x = spec(3, 1, 2, 2, 1, relu=True), image(1, 6, 9, 9)
    with pytest.raises(
        NetError, match="layer 'conv': no way to compute it: .*'broken': 'RuntimeError: no such engine'"
    ):
        Chooser(1e-5, autotune=False, verify=True).choose("conv", "CUDNN", s, x.shape)
    others = choice.ways
    monkeypatch.setattr(choice, "ways", lambda s, shape: others(s, shape) | {"direct": lambda: direct(s)})
    chooser = Chooser(1e-5, autotune=False, verify=True)
    assert torch.equal(chooser.choose("conv", "CUDNN", s, x.shape)(x), expected(s, x))
    chooser.fixed["other"] = "right"
    chooser.choose("other", "CUDNN", s, x.shape)
    assert [(c.layer, c.way, c.milliseconds) for c in chooser.choices] == [
        ("conv", "direct", {}),
        ("other", "right", {}),
    ]
    assert set(chooser.choices[0].failures) == {"broken"}
    chooser.fixed["third"] = "wrong"
    with pytest.raises(NetError, match="layer 'third': no way .*differs from torch's convolution by 1.0e-03"):
        chooser.choose("third", "CUDNN", s, x.shape)


def test_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "ways", lambda s, shape: dict.fromkeys("ab", lambda: lambda x: x))
    s, x = spec(3, 1, 0, 2, 1, relu=False), image(1, 6, 9, 9)
    with pytest.raises(NetError, match=r"no way to compute it.*differs from torch's convolution by inf"):
        Chooser(1e-5, autotune=True).choose("conv", "CUDNN", s, x.shape)
