from __future__ import annotations

import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import LAYERS, NetContext, create_layer
from deeplab_caffe.proto import V1, V2
from tests.layers.build import layer_param, make, noise
from tests.layers.catalogue import EXAMPLES

# (params, bottoms, tops) that are just right.
RIGHT = {kind: (params, len(bottoms(torch.float32)), tops) for kind, (params, bottoms, tops) in EXAMPLES.items()}
RIGHT["MatWrite"] = ("", 1, 0)


def test_layers_are_registered_by_their_types() -> None:
    assert all(name == LAYERS[name].TYPE for name in LAYERS)


@pytest.mark.parametrize("kind", sorted(RIGHT))
def test_counts_of_bottoms_and_tops(kind: str) -> None:
    params, bottoms, tops = RIGHT[kind]
    make(kind, params, bottoms=bottoms, tops=tops)
    (low, high), (fewest, most) = LAYERS[kind].BOTTOMS, LAYERS[kind].TOPS
    wrong = [(low - 1, tops)] if low else []
    wrong += [(high + 1, tops)] if high < 9 else []
    wrong += [(bottoms, fewest - 1)] if fewest else []
    wrong += [(bottoms, most + 1)] if most < 9 else []
    assert wrong
    for bad_bottoms, bad_tops in wrong:
        with pytest.raises(NetError, match=r"layer 'l': \w+ takes .* (bottom|top) blobs, got \d"):
            make(kind, params, bottoms=bad_bottoms, tops=bad_tops)


def test_an_unknown_type_is_named_with_its_neighbour() -> None:
    param = layer_param("ReLU")
    param.ClearField("type")
    with pytest.raises(NetError, match=r"layer 'l': layer type \w+ is not implemented"):
        create_layer(param, NetContext())


def test_shapes_of_blobs_in_files() -> None:
    assert V1.blob_shape((5,)) == (1, 1, 1, 5)
    assert V1.blob_shape((5, 7)) == (1, 1, 5, 7)
    assert V1.blob_shape((2, 3, 4, 5)) == (2, 3, 4, 5)
    assert V2.blob_shape((5,)) == (5,)
    assert (V1.scalar(), V2.scalar()) == ((1, 1, 1, 1), ())


def test_images_have_four_axes_at_most() -> None:
    params = "dominant_channel_param { top_k: 1 }"
    make("DominantChannel", params, [(1, 3)], dialect=V2)
    with pytest.raises(NetError, match=r"layer 'l': bottom 'b0' must be \(N, C, H, W\), got \(1, 3, 2, 2, 2\)"):
        make("DominantChannel", params, [(1, 3, 2, 2, 2)], dialect=V2)


def test_parameters_that_just_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    params, bottom = "inner_product_param { num_output: 2 bias_term: false }", (1, 3, 1, 1)  # 24 bytes
    monkeypatch.setattr("deeplab_caffe.layers.base.available_memory", lambda: 23)
    make("InnerProduct", params, [bottom])  # so few are not counted
    monkeypatch.setattr("deeplab_caffe.layers.base._LEAST_CHECKED_BYTES", 0)
    with pytest.raises(NetError, match=r"layer 'l': not enough memory for a parameter blob \(2, 3\): 0.0 GiB"):
        make("InnerProduct", params, [bottom])
    for available in (24, None):
        monkeypatch.setattr("deeplab_caffe.layers.base.available_memory", lambda available=available: available)
        make("InnerProduct", params, [bottom])


@pytest.mark.parametrize("kind", sorted(k for k in EXAMPLES if LAYERS[k].supports_half))
def test_bfloat16_where_the_class_says_so(kind: str) -> None:
    params, bottoms, tops = EXAMPLES[kind]
    blobs = bottoms(torch.float32)
    layer = make(kind, params, [tuple(blob.shape) for blob in blobs], tops=tops)
    # A top may be the layer's own parameter, which bfloat16() changes.
    exact = [top.clone() for top in layer(*blobs)]
    for got, want in zip(layer.bfloat16()(*(blob.bfloat16() for blob in blobs)), exact, strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.float(), want, rtol=3e-2, atol=3e-2)


def test_overwriting_is_for_the_allowed_and_gradient_free() -> None:
    layer, x = make("ReLU"), noise(1, 1, 2, 2)
    assert not layer.overwrites(x)
    layer.inplace = True
    assert layer.overwrites(x)
    x.requires_grad_()
    assert not layer.overwrites(x)
    with torch.no_grad():
        assert layer.overwrites(x)


@pytest.mark.parametrize(
    ("filler", "message"),
    [
        ('type: "bilinears"', "unknown filler type 'bilinears'"),
        ('type: "bilinear"', "filler 'bilinear' is for weights with four axes and a square kernel, got"),
        ('type: "uniform" min: 1 max: 0', "uniform_"),
        ('type: "gaussian" std: -1', "normal"),
    ],
)
def test_a_bad_filler_names_the_layer(filler: str, message: str) -> None:
    params = f"inner_product_param {{ num_output: 2 weight_filler {{ {filler} }} }}"
    with pytest.raises(NetError, match=f"layer 'l': .*{message}"):
        make("InnerProduct", params, [(1, 3, 1, 1)])
