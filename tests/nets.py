"""Small networks for tests, from short texts."""

from __future__ import annotations

import torch
from torch import Tensor

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.proto import caffe_pb2


def inputs(**shapes: tuple[int, ...]) -> str:
    """The head of a prototxt with these inputs."""
    return "".join(
        f'input: "{name}" ' + "".join(f"input_dim: {size} " for size in shape) for name, shape in shapes.items()
    )


def layer(kind: str, name: str, bottom: str = "", top: str = "", params: str = "") -> str:
    """One layer; ``bottom`` and ``top`` are words."""
    blobs = " ".join([f'bottom: "{blob}"' for blob in bottom.split()] + [f'top: "{blob}"' for blob in top.split()])
    return f'layers {{ name: "{name}" type: {kind} {blobs} {params} }}\n'


def conv(name: str, bottom: str, top: str | None = None, *, out: int = 4, kernel: int = 3, more: str = "") -> str:
    params = f"num_output: {out} kernel_size: {kernel} pad: {kernel // 2}"
    fill = 'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "uniform" min: -1 max: 1 }'
    return layer("CONVOLUTION", name, bottom, top or name, f"convolution_param {{ {params} {fill} }} {more}")


def relu(name: str, blob: str) -> str:
    return layer("RELU", name, blob, blob)


def parse(text: str, **variables: str) -> caffe_pb2.NetParameter:
    return proto.parse_net(text, variables=variables)


def build(text: str, *, seed: int | None = 1, **options: object) -> dc.Net:
    return dc.Net(parse(text), seed=seed, **options)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Two convolutions with in-place ReLUs, a pooling, dropout and a score layer: LargeFOV's parts.
SMALL = (
    inputs(data=(1, 3, 9, 11))
    + conv("conv1", "data")
    + relu("relu1", "conv1")
    + layer("POOLING", "pool1", "conv1", "pool1", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }")
    + conv("fc", "pool1", out=6)
    + relu("relu_fc", "fc")
    + layer("DROPOUT", "drop", "fc", "fc", "dropout_param { dropout_ratio: 0.5 }")
    + conv("score", "fc", out=5, kernel=1)
)
INTERP = layer("INTERP", "up", "score", "up", "interp_param { zoom_factor: 2 }")
