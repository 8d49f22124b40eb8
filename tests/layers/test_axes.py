"""Bottoms of any number of axes, empty ones too: a layer computes what it promised, or says what it wants."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.proto import V1, V2, Dialect
from tests.layers.build import make, noise, run
from tests.layers.catalogue import EXAMPLES

Shape = tuple[int, ...]
SHAPES: list[Shape] = [
    (),
    (3,),
    (0,),
    (2, 3),
    (2, 0),
    (0, 3),
    (2, 1),
    (2, 3, 4),
    (2, 3, 4, 5),
    (1, 1, 1, 1),
    (0, 3, 4, 5),
    (2, 3, 0, 5),
    (2, 0, 4, 5),
    (2, 1, 1, 1),
    (2, 3, 1, 1),
    (2, 4, 3, 2, 2),
]
# Kernels do not fit everywhere, and some tops have as many items as the bottoms say: they have tests of their own.
ELSEWHERE = {"BatchReindex", "Convolution", "Deconvolution", "Filter", "Padding", "Pooling", "SPP"}


def bottoms(count: int, dialect: Dialect) -> Iterator[tuple[Shape, ...]]:
    pool = [shape for shape in SHAPES if dialect is V2 or len(shape) == 4]
    if count == 2:
        yield from itertools.product(pool, repeat=2)
    elif count > 2:
        yield from ((a, *(b,) * (count - 1)) for a, b in itertools.product(pool, repeat=2))
    else:
        yield from ((shape,) * count for shape in pool)


@pytest.mark.parametrize("kind", sorted(set(EXAMPLES) - ELSEWHERE))
@pytest.mark.parametrize("dialect", [V1, V2], ids=["v1", "v2"])
@pytest.mark.filterwarnings("ignore")
def test_any_bottoms(kind: str, dialect: Dialect) -> None:
    params, blobs, tops = EXAMPLES[kind]
    for shapes in bottoms(len(blobs(torch.float32)), dialect):
        try:
            layer = make(kind, params, shapes, tops=tops, dialect=dialect)
            given = [(2 * noise(*shape).sigmoid()).floor().requires_grad_() for shape in shapes]
            found = layer(*given)
        except DeepLabCaffeError:
            continue
        assert [tuple(top.shape) for top in found] == list(map(tuple, layer.top_shapes(list(shapes))))
        outputs = [top.sum() for top in found if top.requires_grad]
        if outputs:
            sum(outputs).backward()


@pytest.mark.parametrize(
    ("kind", "params", "shapes", "four"),
    [
        ("BiasChannel", "bias_channel_param { label_type: IMAGE fg_bias: 3 }", [(2, 4), (2, 3)], True),
        ("BiasChannel", "bias_channel_param { label_type: PIXEL fg_bias: 3 }", [(2, 4, 5), (2, 1, 5)], True),
        ("SegAccuracy", "", [(2, 4), (2,)], True),
        ("UniqueLabel", "unique_label_param { max_labels: 4 }", [(2, 1, 5)], True),
        ("MVN", "", [(2, 3)], True),
        ("MVN", "", [(2, 3, 4)], True),
        ("ContrastiveLoss", "", [(2, 3), (2, 3), (2,)], False),
        ("EuclideanLoss", "", [(2, 3), (2, 3, 1)], False),
        ("HingeLoss", "", [(2, 3), (2,)], False),
    ],
)
def test_missing_axes_are_of_length_1(kind: str, params: str, shapes: list[Shape], four: bool) -> None:
    blobs = [noise(*shapes[0]), *((2 * noise(*shape).sigmoid()).floor() for shape in shapes[1:])]
    blobs = [blob.abs().floor() for blob in blobs] if kind == "UniqueLabel" else blobs
    whole = [blob.reshape(*blob.shape, *(1,) * (4 - blob.dim())) for blob in blobs]
    found, expected = run(kind, params, *blobs, dialect=V2), run(kind, params, *whole, dialect=V2)
    assert torch.equal(found, expected)
    assert (found.dim() == 4) is four
