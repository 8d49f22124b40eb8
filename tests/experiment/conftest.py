"""A data set of a few small images in the released list format, a tiny network, and commands run in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.cli import main
from deeplab_caffe.data import save_image, save_labels_png
from deeplab_caffe.experiment import ExperimentSettings
from deeplab_caffe.viz import VOC_COLORMAP

_DATA = """name: "${NET_ID}"
layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label" TOPS
  image_data_param { root_folder: "${DATA_ROOT}" source: "${EXP}/list/${SET}.txt" BATCH }
  transform_param { mean_value: 104.008 mean_value: 116.669 mean_value: 122.675 crop_size: 33 } }
layers { name: "pool" type: POOLING bottom: "data" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "fc8_${EXP}" type: CONVOLUTION bottom: "pool" top: "fc8"
  convolution_param { num_output: ${NUM_LABELS} kernel_size: 1 weight_filler { type: "gaussian" std: 0.001 } } }
"""
TRAIN = (
    _DATA.replace("TOPS", "").replace("BATCH", "batch_size: 2 label_type: PIXEL").replace("${SET}", "${TRAIN_SET}")
    + """
layers { name: "shrink" type: INTERP bottom: "label" top: "shrunk" interp_param { shrink_factor: 2 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "fc8" bottom: "shrunk" softmaxloss_param { ignore_label: 255 } }
"""
)
TEST = (
    _DATA.replace("TOPS", 'top: "data_dim"').replace("BATCH", "batch_size: 1").replace("${SET}", "${TEST_SET}")
    + """
layers { name: "silence" type: SILENCE bottom: "label" bottom: "data_dim" }
layers { name: "interp" type: INTERP bottom: "fc8" top: "fc8_interp" interp_param { zoom_factor: 2 } }
layers { name: "mat" type: MAT_WRITE bottom: "fc8_interp"
  mat_write_param { prefix: "${FEATURE_DIR}/${TEST_SET}/fc8/" source: "${EXP}/list/${TEST_SET}_id.txt" } }
"""
)
SOLVER = """train_net: "${EXP}/config/${NET_ID}/train_${TRAIN_SET}.prototxt"
base_lr: 0.0001 lr_policy: "fixed" max_iter: 4 momentum: 0.9 snapshot: 2 random_seed: 1 solver_mode: CPU
snapshot_prefix: "${EXP}/model/${NET_ID}/train"
"""


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Six images with two classes and a void line; lists train, val and test (without labels)."""
    root = tmp_path / "data"
    rng = np.random.default_rng(0)
    lines = {"train": "", "val": "", "test": ""}
    for number in range(6):
        name = f"i{number}"
        labels = np.zeros((30, 28), np.uint8)
        labels[:, 9 + number :] = 1
        labels[:, 8 + number] = 255
        image = np.where(labels[..., None] == 1, 200, 60) + rng.integers(-20, 20, (30, 28, 3))
        save_image(root / "JPEGImages" / f"{name}.png", image.astype(np.uint8))
        where = "train" if number < 2 else "val" if number < 5 else "test"
        line = f"/JPEGImages/{name}.png"
        if where != "test":
            save_labels_png(root / "SegmentationClass" / f"{name}.png", labels, VOC_COLORMAP)
            line += f" /SegmentationClass/{name}.png"
        lines[where] += f"{line}\n"
    (root / "list").mkdir()
    for name, text in lines.items():
        (root / "list" / f"{name}.txt").write_text(text)
    (root / "list" / "classes.txt").write_text("dark\nlight\n")
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name, text in {"train": TRAIN, "test": TEST, "solver": SOLVER}.items():
        (folder / f"{name}.prototxt").write_text(text)
    (folder / "solver2.prototxt").write_text(
        SOLVER.replace('/train"', '/train2"').replace("max_iter: 4", "max_iter: 2")
    )
    return folder


@pytest.fixture
def settings(tmp_path: Path, data_root: Path, model: Path) -> Callable[..., ExperimentSettings]:
    def make(**changes: object) -> ExperimentSettings:
        values = {
            "exp": "toy",
            "data_root": data_root,
            "model": str(model),
            "root": tmp_path / "exper",
            "train_set": "train",
            "train_set2": "val",
            "test_sets2": ("test",),
            "variables": {"NUM_LABELS": "2"},
            "trimap": "1:3",
            "device": "cpu",
            "search_options": ("--w1", "1:3:4", "--sigma-alpha", "5", "--sigma-beta", "20", "--rounds", "1"),
        }
        return ExperimentSettings(**{**values, **changes})

    return make


class Commands:
    """Runs commands in this process and remembers them; the one of ``fail_at`` (a verb) fails before it is run."""

    def __init__(self) -> None:
        self.words: list[list[str]] = []
        self.fail_at: str | None = None

    def __call__(self, words: Sequence[str], folder: Path, log: Path) -> int:
        self.words.append(list(words))
        if words[0] == self.fail_at:
            return 130
        before = Path.cwd()
        os.chdir(folder)
        try:
            main(list(words))
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            os.chdir(before)
        return 0

    @property
    def verbs(self) -> list[str]:
        return [words[0] for words in self.words]


@pytest.fixture
def commands() -> Commands:
    return Commands()
