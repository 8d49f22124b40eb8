from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeplab_caffe.proto.text.outline import outline
from tools import prototxts

INPUT = 'input: "d" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
V2 = 'layer { name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param { kernel_size: 2 } }\n'
FILES = {
    "v2/good.prototxt": INPUT + V2,
    "v2/twin.prototxt": INPUT + V2,
    "v1.prototxt": INPUT + 'layers { name: "r" type: RELU bottom: "d" top: "r" }',
    "v0.prototxt": INPUT + 'layers { layer { name: "r" type: "relu" } bottom: "d" top: "r" }',
    "solver.prototxt": 'net: "train.prototxt" base_lr: 0.1',
    "template.prototxt": 'name: "${NAME}"\n' + INPUT + V2.replace("2", "${SIZE}"),
    "fork.prototxt": INPUT + 'layer { type: "ROIPooling"\n roi_pooling_param { pooled_w: 6 } }\nlayer { tip: 1 }',
    "bare.prototxt": INPUT + 'layer { name: "u" type: "Upsample" bottom: "d" top: "u" }',
    "shapeless.prototxt": 'input: "d"\n' + V2,
    "data.prototxt": 'layer { name: "d" type: "ImageData" top: "d" image_data_param { source: "none" batch_size: 1 } }',
    "broken.prototxt": INPUT + 'layer { name: "p',
    "conflict.prototxt": "<<<<<<< HEAD\n" + INPUT,
    "pointer.prototxt": "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
    "labels.prototxt": 'item { name: "cat" }',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_report_by_hand(folder: Path) -> None:
    found = prototxts.report(map(prototxts.examine, prototxts.files_in(folder)))
    counts = {
        name: [row[key] for key in ("files", "read", "built", "own", "own_read")]
        for name, row in found["layouts"].items()
    }
    assert counts == {
        "V0": [1, 1, 1, 1, 1],
        "V1": [1, 1, 1, 1, 1],
        # good (its twin counts once), template, bare, shapeless, data; not read: fork, broken
        "V2": [7, 5, 2, 5, 4],
        "solver": [1, 1, 0, 1, 1],
        "other": [3, 0, 0, 3, 0],
    }
    reasons = {row["reason"]: [Path(file).stem for file in row["files"]] for row in found["reasons"]}
    assert reasons["unknown layer type ROIPooling"] == ["fork"]
    assert reasons["unknown field LayerParameter.roi_pooling_param"] == ["fork"]
    assert reasons["unknown field LayerParameter.tip"] == ["fork"]
    assert reasons["no input_dim"] == ["shapeless"]
    assert reasons["a data source is not here"] == ["data"]
    assert reasons["Git's conflict marks"] == ["conflict"]
    assert reasons["a Git LFS pointer"] == ["pointer"]
    assert reasons["no field of a net or a solver"] == ["labels"]
    assert reasons["layer type Upsample is not implemented"] == ["bare"]
    assert [Path(path).stem for path in found["layouts"]["V2"]["own_refused"]] == ["broken"]


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prototxts.main([str(folder), "--read-only", "--json", str(tmp_path / "out.json")]) == 0
    text = capsys.readouterr().out
    assert "of 7 nets of Caffe's and DeepLab's own layers and fields 6 are read: 85.7 %" in text
    assert "not read: unknown layer type ROIPooling" in text
    assert "not built" not in text
    assert json.loads((tmp_path / "out.json").read_text())["layouts"]["V2"]["files"] == 7
    assert prototxts.main([str(folder), "--read-only", "--list", "conflict"]) == 0
    assert capsys.readouterr().out == f"Git's conflict marks:\n  {folder / 'conflict.prototxt'}\n"
    with pytest.raises(SystemExit):
        prototxts.main([str(folder / "none")])


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ("net_param { layer { } }", "solver"),
        ("test_iter: 1 net: 'x'", "solver"),
        ("name: 'n' input: 'd' input_dim: 1", "V1"),
        ("input: 'd' input_shape { dim: 1 }", "V2"),
        ("", "other"),
    ],
)
def test_layouts(text: str, layout: str) -> None:
    assert prototxts.layout_of(outline(text)) == layout
