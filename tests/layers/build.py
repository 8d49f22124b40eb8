"""Single layers for tests, made from the text of a prototxt's `layers { }`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deeplab_caffe import proto
from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.layers import Layer, NetContext, create_layer
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import enum_of_name, v1_names


def layer_param(
    kind: str, params: str = "", bottoms: int = 1, tops: int = 1, name: str = "l", layout: str = "V1"
) -> caffe_pb2.LayerParameter:
    blobs = [f'bottom: "b{i}"' for i in range(bottoms)] + [f'top: "t{i}"' for i in range(tops)]
    # In the V1 layout, whose parameters most examples are written in; what came later has no place there.
    v1 = layout == "V1" and kind in v1_names()
    field, kind = ("layers", enum_of_name(kind)) if v1 else ("layer", f'"{kind}"')
    return proto.parse_net(f'{field} {{ name: "{name}" type: {kind} {" ".join(blobs)} {params} }}').layer[0]


def make(
    kind: str,
    params: str = "",
    shapes: Sequence[tuple[int, ...]] | None = None,
    *,
    bottoms: int = 1,
    tops: int = 1,
    train: bool = False,
    layout: str = "V1",
    **context: object,
) -> Layer:
    """A layer; with ``shapes`` of its bottoms it is set up, and its top shapes have been worked out once."""
    bottoms = bottoms if shapes is None else len(shapes)
    phase = caffe_pb2.TRAIN if train else caffe_pb2.TEST
    context.setdefault("rng", CaffeRNG(1))
    layer = create_layer(layer_param(kind, params, bottoms, tops, layout=layout), NetContext(phase=phase, **context))
    if shapes is not None:
        layer.setup(list(shapes))
        layer.top_shapes(list(shapes))
    return layer


def run(kind: str, params: str, *blobs: Tensor, tops: int = 1, **options: object) -> Tensor | tuple[Tensor, ...]:
    """The tops of a new layer for these bottoms, after a check that they have the shapes it promised."""
    shapes = [tuple(blob.shape) for blob in blobs]
    layer = make(kind, params, shapes, tops=tops, **options)
    found = layer(*blobs)
    assert [tuple(top.shape) for top in found] == [tuple(shape) for shape in layer.top_shapes(shapes)]
    return found[0] if tops == 1 else found


def image(*rows: Sequence[float]) -> Tensor:
    """A blob (1, 1, H, W) of these rows."""
    return torch.tensor(rows, dtype=torch.float32)[None, None]


# What neurons are tried on.
NEURONS = image([-2, 0], [0.5, 3])


def values(kind: str, params: str = "", x: Tensor = NEURONS) -> list[float]:
    """What a neuron's layer makes of each number."""
    return run(kind, params, x).flatten().tolist()


def slopes(kind: str, params: str = "", x: Tensor = NEURONS) -> list[float]:
    """Its derivative at each number."""
    x = x.clone().requires_grad_()
    run(kind, params, x).sum().backward()
    return x.grad.flatten().tolist()


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
