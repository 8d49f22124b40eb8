"""Options that several verbs share."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import click
import PIL.Image
import pytest

import deeplab_caffe as dc
from deeplab_caffe.cli import VERBS, cli
from deeplab_caffe.segmentation import segmenter
from deeplab_caffe.zoo.default import DEMO_PHOTO

# As people write it: it imports caffe.
MODULE = """
import caffe


class Copy(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 1

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        if bottom[0].data.max() > 1e6:
            raise IndexError("too much")
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] = (top[0].diff * bottom[0].data).sum()
        bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff
"""
COPY = (
    'layer { name: "copy" type: "Python" bottom: "%s" top: "copy" '
    'python_param { module: "copy_layer" layer: "Copy" } }\n'
)
DUMMY = (
    'layer { name: "data" type: "DummyData" top: "data" top: "label" '
    "dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } "
    'data_filler { type: "constant" value: %s } data_filler { type: "constant" } } }\n'
)
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "copy" bottom: "label" top: "loss" }\n'
REFUSED = "layer 'copy': class 'Copy' of module 'copy_layer' is code that the net would run"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    before = set(sys.modules)
    (tmp_path / "copy_layer.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "train.prototxt").write_text(DUMMY % 1 + COPY % "data" + LOSS)
    (tmp_path / "large.prototxt").write_text(DUMMY % "1e7" + COPY % "data" + LOSS)
    (tmp_path / "deploy.prototxt").write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n' + COPY % "data"
    )
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path}/train.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "{tmp_path}/s"'
    )
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("caffe", "copy_layer")):
            del sys.modules[name]


def test_python_layers(run, folder: Path, photo: Path) -> None:
    from deeplab_caffe.pycaffe.aliasing import install_unless_found

    install_unless_found()
    weights = folder / "x.caffemodel"
    dc.Net(folder / "deploy.prototxt", python_layers=True).save(weights)
    for name in [name for name in sys.modules if name.startswith(("caffe", "copy_layer"))]:
        del sys.modules[name]
    train, deploy = folder / "train.prototxt", folder / "deploy.prototxt"
    commands = [
        ("net", train, "--phase", "TRAIN"),
        ("test", "--model", train, "--weights", weights, "--iterations", 1, "--device", "cpu"),
        ("time", "--model", train, "--iterations", 1, "--device", "cpu"),
        ("train", "--solver", folder / "solver.prototxt", "--device", "cpu"),
        ("convert", weights, "--model", deploy, "--out", folder / "x.safetensors"),
        ("segment", photo, "--model", deploy, "--weights", weights, "--out", folder / "out", "--device", "cpu"),
    ]
    for command in commands:
        assert REFUSED in run(*command).error_line()
        assert "copy_layer" not in sys.modules
    for command in commands:
        outcome = run(*command, "--python-layers")
        assert outcome.status == 0, (command, outcome.err)
    assert (folder / "s_iter_1.caffemodel").exists()
    assert (folder / "out" / "photo_labels.png").exists()


def test_an_exception_of_a_python_layer_is_one_line(run, folder: Path) -> None:
    weights = folder / "x.caffemodel"
    large = folder / "large.prototxt"
    assert run("net", large, "--python-layers").status == 0
    dc.Net(large, python_layers=True).save(weights)
    for command in (("test", "--weights", weights), ("time",)):
        outcome = run(*command, "--model", large, "--iterations", 1, "--device", "cpu", "--python-layers")
        assert "layer 'copy': forward of copy_layer.Copy: IndexError: too much (" in outcome.error_line()


@pytest.mark.parametrize(
    "words",
    [
        ("segment", "x.jpg", "--min-share", "nan"),
        ("segment", "x.jpg", "--max-frames", 10**20),
        ("segment", "x.jpg", "--crop-size", 10**11),
        ("boxes", "--centre", "nan"),
        ("time", "--model", "x", "--level", 3 * 10**9),
        ("train", "--solver", "x", "--level", 3 * 10**9),
        ("extract", "x.jpg", "--blobs", "data", "--crop-size", 10**11),
        ("extract", "x.jpg", "--blobs", "data", "--size", 2**63, 5),
        ("mean", "x.jpg", "--size", 2**63, 5),
        ("imageset", "x.txt", "y", "--size", 2**63, 5),
    ],
    ids=lambda words: f"{words[0]} {words[-2]}",
)
def test_numbers_out_of_all_bounds(run, words: tuple) -> None:
    """They ended in tracebacks."""
    outcome = run(*words)
    assert outcome.status == 2
    assert "is not in the range" in outcome.err


def test_a_scale_without_bounds_and_one_without_memory(run, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "scales must be positive numbers up to 100" in run("segment", photo, "--scales", "1e9").error_line()
    monkeypatch.setattr(segmenter, "available_memory", lambda _: 1 << 30)
    assert "GiB" in run("segment", photo, "--scales", "99").error_line()


def test_no_path_is_refused_by_click(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file without permission is told of by its reader, in one line, and the others are done."""
    for verb in VERBS:
        command = cli.get_command(click.Context(cli), verb)
        assert command is not None
        for param in command.params:
            assert not (isinstance(param.type, click.Path) and param.type.readable), (verb, param.name)
    good, secret = tmp_path / "good.jpg", tmp_path / "secret.jpg"
    for path in (good, secret):
        path.write_bytes(DEMO_PHOTO.read_bytes())
    # Root may read all files: click asks access(), Pillow opens them.
    monkeypatch.setattr(os, "access", lambda path, *_, **__: os.fspath(path) != os.fspath(secret))

    def refuse(path: object, *words: object, **options: object) -> object:
        if os.fspath(path) == os.fspath(secret):
            raise PermissionError(errno.EACCES, "Permission denied", str(secret))
        return opened(path, *words, **options)

    opened = PIL.Image.open
    monkeypatch.setattr(PIL.Image, "open", refuse)
    for words in (("segment", "--max-side", "65"), ("extract", "--blobs", "data")):
        out = tmp_path / words[0]
        outcome = run(words[0], secret, good, *words[1:], "--out", out)
        assert outcome.error_line() == f"error: {secret}: cannot be read: Permission denied"
        assert outcome.status == 1
        assert {path.name.partition("_")[0] for path in out.iterdir()} == {"good"}


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("segment", "a.png", "--shard", ""), "--shard"),
        (("segment", "a.png", "--weights", ""), "--weights"),
        (("segment", "a.png", "--out="), "--out"),
        (("segment", "a.png", "--classes", " "), "--classes"),
        (("segment", ""), "PHOTOS"),
        (("eval", "--predictions", "p", "--list", "l.txt", "--classes", ""), "--classes"),
        (("mean", ""), "SOURCES"),
    ],
)
def test_an_empty_value_is_not_taken_for_none(run, words: tuple[str, ...], flag: str) -> None:
    """A variable of the shell that is not set."""
    outcome = run(*words)
    assert outcome.status == 2
    assert f"Invalid value for '{flag}" in outcome.err.replace("[PHOTOS]", "PHOTOS")
    assert "it is empty: is a variable of the shell not set?" in outcome.err


def test_commas_alone_are_no_weights(run) -> None:
    outcome = run("train", "--solver", "s.prototxt", "--weights", " , ")
    assert outcome.status == 2
    assert "--weights: expected files with commas, got ' , '" in outcome.err
