from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import SumFact
from deeplab_caffe.proto import V2
from tests.layers.build import image, make, noise, run


def test_inner_product_by_hand() -> None:
    layer = make("InnerProduct", "inner_product_param { num_output: 2 }", [(1, 1, 1, 3)])
    layer.weight.data[...] = torch.tensor([[1.0, 0, 2], [0, 1, 0]])
    layer.bias.data[...] = torch.tensor([0.5, 0])
    (y,) = layer(torch.tensor([3.0, 4, 5]).reshape(1, 1, 1, 3))
    assert y.shape == (1, 2, 1, 1)
    assert y.flatten().tolist() == [13.5, 4]
    assert layer.multiply_adds([(4, 1, 1, 3)], [(4, 2, 1, 1)]) == 24


def test_inner_product_takes_channels_last_in_channel_order() -> None:
    layer = make(
        "InnerProduct", 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }', [(2, 3, 4, 5)]
    )
    x = noise(2, 3, 4, 5)
    assert torch.equal(layer(x)[0], layer(x.contiguous(memory_format=torch.channels_last))[0])


def test_inner_product_refuses() -> None:
    with pytest.raises(NetError, match="layer 'l': num_output must be positive"):
        make("InnerProduct", "", [(1, 1, 1, 3)])
    layer = make("InnerProduct", "inner_product_param { num_output: 2 }", [(1, 1, 1, 3)])
    with pytest.raises(NetError, match=r"the weights are for 3 inputs, the bottom is \(1, 1, 2, 2\)"):
        layer.top_shapes([(1, 1, 2, 2)])
    bare = make("InnerProduct", "inner_product_param { num_output: 2 bias_term: false }", [(1, 1, 1, 3)])
    assert len(bare.blobs) == 1


def test_softmax() -> None:
    x = torch.tensor([0.0, 0, 1000, -1000]).reshape(1, 2, 1, 2)
    assert run("Softmax", "", x).flatten().tolist() == [0, 1, 1, 0]
    torch.testing.assert_close(run("Softmax", "", noise(2, 5, 3, 4)).sum(1), torch.ones(2, 3, 4))


@pytest.mark.parametrize("kind", ["Softmax", "ArgMax"])
def test_an_axis_counted_from_the_end_is_the_channels_of_four_axes_only(kind: str) -> None:
    params = f"{kind.lower()}_param {{ axis: -3 }}"
    images, volumes = (make(kind, params, [shape], dialect=V2) for shape in ((2, 3, 4, 5), (2, 3, 4, 5, 6)))
    assert images.fact is not None
    assert volumes.fact is None


def test_argmax_ties_go_to_the_last() -> None:
    x = torch.tensor([1.0, 3, 3, 2]).reshape(1, 4, 1, 1)
    assert run("ArgMax", "", x).item() == 2
    assert run("ArgMax", "argmax_param { top_k: 3 out_max_val: true }", x).flatten().tolist() == [2, 1, 3, 3, 3, 2]
    with pytest.raises(NetError, match="layer 'l': top_k must lie between 1 and the 4 channels, got 5"):
        make("ArgMax", "argmax_param { top_k: 5 }", [(1, 4, 1, 1)])


def test_concat() -> None:
    a, b = image([1, 2]), image([3, 4])
    assert run("Concat", "", a, b).tolist() == [[[[1, 2]], [[3, 4]]]]
    assert run("Concat", "concat_param { concat_dim: 0 }", a, b).tolist() == [[[[1, 2]]], [[[3, 4]]]]
    alone = run("Concat", "", a)
    assert torch.equal(alone, a)
    assert alone.data_ptr() != a.data_ptr()
    with pytest.raises(NetError, match=r"bottom 'b1' is \(1, 1, 2, 2\) and does not fit"):
        make("Concat", "", [(1, 1, 2, 3), (1, 1, 2, 2)])
    with pytest.raises(NetError, match="concat_dim must be 0 or 1, got 2"):
        make("Concat", "concat_param { concat_dim: 2 }", [(1, 1, 2, 3)])


def test_slice() -> None:
    x = torch.arange(6.0).reshape(1, 6, 1, 1)
    even = run("Slice", "", x, tops=3)
    assert [top.flatten().tolist() for top in even] == [[0, 1], [2, 3], [4, 5]]
    uneven = run("Slice", "slice_param { slice_point: 1 slice_point: 4 }", x, tops=3)
    assert [top.flatten().tolist() for top in uneven] == [[0], [1, 2, 3], [4, 5]]
    items = run("Slice", "slice_param { slice_dim: 0 }", noise(4, 1, 2, 2), tops=2)
    assert [tuple(top.shape) for top in items] == [(2, 1, 2, 2)] * 2
    for params, message in [
        ("", "6 along axis 1 cannot be cut into 4 equal tops"),
        ("slice_param { slice_point: 1 }", "4 tops need 3 rising slice points below 6"),
        ("slice_param { slice_point: 3 slice_point: 2 slice_point: 5 }", "rising slice points"),
        ("slice_param { slice_point: 1 slice_point: 2 slice_point: 6 }", "rising slice points"),
        ("slice_param { slice_dim: 2 }", "slice_dim must be 0 or 1"),
    ]:
        with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
            make("Slice", params, [(1, 6, 1, 1)], tops=4)


def test_flatten() -> None:
    x = noise(2, 3, 4, 5)
    y = run("Flatten", "", x.contiguous(memory_format=torch.channels_last))
    assert y.shape == (2, 60, 1, 1)
    assert torch.equal(y.flatten(), x.flatten())


def test_split_and_its_gradient() -> None:
    x = noise(1, 1, 2, 2).requires_grad_()
    tops = run("Split", "", x, tops=3)
    assert all(torch.equal(top, x) for top in tops)
    sum((k + 1) * top.sum() for k, top in enumerate(tops)).backward()
    assert torch.equal(x.grad, torch.full_like(x, 6))


def test_eltwise_by_hand() -> None:
    a, b, c = image([1, 5]), image([3, 2]), image([2, 4])
    assert run("Eltwise", "", a, b, c).flatten().tolist() == [6, 11]
    weighted = "eltwise_param { coeff: 1 coeff: -1 coeff: 0.5 }"
    assert run("Eltwise", weighted, a, b, c).flatten().tolist() == [-1, 5]
    assert run("Eltwise", "eltwise_param { operation: PROD }", a, b, c).flatten().tolist() == [6, 40]
    assert run("Eltwise", "eltwise_param { operation: MAX }", a, b, c).flatten().tolist() == [3, 5]


def test_eltwise_maximum_takes_no_notice_of_coefficients() -> None:
    # eltwise_layer.cpp refuses them for PROD alone.
    maximum = "eltwise_param { operation: MAX coeff: 2 coeff: -1 }"
    assert run("Eltwise", maximum, image([1, 5]), image([3, 2])).flatten().tolist() == [3, 5]


def test_which_eltwise_is_a_plain_sum() -> None:
    """A convolution takes it along."""
    for params in ("", "coeff: 1 coeff: 1"):
        assert make("Eltwise", f"eltwise_param {{ {params} }}", bottoms=2).fact == SumFact()
    for params in ("coeff: 1 coeff: -1", "coeff: 2 coeff: 1", "operation: PROD", "operation: MAX"):
        assert make("Eltwise", f"eltwise_param {{ {params} }}", bottoms=2).fact is None
    assert make("Eltwise", bottoms=3).fact is None


def test_eltwise_maximum_sends_ties_to_the_second_bottom() -> None:
    blobs = [image([7]).requires_grad_() for _ in range(3)]
    run("Eltwise", "eltwise_param { operation: MAX }", *blobs).backward()
    assert [blob.grad.item() for blob in blobs] == [0, 1, 0]


@pytest.mark.parametrize(
    "params",
    [
        "",
        "coeff: 2 coeff: -1 coeff: 0.5",
        "operation: PROD",
        "operation: PROD stable_prod_grad: false",
        "operation: MAX",
    ],
)
def test_eltwise_gradient(params: str) -> None:
    layer = make("Eltwise", f"eltwise_param {{ {params} }}", bottoms=3)
    blobs = [noise(1, 2, 2, 3, seed=i, dtype=torch.float64).requires_grad_() for i in range(3)]
    assert torch.autograd.gradcheck(lambda *blobs: layer(*blobs)[0], blobs)


def test_eltwise_product_at_zero() -> None:
    # The stable gradient is the product of the others; the other one divides by the factor.
    for stable, expected in (("true", 5.0), ("false", float("nan"))):
        a, b = image([0]).requires_grad_(), image([5])
        params = f"eltwise_param {{ operation: PROD stable_prod_grad: {stable} }}"
        run("Eltwise", params, a, b).backward()
        assert a.grad.item() == pytest.approx(expected, nan_ok=True)


def test_eltwise_refuses() -> None:
    with pytest.raises(NetError, match="2 bottoms need as many coefficients, got 1"):
        make("Eltwise", "eltwise_param { coeff: 1 }", bottoms=2)
    with pytest.raises(NetError, match="coefficients are for SUM, the operation is PROD"):
        make("Eltwise", "eltwise_param { operation: PROD coeff: 1 coeff: 1 }", bottoms=2)
    with pytest.raises(NetError, match=r"bottom 'b1' is \(1, 1, 2, 3\), the first bottom is \(1, 1, 3, 2\)"):
        make("Eltwise", "", [(1, 1, 3, 2), (1, 1, 2, 3)])


def test_silence() -> None:
    assert run("Silence", "", image([1]), image([2]), tops=0) == ()


@pytest.mark.parametrize(
    ("kind", "params", "bottoms", "tops"),
    [
        ("InnerProduct", 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }', 1, 1),
        ("Softmax", "", 1, 1),
        ("Concat", "", 2, 1),
        ("Slice", "slice_param { slice_point: 1 }", 1, 2),
    ],
)
def test_gradient(kind: str, params: str, bottoms: int, tops: int) -> None:
    layer = make(kind, params, [(2, 3, 2, 2)] * bottoms, tops=tops).double()
    blobs = [noise(2, 3, 2, 2, seed=i, dtype=torch.float64).requires_grad_() for i in range(bottoms)]
    assert torch.autograd.gradcheck(lambda *blobs: layer(*blobs), blobs)
