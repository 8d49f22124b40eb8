"""Layers written in Python for tests, as their users write them; `module: "tests.python_layers"` in a prototxt."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

import deeplab_caffe.pycaffe as caffe


class Times(caffe.Layer):
    """`param_str` times the bottom, ten times without."""

    def setup(self, bottom, top):
        self.factor = float(self.param_str or 10)
        self.calls = []

    def reshape(self, bottom, top):
        self.calls.append("reshape")
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.calls.append("forward")
        top[0].data[...] = self.factor * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.calls.append(f"backward {propagate_down}")
        bottom[0].diff[...] = self.factor * top[0].diff


class Slope(caffe.Layer):
    """A learned number, 3 at first, times the bottom."""

    def setup(self, bottom, top):
        self.blobs.add_blob(1)
        self.blobs[0].data[...] = 3

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.blobs[0].data[0] * bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += np.sum(top[0].diff * bottom[0].data)
        if propagate_down[0]:
            bottom[0].diff[...] = self.blobs[0].data[0] * top[0].diff


class Distance(caffe.Layer):
    """Half the sum of squares of two bottoms' difference: what Euclidean losses in Python compute."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms are needed")

    def reshape(self, bottom, top):
        self.diff = np.zeros_like(bottom[0].data)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / 2

    def backward(self, top, propagate_down, bottom):
        for i, sign in enumerate((1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * self.diff * top[0].diff[0]


class Batches(caffe.Layer):
    """A data layer: batch n holds n + 1 items of value n and, as second top, 2 n; read in `reshape`, as FCN's does."""

    def setup(self, bottom, top):
        self.index = 0

    def reshape(self, bottom, top):
        for i, blob in enumerate(top):
            blob.reshape(self.index + 1, 1, 2, 2)
            self.values = [self.index * (j + 1) for j in range(i + 1)]

    def forward(self, bottom, top):
        for blob, value in zip(top, self.values, strict=True):
            blob.data[...] = value
        self.index += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Phase(caffe.Layer):
    """Its top is the phase."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[()] = self.phase


class Constant(caffe.Layer):
    """Fills its top once, in `setup`."""

    def setup(self, bottom, top):
        top[0].reshape(1, 2)
        top[0].data[...] = (4, 5)

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        pass


class Watcher(caffe.Layer):
    """No tops: it looks at its bottoms."""

    seen: ClassVar[list[float]] = []

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        self.seen.append(float(bottom[0].data.sum()))


class Broken(Times):
    """Raises in the method that `param_str` names."""

    def _check(self, method):
        if self.param_str == method:
            raise KeyError(f"no {method}")

    def setup(self, bottom, top):
        self.factor, self.calls = 1, []
        self._check("setup")

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self._check("reshape")

    def forward(self, bottom, top):
        super().forward(bottom, top)
        self._check("forward")

    def backward(self, top, propagate_down, bottom):
        self._check("backward")


class Foreign:
    """Not derived from caffe.Layer."""


def text(name: str, kind: str, bottom: str = "", top: str = "", param_str: str | None = None, more: str = "") -> str:
    """A Python layer's prototxt."""
    blobs = " ".join([f'bottom: "{blob}"' for blob in bottom.split()] + [f'top: "{blob}"' for blob in top.split()])
    given = "" if param_str is None else f'param_str: "{param_str}"'
    python = f'python_param {{ module: "tests.python_layers" layer: "{kind}" {given} }}'
    return f'layer {{ name: "{name}" type: "Python" {blobs} {python} {more} }}\n'


def write_problem(folder: Path, more: str = "") -> Path:
    """Write a solver of a net of such layers: slope w, target 5 x, x twice 2, so that w goes to 5; return its path."""
    dummy = 'dummy_data_param { shape { dim: 1 dim: 2 } data_filler { type: "constant" value: 2 } }'
    net = f'layer {{ name: "d" type: "DummyData" top: "x" top: "y" {dummy} }}\n'
    net += text("w", "Slope", "x", "w") + text("t", "Times", "y", "t", "5")
    net += text("loss", "Distance", "w t", "loss", more="loss_weight: 1")
    (folder / "net.prototxt").write_text(net)
    solver = folder / "solver.prototxt"
    solver.write_text(
        f'net: "{folder}/net.prototxt" base_lr: 0.05 lr_policy: "fixed" max_iter: 3 '
        f'snapshot_prefix: "{folder}/s" {more}'
    )
    return solver
