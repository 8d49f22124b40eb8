from __future__ import annotations

import json

import pytest

import deeplab_caffe
from tests.cli.test_main import without


def test_text_and_json(run) -> None:
    shown = run("info").out
    for word in ("deeplab-caffe", deeplab_caffe.__version__, "processor", "extension", "torch", "GiB", "[hdf5]"):
        assert word in shown
    assert json.loads(run("info", "--json").out)["deeplab_caffe"]["version"] == deeplab_caffe.__version__


def test_without_torch_and_without_the_extension() -> None:
    found = without("torch", "info")
    assert (found.returncode, found.stderr) == (0, "")
    assert "torch           not installed" in found.stdout
    found = without("deeplab_caffe._C", "info")
    assert (found.returncode, found.stderr) == (0, "")
    assert "extension       cannot be loaded" in found.stdout


@pytest.mark.parametrize("verb", ["dataset", "imageset", "mean", "upgrade"])
def test_verbs_that_need_no_torch(verb: str) -> None:
    found = without("torch", verb, "--help")
    assert (found.returncode, found.stderr) == (0, "")
