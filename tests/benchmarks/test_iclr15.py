from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import deeplab_caffe as dc
from deeplab_caffe.net.weights import save_weights
from tools.make_voc_like import main as make_voc_like

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import iclr15
from iclr15_published import FIELDS_OF_VIEW, METHODS, PER_CLASS

DEPLOY = """
name: "tiny" input: "data" input_dim: 1 input_dim: 3 input_dim: 33 input_dim: 33
layers { name: "pool" type: POOLING bottom: "data" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "fc8_voc12" type: CONVOLUTION bottom: "pool" top: "fc8"
  convolution_param { num_output: 21 kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "fc8_interp" type: INTERP bottom: "fc8" top: "fc8_interp" interp_param { zoom_factor: 2 } }
"""


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    make_voc_like(["--synthetic", "--out", str(tmp_path / "voc"), "--images", "8"])
    return tmp_path / "voc"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    folder = tmp_path / "weights" / "deeplab_largefov"
    folder.mkdir(parents=True)
    (folder / "deploy.prototxt").write_text(DEPLOY)
    net = dc.Net(folder / "deploy.prototxt", seed=1)
    for name in ("train_iter_10", "train_iter_2", "train2_iter_8"):
        save_weights(net, folder / f"{name}.caffemodel")
    return folder.parent


def run(voc: Path, weights: Path, tmp_path: Path, *more: str) -> tuple[str, dict]:
    out, text = tmp_path / "out.json", tmp_path / "out.md"
    given = ["--data-root", str(voc), "--weights", str(weights), "--device", "cpu", "--widths", "5"]
    iclr15.main([*given, "--out", str(out), "--markdown", str(text), *more])
    return text.read_text(), json.loads(out.read_text())


def column(text: str, row: str, place: int) -> str:
    lines = [line for line in text.splitlines() if line.startswith(f"| {row} |")]
    return lines[0].split("|")[place].strip()


def test_the_published_columns_agree_with_themselves() -> None:
    for method in METHODS:
        if method.key in PER_CLASS:
            values = PER_CLASS[method.key]
            assert len(values) == 21
            assert round(sum(values) / 21, 1) == method.test_crf
    by_key = {method.key: method for method in METHODS}
    assert all(by_key[row.key].val_crf == row.mean_iou for row in FIELDS_OF_VIEW)


def test_whole_on_a_voc_shaped_folder(voc: Path, weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text, content = run(voc, weights, tmp_path, "--plot", str(tmp_path / "figure5.png"))
    assert (tmp_path / "figure5.png").stat().st_size > 1000
    val = content["ours"]["deeplab_largefov/val"]
    assert val["weights"].endswith("train_iter_10.caffemodel")
    assert content["ours"]["deeplab_largefov/test"]["weights"].endswith("train2_iter_8.caffemodel")
    assert column(text, "DeepLab-LargeFOV, val", 2) == f"{val['dcnn']['mean_iou']:.2f}"
    assert column(text, "DeepLab-LargeFOV, val", 3) == "62.25"
    assert list(val["trimap_dcnn_crf"]) == ["1", "2", "3", "4", "5"]
    for table in ("Table 1", "Table 2", "Table 3", "Figure 5"):
        assert f"## {table}" in text
    assert "WARNING: val is 2 images here and 1449 in the paper: NOT comparable" in text
    assert "deploy.prototxt, not the package's" in text


def test_missing_weights_leave_the_column_empty(voc: Path, weights: Path, tmp_path: Path) -> None:
    text, content = run(voc, weights, tmp_path)
    assert set(content["ours"]) == {"deeplab_largefov/val", "deeplab_largefov/test"}
    assert column(text, "DeepLab-MSc-CRF, val", 2) == "-"
    assert column(text, "DeepLab-MSc-CRF, val", 3) == "65.21"
    assert any(line.startswith("weights of deeplab_msc (train_iter_*)") for line in content["missing"])
    assert any("training speed" in line for line in content["missing"])


def test_table_2_counts_the_networks_themselves(tmp_path: Path) -> None:
    text, _ = run(tmp_path, tmp_path, tmp_path)
    rows = [line.split("|")[2:8] for line in text.splitlines() if line.startswith("| DeepLab") and "| ours |" in line]
    counted = [[cell.strip() for cell in row] for row in rows if "-CRF" not in row[0]][:4]
    assert [row[1:3] + row[4:] for row in counted] == [
        ["7", "4", "134.3", "-"],
        ["4", "4", "65.1", "-"],
        ["4", "8", "65.1", "-"],
        ["3", "12", "20.5", "-"],
    ]


def test_nothing_at_all(tmp_path: Path) -> None:
    text, content = run(tmp_path / "none", tmp_path / "none", tmp_path)
    assert content["ours"] == {}
    for method in METHODS:
        if method.val_crf is not None:
            assert column(text, f"{method.name}-CRF, val", 2) == "-"
    # Where nothing was measured, the rows of ours in Table 3 and Figure 5 are empty, whatever the paper has.
    ours = [line.split("|")[3:-1] for line in text.splitlines() if "-CRF | ours |" in line or "px" in line]
    assert len(ours) == len(PER_CLASS) + 1
    assert all(cell.strip() == "-" for cells in ours[:-1] for cell in cells)
    assert any("list of val" in line for line in content["missing"]) or not content["ours"]


def test_weights_that_saw_val_and_no_test_labels(voc: Path, weights: Path, tmp_path: Path) -> None:
    for path in (weights / "deeplab_largefov").glob("train_iter_*"):
        path.unlink()
    for name in (voc / "list" / "test_id.txt").read_text().split():
        (voc / "SegmentationClass" / f"{name}.png").unlink()
    text, content = run(voc, weights, tmp_path, "--limit", "1")
    assert "train2_iter_8.caffemodel was trained on trainval: it has seen val" in text
    assert any("labels of test: VOC's are on its server" in line for line in content["missing"])
    assert content["ours"]["deeplab_largefov/val"]["images"] == 1
