"""The networks of `prototxt/` with few channels and random weights: for tests of their form."""

from __future__ import annotations

from pathlib import Path

import torch

import deeplab_caffe as dc
from deeplab_caffe.proto import read_net

PROTOTXT = Path(__file__).resolve().parent.parent / "prototxt"
CLASSES = 21


def slim(model: str, divisor: int = 32, file: str = "deploy", **options: object) -> dc.Net:
    """The network with 1 / `divisor` of its channels; all classes stay."""
    net = read_net(PROTOTXT / model / f"{file}.prototxt")
    for layer in net.layer:
        params = layer.convolution_param
        if layer.type == "Convolution" and params.num_output > CLASSES:
            params.num_output = max(2, params.num_output // divisor)
    built = dc.Net(net, seed=1, **options)
    draw = torch.Generator().manual_seed(0)
    for layer in built.layers:
        for role, blob in layer.named_blobs.items():
            with torch.no_grad():
                if role == "weight" and blob.dim() == 4:
                    blob.normal_(0, (2 / blob[0].numel()) ** 0.5, generator=draw)
                else:
                    blob.uniform_(0.5, 1, generator=draw)
    return built
