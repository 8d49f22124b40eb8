"""Runs the command as its user does: through ``main``, with exit status and both streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deeplab_caffe.cli import main
from deeplab_caffe.data import load_image
from deeplab_caffe.net import Net
from deeplab_caffe.net.weights import save_weights
from deeplab_caffe.zoo.default import DEMO_PHOTO
from tests.nets import conv


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    def error_line(self) -> str:
        """The one line that a failure is to print."""
        assert self.status != 0, self.out
        lines = [line for line in self.err.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*words: object) -> Outcome:
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = end.code or 0
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return call


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small real photograph."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(load_image(DEMO_PHOTO)[120:217, 200:329])).save(path)
    return path


@pytest.fixture
def seven(tmp_path: Path) -> tuple[object, ...]:
    """A network with 7 classes, the last of which always wins."""
    text = 'input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n' + conv("s", "data", out=7, kernel=1)
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "deploy.prototxt").write_text(text)
    net = Net(folder / "deploy.prototxt")
    net.by_name["s"].weight.data.zero_()
    net.by_name["s"].bias.data[:] = torch.arange(7)
    save_weights(net, folder / "x.caffemodel")
    return ("--model", folder / "deploy.prototxt", "--weights", folder / "x.caffemodel", "--device", "cpu")
