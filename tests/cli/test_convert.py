from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.zoo.default import CAMVID_MODEL


def test_names_of_tensors_cannot_steer_the_terminal(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Initial:
        source, layers = "a network", ()
        lines = ("not used: x\x1b[2J",)

        def save(self, path: Path, *_: object, **__: object) -> str:
            path.write_bytes(b"")
            return "caffemodel"

    monkeypatch.setattr("deeplab_caffe.cli.convert.initial_model", lambda *_, **__: Initial())
    (tmp_path / "x.pth").write_bytes(b"")
    found = run("convert", tmp_path / "x.pth", "--init-for", "deeplab_largefov", "--out", tmp_path / "x.caffemodel")
    assert found.out.splitlines()[1] == r"not used: x\x1b[2J"


def test_weights_are_not_written_over_what_they_come_from(run, tmp_path: Path) -> None:
    source, model, link = tmp_path / "x.caffemodel", tmp_path / "x.prototxt", tmp_path / "y.caffemodel"
    source.write_bytes(CAMVID_MODEL.weights.read_bytes())
    model.write_bytes(CAMVID_MODEL.deploy.read_bytes())
    link.symlink_to(source)
    before = {path: path.read_bytes() for path in (source, model)}
    for out, what in ((source, "SOURCE"), (link, f"SOURCE '{source}'"), (model, "--model")):
        line = run("convert", source, "--model", model, "--out", out).error_line()
        assert line == f"error: {out}: --out would be written over {what}: give it another name or folder"
    assert "over --init-for" in run("convert", source, "--init-for", model, "--out", model).error_line()
    assert {path: path.read_bytes() for path in before} == before
