from __future__ import annotations

import sys

import pytest

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.viz.figure import new_figure


def test_size_in_inches() -> None:
    pytest.importorskip("matplotlib")
    figure = new_figure((4, 3))
    assert figure.get_size_inches().tolist() == [4, 3]
    assert figure.axes == []


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DeepLabCaffeError, match=r"needs matplotlib: pip install 'deeplab-caffe\[plot\]'"):
        new_figure((4, 3))
