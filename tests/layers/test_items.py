from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run
from tests.layers.catalogue import EXAMPLES
from tests.nets import build


def test_filter_by_hand_and_its_gradient() -> None:
    x = torch.tensor([[1.0, 2], [3, 4], [5, 6]], requires_grad=True)
    layer = make("Filter", "", [(3, 2), (3, 1)], dialect=V2)
    (y,) = layer(x, torch.tensor([[0.0], [-0.5], [2]]))
    assert y.tolist() == [[3, 4], [5, 6]]
    (y * torch.tensor([[1.0, 2], [3, 4]])).sum().backward()
    assert x.grad.tolist() == [[0, 0], [1, 2], [3, 4]]


def test_filter_may_select_nothing() -> None:
    """The original dies of a division by zero; here the net goes on with no items, and a loss of 0."""
    text = """input: "x" input_shape { dim: 3 dim: 4 }
        input: "y" input_shape { dim: 3 } input: "s" input_shape { dim: 3 }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
                inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
        layer { name: "f" type: "Filter" bottom: "ip" bottom: "y" bottom: "s" top: "fi" top: "fy" }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fi" bottom: "fy" top: "loss" }"""
    net = build(text)
    with pytest.warns(UserWarning, match="every label is ignored"):
        found = net(noise(3, 4), torch.zeros(3), torch.zeros(3), blobs=["fi"])
    assert tuple(found["fi"].shape) == (0, 2)
    net.loss(found).backward()
    assert found["loss"].item() == 0
    assert not net.ip.weight.grad.any()


@pytest.mark.parametrize(
    ("shapes", "tops", "message"),
    [
        ([(3, 2), (3, 2)], 1, r"the selector must be \(N, 1, ...\), got \(3, 2\)"),
        ([(3, 2), (2,)], 1, r"bottom 'b0' is \(3, 2\), the selector is for 2 items"),
        ([(3, 2), (3,)], 2, "needs a top for each bottom but the last"),
    ],
)
def test_filter_refuses(shapes: list[tuple[int, ...]], tops: int, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make("Filter", "", shapes, tops=tops, dialect=V2)


# DeepLab v1's alone (EuclideanLoss by its mean), indices of no items, what has no answer without pixels, and a first
# axis that is time.
NEEDS_ITEMS = {
    *("BatchReindex", "DenseCRF", "DominantChannel", "EuclideanLoss", "Histogram", "RelativeError", "SegAccuracy"),
    "LSTMUnit",
}


@pytest.mark.filterwarnings("ignore:.*every label is ignored")
@pytest.mark.parametrize("kind", [kind for kind in EXAMPLES if kind not in NEEDS_ITEMS])
def test_layers_take_what_a_filter_leaves_nothing_of(kind: str) -> None:
    params, bottoms, tops = EXAMPLES[kind]
    blobs = bottoms(torch.float32)
    layer = make(kind, params, [tuple(blob.shape) for blob in blobs], tops=tops)
    given = [
        blob if blob.shape[:1] != blobs[0].shape[:1] else blob[:0].requires_grad_(i not in layer.label_bottoms)
        for i, blob in enumerate(blobs)
    ]
    found = layer(*given)
    assert [tuple(top.shape) for top in found] == layer.top_shapes([tuple(x.shape) for x in given])
    assert all(top.isfinite().all() for top in found)
    if layer.differentiable and any(top.requires_grad for top in found):
        sum(top.sum() for top in found).backward()
        assert all(not blob.grad.any() for blob in layer.blobs if blob.grad is not None and kind != "Parameter")


def test_batch_reindex_by_hand() -> None:
    y = run("BatchReindex", "", torch.tensor([[1.0], [2], [3]]), torch.tensor([2.9, 0, 0]), dialect=V2)
    assert y.flatten().tolist() == [3, 1, 1]


@pytest.mark.parametrize("index", [-1.0, 3.0, float("nan")])
def test_batch_reindex_refuses(index: float) -> None:
    layer = make("BatchReindex", "", [(3, 2), (1,)], dialect=V2)
    with pytest.raises(NetError, match=f"layer 'l': indices must lie between 0 and 2, got {index:g}"):
        layer(noise(3, 2), torch.tensor([index]))
    with pytest.raises(NetError, match=r"expected items \(N, ...\) and indices \(M,\)"):
        layer.top_shapes([(3, 2), (2, 2)])
