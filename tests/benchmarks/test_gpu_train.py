"""Training side by side for a number of seconds: on the CPU, a network of one layer."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe import Net
from deeplab_caffe.data import save_image, save_labels_png
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.proto import CaffeModel, parse_net, parse_solver
from deeplab_caffe.viz import VOC_COLORMAP

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import gpu_train

TRAIN = """
name: "${NET_ID}"
layer { name: "data" type: "ImageSegData" top: "data" top: "label" top: "dim"
  transform_param { crop_size: 9 mean_value: 100 mirror: true }
  image_data_param { root_folder: "${DATA_ROOT}" source: "${EXP}/list/${TRAIN_SET}.txt" batch_size: 2
    label_type: PIXEL } }
layer { name: "fc" type: "Convolution" bottom: "data" top: "fc"
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 1 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" }
layer { name: "silence" type: "Silence" bottom: "dim" }
"""
SOLVER = """
train_net: "${EXP}/config/${NET_ID}/train_${TRAIN_SET}.prototxt" lr_policy: "poly" power: 0.9
base_lr: 0.001 momentum: 0.9 max_iter: 7 display: 20 snapshot: 5
snapshot_prefix: "${EXP}/model/${NET_ID}/train" random_seed: 3
"""


@pytest.fixture
def job(tmp_path: Path) -> gpu_train.Job:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "train.prototxt").write_text(TRAIN)
    (tmp_path / "net" / "solver.prototxt").write_text(SOLVER)
    (tmp_path / "list").mkdir()
    save_image(tmp_path / "a.png", np.full((9, 12, 3), 90, np.uint8))
    save_labels_png(tmp_path / "b.png", np.ones((9, 12), np.uint8), VOC_COLORMAP)
    (tmp_path / "list" / "some.txt").write_text("/a.png /b.png\n")
    input_ = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }'
    layer = f"layer {{{TRAIN.split('layer {')[2].replace('${NUM_LABELS}', '3')}"
    save_weights(Net(parse_net(input_ + layer)), tmp_path / "init.caffemodel")
    return gpu_train.Job(
        name="one",
        network=str(tmp_path / "net"),
        exp="voc12",
        train_set="some",
        num_labels=3,
        data_root=str(tmp_path),
        weights=str(tmp_path / "init.caffemodel"),
        most=30,
        solver={"base_lr": 0.01},
    )


def test_a_solver_for_the_time_there_is(job: gpu_train.Job) -> None:
    solver = parse_solver(job.solver_text(50, snapshot=True))
    assert (solver.max_iter, round(solver.base_lr, 6), solver.snapshot_after_train) == (50, 0.01, True)
    assert (solver.momentum, solver.lr_policy) == (np.float32(0.9), "poly")
    assert not solver.snapshot
    assert solver.train_net == "voc12/config/one/train_some.prototxt"
    assert not parse_solver(job.solver_text(50, snapshot=False)).snapshot_after_train


def test_a_stepsize_that_is_a_share_of_the_updates(job: gpu_train.Job) -> None:
    stepped = replace(job, solver={"lr_policy": "step", "gamma": 0.1, "stepsize": "1/3"})
    solver = parse_solver(stepped.solver_text(50, snapshot=True))
    assert (solver.max_iter, solver.lr_policy, solver.stepsize) == (50, "step", 16)


def test_two_jobs_side_by_side(
    job: gpu_train.Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_train, "PROBED", 5)
    monkeypatch.setattr(gpu_train, "RESERVE_S", 1)
    fields = dict(job.__dict__)
    jobs = [fields, fields | {"name": "two", "most": 12}]
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    out = tmp_path / "out"
    gpu_train.main([str(tmp_path / "jobs.json"), "--seconds", "600", "--out", str(out), "--device", "cpu"])
    told = capsys.readouterr().out
    for name, most in (("one", 30), ("two", 12)):
        assert f"beside the others, {most} updates" in told
        assert f"{name}: {most} updates, " in told
        model = out / name / "voc12" / "model" / name / f"train_iter_{most}.caffemodel"
        assert [layer.name for layer in CaffeModel(model).layers if layer.blobs] == ["fc"]


def test_a_job_that_does_not_start_says_where_to_look(job: gpu_train.Job, tmp_path: Path) -> None:
    (tmp_path / "net" / "train.prototxt").write_text("layer {")
    with pytest.raises(SystemExit, match=r"one: no update: see .*train\.log"):
        gpu_train.measured([job], tmp_path / "out", "cpu")
