"""Replay a golden case through pycaffe and yield each result with the original's."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.proto import CaffeModel
from tests.goldens import V2, case_dir, load_case

BGR_MEAN = np.array([104.008, 116.669, 122.675], np.float32).reshape(1, 3, 1, 1)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """The cases were run from within their folders, and so their files are named."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _input(folder: Path, step: dict) -> np.ndarray:
    array = np.load(folder / step["file"])
    if step.get("dtype") == "uint8":
        return array.astype(np.float32) - BGR_MEAN
    return array


def _stored(step: dict, array: np.ndarray) -> np.ndarray:
    stride = step.get("spatial_stride", 1)
    if stride == 1:
        return array.copy()
    return array[:, :, ::stride, ::stride].copy()


def replay(
    name: str, *, device: str = "cpu", gradients: bool = False, folder: Path | None = None, **options: object
) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    """Runs the case's steps.

    Args:
        name: the case.
        device: ``"cpu"`` or ``"cuda"``.
        gradients: run the backward steps too; without, they are left out.
        folder: run here instead of in the case's own folder (for cases that write files).
        **options: keyword arguments of the net.

    Yields:
        (kind, blob or layer, what came, what the original gave); kind: data, diff, param, param_diff, saved or
        loss.
    """
    case, source = load_case(name), case_dir(name)
    folder = folder or source
    getattr(caffe, "set_mode_gpu" if device == "cuda" else "set_mode_cpu")()
    phase = caffe.TRAIN if case["phase"] == "TRAIN" else caffe.TEST
    if name.startswith(V2):
        options.setdefault("dialect", "v2")
    if case["random_seed"] is not None:
        options.setdefault("seed", case["random_seed"])
    net: caffe.Net | None = None
    try:
        with inside(folder):
            for step in case["steps"]:
                op = step["op"]
                if op == "net":
                    net = caffe.Net(step["file"], phase, **options)
                    if "blobs_present" in case:
                        present = sorted(net.blobs) == sorted(case["blobs_present"])
                        yield "blobs", "names", np.float64(present), np.float64(1)
                    continue
                assert net is not None
                if op in ("set_data", "set_diff"):
                    array = _input(source, step)
                    net.blobs[step["blob"]].reshape(*array.shape)
                    getattr(net.blobs[step["blob"]], op.removeprefix("set_"))[...] = array
                elif op == "set_param":
                    blob = net.params[step["layer"]][step["index"]]
                    blob.data[...] = np.load(source / step["file"]).reshape(blob.shape)
                elif op == "weights":
                    net.copy_from(source / step["file"])
                elif op == "reshape":
                    net.blobs[step["blob"]].reshape(*step["shape"])
                elif op == "forward":
                    loss = net._forward(0, len(net.layers) - 1)
                    if step["loss"] != "nan":
                        yield "loss", "loss", np.float64(loss), np.float64(step["loss"])
                elif op == "backward":
                    if gradients:
                        net.backward()
                elif op == "backward_layer":
                    if gradients:
                        index = net._index(step["layer"], 0)
                        net._backward_layer(index, [bool(flag) for flag in step["propagate_down"]])
                elif op == "save":
                    with tempfile.TemporaryDirectory() as elsewhere:
                        net.save(Path(elsewhere) / step["file"])
                        ours = CaffeModel(Path(elsewhere) / step["file"]).by_name
                        for theirs in CaffeModel(source / step["file"]).layers:
                            for blob, expected in zip(ours[theirs.name].blobs, theirs.blobs, strict=True):
                                yield (
                                    "saved",
                                    theirs.name,
                                    blob.data.reshape(blob.shape),
                                    expected.data.reshape(expected.shape),
                                )
                elif op == "get_data":
                    expected = np.load(source / step["file"])
                    yield "data", step["blob"], _stored(step, net.blobs[step["blob"]].data), expected
                elif op == "get_param":
                    blob = net.params[step["layer"]][step["index"]]
                    expected = np.load(source / step["file"])
                    yield "param", step["layer"], blob.data.reshape(expected.shape).copy(), expected
                elif op == "get_diff":
                    if gradients:
                        expected = np.load(source / step["file"])
                        yield "diff", step["blob"], _stored(step, net.blobs[step["blob"]].diff), expected
                elif op == "get_param_diff":
                    if gradients:
                        blob = net.params[step["layer"]][step["index"]]
                        expected = np.load(source / step["file"])
                        yield "param_diff", step["layer"], blob.diff.reshape(expected.shape).copy(), expected
                else:
                    raise AssertionError(f"unknown step {op}")
    finally:
        caffe.set_mode_cpu()
        torch.set_grad_enabled(True)
