from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from deeplab_caffe.zoo.default import CAMVID_MODEL
from deeplab_caffe.zoo.paths import prototxt_path


@pytest.mark.parametrize(
    ("name", "side", "parameters", "field"),
    # Table 2 of the paper: 20.5 M, 65.1 M and 134.3 M. The fields are derived in docs/receptive-field.md.
    [
        ("deeplab_largefov", 65, "20,505,429", "435"),
        ("deeplab", 66, "65,140,565", "308"),
        ("deeplab_7x7", 65, "134,346,581", "419"),
    ],
)
def test_the_released_networks(run, name: str, side: int, parameters: str, field: str) -> None:
    outcome = run("net", prototxt_path(name), "--size", side, side)
    assert outcome.status == 0, outcome.err
    assert f"{parameters} parameters" in outcome.out
    (fc8,) = [line.split() for line in outcome.out.splitlines() if line.startswith("fc8") and "Convolution" in line]
    assert fc8[3:5] == ["1", "21"]
    assert fc8[-2:] == [field, "8"]


def test_rows_by_hand(run, tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(
        """
        name: "n" input: "data" input_dim: 2 input_dim: 3 input_dim: 9 input_dim: 11
        layers { name: "c" type: CONVOLUTION bottom: "data" top: "c"
          convolution_param { num_output: 4 kernel_size: 3 hole: 2 } }
        layers { name: "p" type: POOLING bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
        """
    )
    outcome = run("net", tmp_path / "n.prototxt")
    rows = {line.split()[0]: line.split() for line in outcome.out.splitlines() if line}
    # 4 x 3 x 3 x 3 weights and 4 biases; 2 x 4 x 5 x 7 outputs of 27 multiply-adds each.
    assert rows["c"] == ["c", "Convolution", "c", "2", "4", "5", "7", "112", "7.56", "k", "5", "1"]
    assert rows["p"] == ["p", "Pooling", "p", "2", "4", "3", "4", "6", "2"]


def test_a_stage_that_is_no_utf8(run) -> None:
    outcome = run("time", "--model", CAMVID_MODEL.deploy, "--stage", os.fsdecode(b"caf\xe9"))
    assert outcome.status == 2
    assert r"expected text in UTF-8, got 'caf\udce9'" in outcome.err


def test_drawings(run, tmp_path: Path) -> None:
    outcome = run("net", CAMVID_MODEL.deploy, "--svg", tmp_path / "n.svg", "--dot", tmp_path / "n.dot")
    assert outcome.status == 0, outcome.err
    texts = [element.text for element in ElementTree.parse(tmp_path / "n.svg").iter() if element.tag.endswith("text")]
    assert {"data", "conv1_1", "fc8_interp"} <= set(texts)
    dot = (tmp_path / "n.dot").read_text()
    assert dot.startswith('digraph "deeplab_largefov_slim_camvid"')
    assert '"layer:conv1_1" -> "layer:relu1_1"' in dot


def test_errors(run, tmp_path: Path) -> None:
    bad = tmp_path / "bad.prototxt"
    bad.write_text('name: "x"\nlayers { name: "a" type: CONVOLUTIN bottom: "d" top: "a" }\n')
    assert "bad.prototxt:2" in run("net", bad).error_line()
    bad.write_text('name: "x"\nlayers { name: "a" type: RELU bottom: "e" top: "a" }')
    assert "'e'" in run("net", bad).error_line()
    outcome = run("net", CAMVID_MODEL.deploy, "--svg", tmp_path / "no" / "folder.svg")
    assert "folder.svg" in outcome.error_line()


def test_names_are_shown_as_they_are_and_steer_no_terminal(run, tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(
        r"""name: "n\033[2J" input: "[red]" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
        layers { name: "[/bold]\n|x" type: RELU bottom: "[red]" top: "b\007\\" }
        """
    )
    outcome = run("net", tmp_path / "n.prototxt", "--dot", tmp_path / "n.dot", "--svg", tmp_path / "n.svg")
    assert outcome.status == 0, outcome.err
    title, _, first, second, *_ = outcome.out.splitlines()
    assert title.rstrip() == r"n\x1b[2J (TEST)"
    assert first.split()[:3] == ["[red]", "input", "[red]"]
    assert second.split()[:3] == [r"[/bold]\n|x", "ReLU", r"b\x07" + "\\"]
    assert (outcome.out + outcome.err).replace("\n", "").isprintable()
    dot = (tmp_path / "n.dot").read_text()
    assert r"[/bold]\\n|x" in dot
    assert dot.replace("\n", "").isprintable()


def test_a_name_of_a_million_characters(run, tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(
        f'input: "d" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9 layers {{ name: "{"x" * 1_000_000}" type: RELU'
        ' bottom: "d" top: "t" }'
    )
    outcome = run("net", tmp_path / "n.prototxt")
    assert outcome.status == 0, outcome.err
    assert len(outcome.out) < 20_000


def test_the_dialect_that_is_asked_for(run, tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(
        'input: "d" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }\n'
        'layer { name: "f" type: "Flatten" bottom: "d" top: "f" }\n'
    )
    # 3 x 4 x 4 numbers an item; DeepLab v1's blobs have four axes.
    for words, shape in (([], "2 48"), (["--dialect", "v2"], "2 48"), (["--dialect", "v1"], "2 48 1 1")):
        (row,) = [line for line in run("net", tmp_path / "n.prototxt", *words).out.splitlines() if line[:2] == "f "]
        assert row.split()[3 : 3 + len(shape.split())] == shape.split()
        assert row.split()[-2:] == ["-", "-"]
        assert len(row.split()) == 5 + len(shape.split())


@pytest.mark.parametrize("flag", ["--svg", "--dot"])
def test_a_drawing_over_the_prototxt_is_refused(run, tmp_path: Path, flag: str) -> None:
    path = tmp_path / "n.prototxt"
    path.write_bytes(CAMVID_MODEL.deploy.read_bytes())
    (tmp_path / "link").symlink_to(path)
    for drawing in (path, tmp_path / "link"):
        assert f"{flag} would be written over PROTOTXT" in run("net", path, flag, drawing).error_line()
    assert path.read_bytes() == CAMVID_MODEL.deploy.read_bytes()
