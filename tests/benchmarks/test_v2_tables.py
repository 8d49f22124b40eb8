from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import deeplab_caffe as dc
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.zoo import find_model
from tests.benchmarks.test_iclr15 import DEPLOY
from tools.make_voc_like import main as make_voc_like

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import v2_tables
from iclr15_published import METHODS
from v2_published import NETWORKS, TABLES


def run(tmp_path: Path, *more: object) -> tuple[str, dict]:
    out, text = tmp_path / "out.json", tmp_path / "out.md"
    v2_tables.main([*map(str, more), "--device", "cpu", "--out", str(out), "--markdown", str(text)])
    return text.read_text(), json.loads(out.read_text())


def test_keys_are_unique_and_the_registry_agrees() -> None:
    assert len(v2_tables.ROWS) == sum(len(table.rows) for table in TABLES)
    for row in v2_tables.ROWS.values():
        assert 0 < row.published < 100
        assert row.network is None or row.network in NETWORKS
    for key, name in (("t3.aspp_l", "deeplab_aspp_vgg16"), ("t4.aspp", "deeplab_aspp_resnet101")):
        assert find_model(name).score("val").dcnn == v2_tables.ROWS[key].published
    assert find_model("deeplab_aspp_resnet101").score("val").crf == v2_tables.ROWS["t4.crf"].published
    assert find_model("deeplab_attention_vgg16").score("val").dcnn == v2_tables.ROWS["att.voc"].published
    # Table 1 repeats v1's Table 2, and adds what 4x4 with rate 8 has without the CRF.
    for method in METHODS:
        rows = [row for row in TABLES[0].rows if row.network == method.key]
        for row, value in zip(rows, (method.val, method.val_crf), strict=False):
            assert value in (None, row.published)


def test_what_is_not_measured_is_empty(tmp_path: Path) -> None:
    text, content = run(tmp_path)
    assert content["ours"] == {}
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| method", "| :"))]
    assert len(rows) == len(v2_tables.ROWS)
    assert all(row.split("|")[2].strip() == "" for row in rows)
    assert "| + Aug + ASPP + CRF |  | 77.69 |" in text


def test_measured_on_a_voc_shaped_folder(tmp_path: Path) -> None:
    make_voc_like(["--synthetic", "--out", str(tmp_path / "voc"), "--images", "8"])
    folder = tmp_path / "weights" / "deeplab_aspp_vgg16"
    folder.mkdir(parents=True)
    (folder / "deploy.prototxt").write_text(DEPLOY)
    save_weights(dc.Net(folder / "deploy.prototxt", seed=1), folder / "train_iter_20000.caffemodel")
    text, content = run(tmp_path, "--data-root", tmp_path / "voc", "--weights", tmp_path / "weights")
    assert set(content["ours"]) == {"t3.aspp_l", "t3.aspp_l.crf"}
    assert f"| ASPP-L {{6, 12, 18, 24}} | {content['ours']['t3.aspp_l']:.2f} | 68.96 |" in text
    assert "WARNING: val is 2 images here and 1449 in the paper: NOT comparable" in text
    assert "MISSING: weights of deeplab_aspp_resnet101" in text or "MISSING: network deeplab_aspp_resnet101" in text


def test_a_row_from_an_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "eval.json").write_text('{"mean_iou": 41.25}')
    text, content = run(tmp_path, "--ours", f"t6.aspp={tmp_path / 'eval.json'}")
    assert content["ours"] == {"t6.aspp": 41.25}
    assert "| + Aug + ASPP | 41.25 | 44.70 |" in text
    for pair in ("t6.nothing=x", f"t6.aspp={tmp_path / 'none.json'}", f"t6.aspp={tmp_path / 'out.md'}"):
        with pytest.raises(SystemExit, match="--ours"):
            run(tmp_path, "--ours", pair)
    v2_tables.main(["--keys"])
    assert "t9.resnet101.aspp" in capsys.readouterr().out
