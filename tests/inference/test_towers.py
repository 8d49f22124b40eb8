"""Nets of several towers, which share parameters: one image at several sizes."""

from __future__ import annotations

import itertools
import weakref

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference import convolution, optimized
from deeplab_caffe.inference.convolution import ConvSpec
from deeplab_caffe.ops.packed_conv import Geometry, operators_exist, pack_weight, same_order
from deeplab_caffe.ops.winograd import winograd_weight
from deeplab_caffe.proto import parse_net
from tests.inference.narrow import error, photo_like
from tests.layers.build import noise

pytestmark = pytest.mark.skipif(not operators_exist(), reason="this torch build has no packed convolutions")

SIZES = (33, 17, 9)


def towers(channels: int = 64) -> dc.Net:
    """Two convolutions with BatchNorm between for each size of the image."""
    text = 'input: "x" input_shape { dim: [1, 3, 33, 33] }'
    for size in SIZES:
        blobs = (f"x_{size}", f"a_{size}", f"b_{size}")
        text += f"""
            layer {{ name: "x_{size}" type: "Interp" bottom: "x" top: "x_{size}"
              interp_param {{ height: {size} width: {size} }} }}
            layer {{ name: "bn_{size}" type: "BatchNorm" bottom: "a_{size}" top: "a_{size}"
              param {{ name: "mean" }} param {{ name: "variance" }} param {{ name: "factor" }} }}
        """
        parts = text.rsplit("            layer", 1)
        convs = [
            f"""
            layer {{ name: "{top}" type: "Convolution" bottom: "{bottom}" top: "{top}" param {{ name: "{top[0]}" }}
              convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 bias_term: false
                weight_filler {{ type: "gaussian" std: 0.1 }} }} }}
            """
            for bottom, top in itertools.pairwise(blobs)
        ]
        text = parts[0] + convs[0] + "            layer" + parts[1] + convs[1]
    net = dc.Net(parse_net(text), seed=1)
    with torch.no_grad():
        for blob in net.by_name["bn_33"].blobs:
            blob.uniform_(1, 2)
    return net


def test_three_towers_hold_their_parameters_once() -> None:
    net = towers()
    assert net.parameter_count() == 64 * 3 * 9 + 64 * 64 * 9 + 64 + 64 + 1
    memory = {blob.untyped_storage().data_ptr(): blob.untyped_storage().nbytes() for blob in net.parameters()}
    memory |= {b.untyped_storage().data_ptr(): b.untyped_storage().nbytes() for each in net.layers for b in each.blobs}
    assert sum(memory.values()) == 4 * net.parameter_count() == 154_884


@pytest.mark.parametrize(("alike", "packs"), [("all", 2), ("the smaller", 4), ("unknown", 6)])
def test_packed_weights_are_shared_where_their_order_is_the_same(alike: str, packs: int) -> None:
    """Two weights; the best order depends on the size, and where torch cannot tell it each tower has its own."""
    net, made, held = towers(), [], []
    packed = ConvSpec.packed

    def same(a: torch.Tensor, b: torch.Tensor) -> bool:
        return alike == "all" or (alike == "the smaller" and all(a is not each for each in made[::3]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "pack_weight", lambda *args: made.append(pack_weight(*args)) or made[-1])
        patch.setattr(convolution, "same_order", same)
        patch.setattr(ConvSpec, "packed", lambda *args: held.append(packed(*args)) or held[-1])
        fast = net.optimize(algorithms={f"{c}_{size}": "onednn_packed" for size in SIZES for c in "ab"})
    assert (len(made), len({id(pack) for pack in held})) == (6, packs)
    x = photo_like(1, 3, 33, 33)
    found, wanted = fast(x), net(x)
    assert all(error(found[name], wanted[name]) < 1e-6 for name in wanted)
    assert [result.layer for result in fast.tuning] == [f"{c}_{size}" for size in SIZES for c in "ab"]


@torch.no_grad()
def test_a_weight_transformed_for_winograd_is_there_once() -> None:
    net, x, made = towers(), photo_like(1, 3, 33, 33), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "winograd_weight", lambda *args: made.append(args[1]) or winograd_weight(*args))
        fast = net.optimize()
    assert made == [2]
    assert [r.algorithm for r in fast.tuning if r.layer.startswith("b_")] == ["winograd_2x2"] * 3
    found, wanted = fast(x), net(x)
    assert all(error(found[name], wanted[name]) < 1e-6 for name in wanted)


def test_the_order_of_packed_weights() -> None:
    weight, geometry = noise(64, 64, 3, 3), Geometry((1, 1), (1, 1), (1, 1), 1)
    packs = [pack_weight(each, geometry, (1, 64, 9, 9)) for each in (weight, weight.clone(), weight + 1)]
    assert [same_order(packs[0], pack) for pack in packs] == [True, True, False]


def test_released_weights_go_layer_by_layer() -> None:
    """Before the next layer is made ready, whichever tower has it."""
    net, alive = towers(), []
    weights = [weakref.ref(net.by_name[name].weight) for name in ("a_33", "b_33")]
    prepare = optimized.prepare

    def count(step: object, *args: object, **options: object) -> object:
        if step.layer.name[:2] in ("a_", "b_"):  # type: ignore[attr-defined]  # a Step
            alive.append(sum(weight() is not None for weight in weights))
        return prepare(step, *args, **options)  # type: ignore[arg-type]  # as it was called

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimized, "prepare", count)
        net.optimize(release=True)
    assert alive == [2, 2, 2, 2, 1, 1]


def test_one_pixel_is_not_spread_over_another_towers() -> None:
    """As torch would do it: a size at which two towers do not meet."""
    text = "".join(f'input: "{name}" input_shape {{ dim: [1, 2, 4, 4] }} ' for name in "ab")
    text += 'layer { name: "max" type: "Eltwise" bottom: "a" bottom: "b" top: "max" eltwise_param { operation: MAX } }'
    fast = dc.Net(parse_net(text)).optimize()
    assert fast(torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)).sum() == 32
    with pytest.raises(NetError, match=r"layer 'max': bottom 'b' is \(1, 2, 1, 1\), the first bottom"):
        fast(torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 1, 1))
