"""Where the layers of a prototxt stand."""

from __future__ import annotations

from pathlib import Path

from deeplab_caffe.proto import LayerLines

NET = """name: "net"
layer { name: "conv${N}_1" type: "ReLU" }
layers {
  layer { name: 'old' type: "relu" }
}
layers { type: RELU }
param { name: "none" }
layer { name: "a.b" }
layer {
  name: "old" }
"""


def test_lines_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    lines = LayerLines(path)
    assert lines.path == str(path)
    # A variable may be anything, and of two layers of one name it is the first.
    found = {name: lines.of(name) for name in ("conv5_1", "conv_1", "old", "", "a.b", "axb", "none", "net", "conv5_2")}
    assert found == {
        "conv5_1": 2, "conv_1": 2, "old": 3, "": 6, "a.b": 8, "axb": None, "none": None, "net": None, "conv5_2": None,
    }  # fmt: skip


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    assert LayerLines(tmp_path / "gone.prototxt").of("a") is None
