"""The flow of DeepLab v2's releases: towers that share their parameters, folders fc1, fc8 and crf, two stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe import proto
from deeplab_caffe.data import load_label, read_blob_mat
from deeplab_caffe.experiment.settings import ExperimentError, ExperimentSettings
from deeplab_caffe.experiment.written import test_net as phase_test
from deeplab_caffe.experiment.written import write_scores, written_blobs
from deeplab_caffe.proto import CaffeModel
from deeplab_caffe.proto.text.templates import fill_template
from tests.experiment.conftest import Commands
from tests.experiment.test_runner import Session

Make = Callable[..., ExperimentSettings]

_DATA = """name: "${NET_ID}"
layer { name: "data" type: "ImageSegData" top: "data" top: "label" TOPS
  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 33 mirror: false }
  image_data_param { root_folder: "${DATA_ROOT}" source: "${EXP}/list/${SET}.txt" label_type: PIXEL BATCH } }
"""
_TOWER = """
layer { name: "conv1SUFFIX" type: "Convolution" bottom: "dataSUFFIX" top: "conv1SUFFIX" param { name: "conv1_0" }
  convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 bias_term: false
    weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "bn_conv1SUFFIX" type: "BatchNorm" bottom: "conv1SUFFIX" top: "conv1SUFFIX"
  param { name: "bn_conv1_0" lr_mult: 0 } param { name: "bn_conv1_1" lr_mult: 0 }
  param { name: "bn_conv1_2" lr_mult: 0 } batch_norm_param { use_global_stats: true } }
layer { name: "scale_conv1SUFFIX" type: "Scale" bottom: "conv1SUFFIX" top: "conv1SUFFIX"
  param { name: "scale_conv1_0" lr_mult: 0 } param { name: "scale_conv1_1" lr_mult: 0 }
  scale_param { bias_term: true } }
layer { name: "conv1_reluSUFFIX" type: "ReLU" bottom: "conv1SUFFIX" top: "conv1SUFFIX" }
layer { name: "fc1_${EXP}SUFFIX_c0" type: "Convolution" bottom: "conv1SUFFIX" top: "fc1_${EXP}SUFFIX_c0"
  param { name: "fc1_${EXP}_c0_w" lr_mult: 10 decay_mult: 1 }
  param { name: "fc1_${EXP}_c0_b" lr_mult: 20 decay_mult: 0 }
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 3 pad: 2 dilation: 2
    weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "fc1_${EXP}SUFFIX_c1" type: "Convolution" bottom: "conv1SUFFIX" top: "fc1_${EXP}SUFFIX_c1"
  param { name: "fc1_${EXP}_c1_w" lr_mult: 10 decay_mult: 1 }
  param { name: "fc1_${EXP}_c1_b" lr_mult: 20 decay_mult: 0 }
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 3 pad: 3 dilation: 3
    weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "fc1_${EXP}SUFFIX" type: "Eltwise" bottom: "fc1_${EXP}SUFFIX_c0" bottom: "fc1_${EXP}SUFFIX_c1"
  top: "fc1_${EXP}SUFFIX" eltwise_param { operation: SUM } }
"""
_NET = (
    """
layer { name: "data_res05" type: "Interp" bottom: "data" top: "data_res05"
  interp_param { shrink_factor: 2 pad_beg: 0 pad_end: 0 } }
layer { name: "data_res075" type: "Interp" bottom: "data" top: "data_res075"
  interp_param { shrink_factor: 4 zoom_factor: 3 pad_beg: 0 pad_end: 0 } }
"""
    + _TOWER.replace("SUFFIX", "")
    + _TOWER.replace("SUFFIX", "_res05")
    + _TOWER.replace("SUFFIX", "_res075")
    + """
layer { name: "fc1_${EXP}_res05_interp" type: "Interp" bottom: "fc1_${EXP}_res05" top: "fc1_${EXP}_res05_interp"
  interp_param { zoom_factor: 2 pad_beg: 0 pad_end: 0 } }
layer { name: "fc1_${EXP}_res075_interp" type: "Interp" bottom: "fc1_${EXP}_res075"
  top: "fc1_${EXP}_res075_interp" interp_param { zoom_factor: 4 shrink_factor: 3 pad_beg: 0 pad_end: 0 } }
layer { name: "fc_fusion" type: "Eltwise" bottom: "fc1_${EXP}" bottom: "fc1_${EXP}_res075_interp"
  bottom: "fc1_${EXP}_res05_interp" top: "fc_fusion" eltwise_param { operation: MAX } }
"""
)
_LOSS = """
layer { name: "label_shrink" type: "Interp" bottom: "label" top: "label_shrink" interp_param { shrink_factor: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc_fusion" bottom: "label_shrink" include { phase: TRAIN }
  loss_param { ignore_label: 255 } }
"""
TRAIN = (
    _DATA.replace("TOPS", "")
    .replace("BATCH", "batch_size: 1 shuffle: true")
    .replace("${SET}", "${TRAIN_SET}")
    .replace("mirror: false", "mirror: true scale_factors: 0.5 scale_factors: 0.75 scale_factors: 1")
    + _NET
    + _LOSS
)
# As the release has it: what writes the scores is a comment.
TEST = (
    _DATA.replace("TOPS", 'top: "data_dim"').replace("BATCH", "batch_size: 1").replace("${SET}", "${TEST_SET}")
    + _NET
    + """
layer { name: "fc1_interp" type: "Interp" bottom: "fc_fusion" top: "fc1_interp" interp_param { zoom_factor: 2 } }
# layer { name: "fc1_mat" type: "MatWrite" bottom: "fc1_interp" }
layer { name: "accuracy" type: "SegAccuracy" bottom: "fc1_interp" bottom: "label" top: "fc1_accuracy"
  seg_accuracy_param { ignore_label: 255 reset: false } }
layer { name: "silence" type: "Silence" bottom: "label" bottom: "data_dim" }
"""
)
MAT = """layer { name: "NAME_mat" type: "MatWrite" bottom: "BLOB" include { phase: TEST }
  mat_write_param { prefix: "${FEATURE_DIR}/${TEST_SET}/NAME/" source: "${EXP}/list/${TEST_SET}_id.txt"
    strip: 0 period: 1 } }
"""
CRF = """layer { name: "crf" type: "DenseCRF" bottom: "fc1_interp" bottom: "data_dim" bottom: "data" top: "crf_inf"
  dense_crf_param { max_iter: 2 pos_w: 4 pos_xy_std: 1 bi_w: 5 bi_xy_std: 21 bi_rgb_std: 3 } }
layer { name: "crf_inf_argmax" type: "ArgMax" bottom: "crf_inf" top: "crf_inf_argmax" argmax_param { axis: 1 } }
"""
ARGMAX = 'layer { name: "labels" type: "ArgMax" bottom: "fc1_interp" top: "labels" argmax_param { axis: 1 } }\n'
SOLVER = """train_net: "${EXP}/config/${NET_ID}/train_${TRAIN_SET}.prototxt"
iter_size: 2 lr_policy: "poly" power: 0.9 base_lr: 2.5e-4 average_loss: 20 display: 20 max_iter: 4 momentum: 0.9
weight_decay: 0.0005 snapshot: 2 random_seed: 1 snapshot_prefix: "${EXP}/model/${NET_ID}/train"
"""


def mat(name: str, blob: str) -> str:
    return MAT.replace("NAME", name).replace("BLOB", blob)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny_resnet"
    folder.mkdir()
    second = SOLVER.replace('/train"', '/train2"')
    for name, text in {"train": TRAIN, "test": TEST, "solver": SOLVER, "solver2": second}.items():
        (folder / f"{name}.prototxt").write_text(text)
    return folder


def test_both_stages_with_the_released_test_prototxt(settings: Make, commands: Commands, tmp_path: Path) -> None:
    session = Session(settings(crf="DeepLab-ASPP-ResNet101", test_sets2=("val",), trimap=None), commands)
    first = session.run("train,test,crf,eval")
    assert first == ["train", "test", "crf", "eval", "eval"]
    assert any("a MatWrite layer that does is put behind it" in line for line in session.warnings)
    toy = tmp_path / "exper" / "toy"
    assert read_blob_mat(toy / "features" / "tiny_resnet" / "val" / "fc1" / "i3_blob_0.mat").shape == (1, 2, 33, 33)
    # The template stays as it was.
    assert (toy / "config" / "tiny_resnet" / "test.prototxt").read_text() == TEST
    res = toy / "res" / "features" / "tiny_resnet" / "val" / "fc1"
    post = res / "post_densecrf_W4_XStd67_RStd3_PosW3_PosXStd1"
    for folder in (res / "post_none", post):
        assert len(json.loads((folder / "eval.json").read_text())["per_image"]) == 3
    assert load_label(post / "results" / "toy" / "Segmentation" / "comp6_val_cls" / "i2.png").shape == (30, 28)

    # Stage 2 trains on val, and is tested on it.
    second = session.run("train2,test2,crf2,eval2")
    assert second == ["train", "test", "crf", "eval", "eval"]
    words = commands.words[0]
    assert words[words.index("--weights") + 1].endswith("model/tiny_resnet/train_iter_4.caffemodel")
    assert (toy / "model" / "tiny_resnet" / "train2_iter_4.caffemodel").is_file()
    assert (toy / "features2" / "tiny_resnet" / "val" / "fc1" / "i2_blob_0.mat").is_file()
    assert any("val holds 3 of the 3 images of val" in line for line in session.warnings)
    assert "| val, features2, post_none |" in (toy / "res" / "tiny_resnet.md").read_text()
    assert session.run("train,test,crf,eval,train2,test2,crf2,eval2") == []


def test_the_crf_may_run_inside_the_net(settings: Make, commands: Commands, model: Path, tmp_path: Path) -> None:
    (model / "test.prototxt").write_text(TEST + CRF + mat("fc1", "fc1_interp") + mat("crf", "crf_inf_argmax"))
    session = Session(settings(trimap=None), commands)
    assert session.run("train,test,eval") == ["train", "test", "eval", "eval"]
    res = tmp_path / "exper" / "toy" / "res" / "features" / "tiny_resnet" / "val"
    assert (res / "fc1" / "post_none" / "eval.json").is_file()
    assert (res / "crf" / "post_none" / "eval.json").is_file()
    text = (res.parents[2] / "tiny_resnet.md").read_text()
    assert "| val, features, crf, post_none |" in text
    assert session.run("eval") == []
    # And behind it, too.
    session = Session(settings(crf="DeepLab-ASPP-VGG16", trimap=None), commands)
    assert session.run("crf,eval") == ["crf", "eval", "eval", "eval"]


def test_labels_in_place_of_scores(settings: Make, commands: Commands, model: Path, tmp_path: Path) -> None:
    """As COCO-Stuff's files have it: they can be evaluated, but the dense CRF needs scores."""
    (model / "test.prototxt").write_text(TEST + ARGMAX + mat("fc8", "labels"))
    session = Session(settings(crf="DeepLab", trimap=None), commands)
    assert session.run("train,test,eval") == ["train", "test", "eval"]
    toy = tmp_path / "exper" / "toy"
    assert read_blob_mat(toy / "features" / "tiny_resnet" / "val" / "fc8" / "i2_blob_0.mat").shape == (1, 1, 33, 33)
    assert (toy / "res" / "features" / "tiny_resnet" / "val" / "fc8" / "post_none" / "eval.json").is_file()
    for step in ("crf", "crf-search"):
        with pytest.raises(ExperimentError, match=r"needs scores, but test.prototxt writes labels to .*val/fc8"):
            session.run(step)


def test_further_variables_of_sub_sed(settings: Make, commands: Commands, model: Path, tmp_path: Path) -> None:
    text = (model / "train.prototxt").read_text().replace("batch_size: 1", "batch_size: ${BATCH_SIZE}")
    (model / "train.prototxt").write_text(text.replace("${NUM_LABELS}", "${NUM_LABELS1}"))
    given = {"NUM_LABELS": "2", "NUM_LABELS1": "2", "BATCH_SIZE": "2"}
    assert Session(settings(variables=given), commands).run("train") == ["train"]
    filled = tmp_path / "exper" / "toy" / "config" / "tiny_resnet" / "train_train.prototxt"
    net = proto.parse_net(filled.read_text())
    assert net.layer[0].image_data_param.batch_size == 2
    with pytest.raises(Exception, match=r"\$\{NUM_LABELS1\}"):
        Session(settings(variables={"NUM_LABELS": "2", "BATCH_SIZE": "2"}), commands).run("train")


def test_a_dry_run_names_the_folders(settings: Make, commands: Commands) -> None:
    session = Session(settings(crf="DeepLab-ASPP-ResNet101"), commands)
    session.run("train,test,crf,eval", dry=True)
    said = "\n".join(session.lines)
    assert "-fd toy/features/tiny_resnet/val/fc1 " in said
    assert "toy/res/features/tiny_resnet/val/fc1/post_densecrf_W4_XStd67_RStd3_PosW3_PosXStd1" in said


def test_what_is_written() -> None:
    names = ("EXP", "NUM_LABELS", "FEATURE_DIR", "TEST_SET", "NET_ID", "DATA_ROOT")
    variables = dict(zip(names, ("voc12", "2", "f", "val", "tiny", "/data"), strict=True))

    def filled(text: str) -> str:
        return fill_template(text, variables)

    both = phase_test(filled(TEST + CRF + mat("crf", "crf_inf") + mat("conv", "conv1") + mat("fc1", "fc1_interp")))
    assert [(one.name, one.kind) for one in written_blobs(both)] == [
        ("fc1", "scores"),
        ("conv", "scores"),
        ("crf", "crf"),
    ]
    text = filled(TEST)
    assert [one.folder for one in written_blobs(phase_test(write_scores(text, "f/val", "ids.txt")))] == ["f/val/fc1"]
    named = filled(TEST + mat("fc8", "fc1_interp"))
    assert write_scores(named, "f/val", "ids.txt") == named
    without = text.replace("SegAccuracy", "Concat")
    assert write_scores(without, "f/val", "ids.txt") == without


def test_shared_parameters_are_trained_as_one(settings: Make, commands: Commands, tmp_path: Path) -> None:
    Session(settings(), commands).run("train")
    path = tmp_path / "exper" / "toy" / "model" / "tiny_resnet" / "train_iter_4.caffemodel"
    blobs = {layer.name: layer.blobs for layer in CaffeModel(path).layers if layer.blobs}
    for name in ("conv1", "bn_conv1", "scale_conv1", "fc1_toy_c0", "fc1_toy_c1"):
        for scale in ("_res05", "_res075"):
            other = name.replace("_c", f"{scale}_c") if name.startswith("fc1") else f"{name}{scale}"
            for one, two in zip(blobs[name], blobs[other], strict=True):
                np.testing.assert_array_equal(np.asarray(one.data), np.asarray(two.data))
