from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.errors import DataError
from deeplab_caffe.experiment.markers import Marker, digest, file_digest


def test_finished_means_same_inputs_and_whole_outputs(tmp_path: Path) -> None:
    marker = Marker(tmp_path / "steps" / "a.json", tmp_path)
    assert not marker.finished()
    assert not marker.half
    marker.begin({"x": "1"})
    assert marker.half
    assert marker.begun({"x": "1"})
    assert not marker.begun({"x": "2"})
    with pytest.raises(DataError, match="out: was not written"):
        marker.finish({"x": "1"}, ["out"])
    assert not marker.finished()
    (tmp_path / "out").write_text("abc")
    marker.finish({"x": "1"}, ["out"])
    assert marker.finished({"x": "1"})
    assert not marker.finished({"x": "2"})
    (tmp_path / "out").write_text("ab")
    assert not marker.finished()
    assert not marker.intact("out")
    assert marker.begun({"x": "1"})


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"state": "finished"}', b'{"state": "finished", "outputs": 3}']
)
def test_a_damaged_marker_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    marker = Marker(tmp_path / "a.json", tmp_path)
    assert not marker.finished()
    assert not marker.begun({})


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("abc")
    assert file_digest(tmp_path / "x") == digest("abc") == digest(b"abc")
    with pytest.raises(DataError, match="cannot be read"):
        file_digest(tmp_path / "y")
