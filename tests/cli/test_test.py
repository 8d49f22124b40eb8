from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data import read_blob_mat
from tests.goldens import CRF_TOLERANCE, RELATIVE_TOLERANCE, case_dir, relative_error
from tests.replay import inside


@pytest.fixture
def pipeline(tmp_path: Path) -> tuple[Path, Path]:
    """The golden case of the whole TEST pipeline, in a folder of its own without its results."""
    source = case_dir("pipeline_test")
    work = tmp_path / "work"
    shutil.copytree(source, work, ignore=shutil.ignore_patterns("*.mat", "*.bin"))
    return source, work


def test_the_released_pipeline_writes_its_mat_files(run, pipeline: tuple[Path, Path]) -> None:
    source, work = pipeline
    with inside(work):
        outcome = run("test", "--model", "net.prototxt", "--weights", "model.caffemodel", "--iterations", 2)
    assert outcome.status == 0, outcome.err
    assert "2 batches done" in outcome.out
    for folder in ("fc8", "crf"):
        names = sorted(path.name for path in (source / folder).glob("*.mat"))
        assert sorted(path.name for path in (work / folder).iterdir()) == names
        for name in names:
            ours, theirs = read_blob_mat(work / folder / name), read_blob_mat(source / folder / name)
            if folder == "fc8":
                assert relative_error(ours, theirs) < RELATIVE_TOLERANCE
            else:
                # Ten iterations amplify the last digits in which the scores differ.
                np.testing.assert_allclose(ours, theirs, atol=10 * CRF_TOLERANCE, rtol=0)
                top = np.sort(theirs, axis=1)
                clear = top[:, -1] - top[:, -2] > 20 * CRF_TOLERANCE
                np.testing.assert_array_equal(ours.argmax(1)[clear], theirs.argmax(1)[clear])


def test_running_out_of_names_is_an_error(run, pipeline: tuple[Path, Path]) -> None:
    _, work = pipeline
    with inside(work):
        outcome = run("test", "--model", "net.prototxt", "--weights", "model.caffemodel", "--iterations", 3)
    assert "val_id.txt" in outcome.error_line()
    assert "out of names" in outcome.err


def test_averages_and_losses(run, tmp_path: Path) -> None:
    from PIL import Image

    from deeplab_caffe.proto import caffe_pb2, write_caffemodel

    (tmp_path / "img").mkdir()
    for name, value in (("a", 10), ("b", 50)):
        Image.new("RGB", (4, 4), (value, value, value)).save(tmp_path / "img" / f"{name}.png")
        Image.new("L", (4, 4), 1).save(tmp_path / "img" / f"{name}_label.png")
    (tmp_path / "list.txt").write_text("/a.png /a_label.png\n/b.png /b_label.png\n")
    (tmp_path / "net.prototxt").write_text(
        """
        layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label"
          image_data_param { root_folder: "${ROOT}" source: "list.txt" batch_size: 1 label_type: PIXEL } }
        layers { name: "c" type: CONVOLUTION bottom: "data" top: "s"
          convolution_param { num_output: 2 kernel_size: 1 } }
        layers { name: "loss" type: SOFTMAX_LOSS bottom: "s" bottom: "label" top: "loss" loss_weight: 2 }
        layers { name: "accuracy" type: SEG_ACCURACY bottom: "s" bottom: "label" top: "accuracy" }
        """
    )
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1] = 0.01  # class 1 scores 0.3 on the first image and 1.5 on the second
    net = caffe_pb2.NetParameter(name="n")
    net.layers.add(name="c", type=caffe_pb2.V1LayerParameter.CONVOLUTION)
    write_caffemodel(tmp_path / "w.caffemodel", net, {"c": [weight, np.zeros(2, np.float32)]})
    words = ("test", "--model", "net.prototxt", "--weights", "w.caffemodel", "--iterations", 2)
    with inside(tmp_path):
        outcome = run(*words, "--var", "ROOT=img")
        assert outcome.status == 0, outcome.err
        missing = run(*words)
    loss = np.mean([np.log1p(np.exp(-0.3)), np.log1p(np.exp(-1.5))])
    printed = {line.split(" = ")[0]: line for line in outcome.out.splitlines() if " = " in line}
    assert float(printed["loss"].split()[2]) == pytest.approx(loss, rel=1e-5)
    assert f"(* 2 = {2 * loss:g} loss)" in printed["loss"]
    assert "Batch 1, loss = " in outcome.out
    assert "ROOT" in missing.error_line()


def test_a_deploy_net_is_refused(run) -> None:
    from deeplab_caffe.zoo.default import CAMVID_MODEL

    outcome = run("test", "--model", CAMVID_MODEL.deploy, "--weights", CAMVID_MODEL.weights)
    assert "needs data layers" in outcome.error_line()


def test_an_accuracy_that_counts_on_is_of_all_images(run, tmp_path: Path) -> None:
    """As in DeepLab v2's test.prototxt: the mean of its values over the batches is no number of the data set."""
    from PIL import Image

    from deeplab_caffe.proto import caffe_pb2, write_caffemodel

    for name, label in (("a", 0), ("b", 1), ("c", 1)):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
        Image.new("L", (4, 4), label).save(tmp_path / f"{name}_label.png")
    (tmp_path / "list.txt").write_text("".join(f"/{name}.png /{name}_label.png\n" for name in "abc"))
    (tmp_path / "net.prototxt").write_text(
        """
        layer { name: "data" type: "ImageSegData" top: "data" top: "label"
          image_data_param { root_folder: "${ROOT}" source: "list.txt" batch_size: 1 label_type: PIXEL } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "s"
          convolution_param { num_output: 2 kernel_size: 1 } }
        layer { name: "accuracy" type: "SegAccuracy" bottom: "s" bottom: "label" top: "accuracy"
          seg_accuracy_param { ignore_label: 255 reset: false } }
        """
    )
    param = caffe_pb2.NetParameter(name="w")
    layer = param.layer.add(name="c", type="Convolution")
    for shape, data in (((2, 3, 1, 1), [0.0] * 6), ((2,), [0.0, 1.0])):
        layer.blobs.add(data=data).shape.dim.extend(shape)
    write_caffemodel(tmp_path / "w.caffemodel", param)
    words = ("--model", "net.prototxt", "--weights", "w.caffemodel", "--iterations", 3, "--quiet")
    with inside(tmp_path):
        outcome = run("test", *words, "--var", f"ROOT={tmp_path}")
    assert outcome.status == 0, outcome.err
    # Label 1 everywhere: right in two of three images; IoU 0 and 2/3.
    said = "accuracy, all images together: pixel accuracy 0.666667, mean recall 0.5, mean IoU 0.333333"
    assert said in outcome.out
