from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeplab_caffe.zoo import EMBEDDED_MODELS, INIT_WEIGHTS, MODELS


def test_the_table_has_every_model(run) -> None:
    out = run("models").out
    for model in (*MODELS, *INIT_WEIGHTS):
        assert f"\n{model.name} " in out
    line = next(line for line in out.splitlines() if line.startswith("deeplab_largefov "))
    for value in ("62.25 / 67.64", "- / 70.3", "4 / 121 / 5", "20.5 M", "train2_iter_8000.caffemodel *"):
        assert value in line
    assert "* trained on val too" in out


def test_one_model_with_its_honesty_note(run) -> None:
    out = run("models", "deeplab_largefov").out
    assert "vgg128_noup_pool3_20M_largewin3" in out
    assert "20,505,429" in out
    assert "val it scores far above the paper" in out
    assert "mean IoU, network / with CRF; Chen et al., ICLR 2015, Table 1" in out


def test_a_model_of_deeplab_v2(run) -> None:
    out = run("models", "DeepLab-ASPP-ResNet101").out
    for value in ("76.35 / 77.69", "stores them 3 times, 529.8 MB", "train2_iter_20000", "PASCAL-Context, 60 classes"):
        assert value in out
    assert "sha256:          begins with 586e9e4e" in run("models", "deeplab_v3_resnet101").out
    line = next(line for line in run("models").out.splitlines() if line.startswith("deeplab_aspp_vgg16 "))
    assert "68.96 / 71.57" in line
    assert "4 / 65 / 3" in line


def test_json(run) -> None:
    found = json.loads(run("models", "--json").out)
    assert [entry["name"] for entry in found] == [model.name for model in (*MODELS, *INIT_WEIGHTS)]
    assert json.loads(run("models", "deeplab_msc", "--json").out)["net_id"] == "vgg128_ms_pool3"


def test_an_unknown_name_is_one_line(run) -> None:
    assert "no model 'resnet' is known" in run("models", "resnet").error_line()


def test_download_from_a_folder_prints_the_path(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deeplab_caffe.proto import caffe_pb2

    net = caffe_pb2.NetParameter(name="w")
    net.layers.add(name="fc").blobs.add(num=1, channels=1, height=1, width=3, data=[1, 2, 3])
    (tmp_path / "vgg16_20M.caffemodel").write_bytes(net.SerializeToString())
    monkeypatch.setenv("DEEPLAB_CAFFE_CACHE", str(tmp_path / "cache"))
    first = run("download", "vgg16_20M", "--from", tmp_path)
    assert first.status == 0
    assert Path(first.out.strip()) == tmp_path / "cache" / "vgg16_20M" / "vgg16_20M.caffemodel"
    assert "sha256 " in first.err
    assert run("download", "vgg16_20M").out == first.out


def test_download_without_an_address_says_what_to_do(run, tmp_path: Path) -> None:
    line = run("download", "deeplab_msc", "--cache", tmp_path).error_line()
    assert "no address of the weights of deeplab_msc is known" in line
    assert "--from DIR" in line


def test_networks_of_no_paper(run) -> None:
    out = run("models").out
    for name in ("deeplab_v3_lite0", "deeplab_v3_lite0_os8", *EMBEDDED_MODELS):
        assert f" {name}" in out.partition("Of no paper, but ours:")[2]
        assert run("models", name).out.startswith(f"{name}: ")
    found = run("models", "deeplab_v3_lite0").out
    for value in ("3,715,157 with 21 classes", "deploy.prototxt", "the package, as deeplab_v3_lite0_animals"):
        assert value in found
    assert json.loads(run("models", "deeplab_v3_lite0", "--json").out)["network"] == "deeplab_v3_lite0"
    line = run("download", "deeplab_v3_lite0_animals").error_line()
    assert "nothing to download for deeplab_v3_lite0_animals. It comes with the package" in line
    assert "--init-for deeplab_v3_lite0 makes weights" in run("download", "deeplab_v3_lite0").error_line()
