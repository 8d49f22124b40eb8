from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import CaffeModel, caffe_pb2, filter_net, insert_splits, parse_net, read_net
from tests.goldens import case_dir


def net(*layers: str, inputs: str = ""):
    """Layers written ``name: bottoms -> tops [weights]``."""
    result = caffe_pb2.NetParameter(input=inputs.split())
    for text in layers:
        name, _, wiring = text.partition(":")
        bottoms, _, tops = wiring.partition("->")
        tops, _, weights = tops.partition("|")
        result.layer.add(
            name=name,
            type="Power",
            bottom=bottoms.split(),
            top=tops.split(),
            loss_weight=[float(weight) for weight in weights.split()],
        )
    return result


def written(result) -> list[str]:
    lines = []
    for layer in result.layer:
        weights = "".join(f" {weight:g}" for weight in layer.loss_weight)
        line = f"{layer.name}: {' '.join(layer.bottom)} -> {' '.join(layer.top)}"
        lines.append(line + (f" |{weights}" if weights else ""))
    return lines


def test_a_blob_read_twice():
    result = insert_splits(net("a: -> x", "b: x -> y", "c: x y -> z"))
    assert written(result) == [
        "a:  -> x",
        "x_a_0_split: x -> x_a_0_split_0 x_a_0_split_1",
        "b: x_a_0_split_0 -> y",
        "c: x_a_0_split_1 y -> z",
    ]
    assert result.layer[1].type == "Split"


def test_net_inputs_are_split_first_and_named_by_their_number():
    result = insert_splits(net("b: label -> y", "c: label data -> z", "d: data -> w", inputs="data label"))
    assert written(result)[:2] == [
        "data_input_0_split: data -> data_input_0_split_0 data_input_0_split_1",
        "label_input_1_split: label -> label_input_1_split_0 label_input_1_split_1",
    ]
    assert written(result)[3] == "c: label_input_1_split_1 data_input_0_split_0 -> z"


def test_inputs_of_input_layers_are_named_by_these() -> None:
    text = """
        layer { name: "a" type: "Input" top: "x" input_param { shape { dim: 1 } } }
        layer { name: "b" type: "Input" top: "y" top: "z" input_param { shape { dim: 1 } } }
        layer { name: "r" type: "ReLU" bottom: "x" top: "r" } layer { name: "s" type: "ReLU" bottom: "x" top: "s" }
        layer { name: "t" type: "ReLU" bottom: "z" top: "t" } layer { name: "u" type: "ReLU" bottom: "z" top: "u" }"""
    layers = insert_splits(parse_net(text)).layer
    assert [layer.name for layer in layers][:2] == ["x_a_0_split", "z_b_1_split"]
    assert [layer.bottom[0] for layer in layers[-2:]] == ["z_b_1_split_0", "z_b_1_split_1"]


def test_in_place_chains_split_after_the_last_writer():
    result = insert_splits(net("conv: -> x", "relu: x -> x", "drop: x -> x", "b: x -> y", "c: x -> z"))
    assert written(result)[2:4] == ["drop: x -> x", "x_drop_0_split: x -> x_drop_0_split_0 x_drop_0_split_1"]
    assert written(result)[1] == "relu: x -> x"


def test_an_in_place_layer_among_the_readers():
    result = insert_splits(net("conv: -> x", "b: x -> y", "relu: x -> x", "c: x -> z"))
    assert written(result) == [
        "conv:  -> x",
        "x_conv_0_split: x -> x_conv_0_split_0 x_conv_0_split_1",
        "b: x_conv_0_split_0 -> y",
        "relu: x_conv_0_split_1 -> x",
        "c: x -> z",
    ]


def test_the_same_blob_twice_in_one_layer():
    assert written(insert_splits(net("a: -> x", "b: x x -> y")))[1:] == [
        "x_a_0_split: x -> x_a_0_split_0 x_a_0_split_1",
        "b: x_a_0_split_0 x_a_0_split_1 -> y",
    ]


def test_second_tops_and_three_readers():
    result = insert_splits(net("a: -> p q", "b: q -> r", "c: q -> s", "d: q p -> t"))
    assert written(result)[1] == "q_a_1_split: q -> q_a_1_split_0 q_a_1_split_1 q_a_1_split_2"


def test_a_loss_that_is_read_too():
    result = insert_splits(net("loss: -> x | 0.5", "b: x -> y"))
    assert written(result) == [
        "loss:  -> x | 0",
        "x_loss_0_split: x -> x_loss_0_split_0 x_loss_0_split_1 | 0.5 0",
        "b: x_loss_0_split_1 -> y",
    ]


def test_a_loss_that_nobody_reads_or_without_weight():
    for text in (["loss: -> x | 0.5"], ["a: -> x | 0", "b: x -> y"]):
        assert insert_splits(net(*text)) == net(*text)


def test_the_other_weights_of_a_layer_stay():
    result = insert_splits(net("loss: -> x w | 0.5 0.25", "b: x -> y"))
    assert written(result)[0] == "loss:  -> x w | 0 0.25"


def test_nothing_to_split():
    plain = net("a: data -> x", "b: x -> y", inputs="data")
    before = plain.SerializeToString()
    assert insert_splits(plain) == plain
    assert plain.SerializeToString() == before


def test_unknown_bottom():
    with pytest.raises(NetError, match=r"layer 'c': unknown bottom blob 'fc_8' \(did you mean 'fc8'\?\)") as error:
        insert_splits(net("a: data -> fc8", "c: fc_8 -> y", inputs="data"))
    assert error.value.layer == "c"


def test_a_blob_made_later_is_unknown():
    with pytest.raises(NetError, match="unknown bottom blob 'y'"):
        insert_splits(net("a: y -> x", "b: -> y"))


@st.composite
def _nets(draw):
    blobs = ["in0", "in1"]
    result = caffe_pb2.NetParameter(input=blobs)
    for i in range(draw(st.integers(0, 8))):
        bottoms = draw(st.lists(st.sampled_from(blobs), max_size=3))
        # Old names among the tops make in-place layers and blobs that are written anew.
        tops = draw(st.lists(st.sampled_from([*blobs, f"t{i}", f"u{i}"]), max_size=2, unique=True))
        result.layer.add(name=f"l{i}", type="Power", bottom=bottoms, top=tops)
        blobs += [top for top in tops if top not in blobs]
    return result


def _reads(net) -> list[tuple[str, list[tuple[str, int]]]]:
    """For each layer that is no split, the (layer, top) that each bottom comes from, through splits."""
    writer = {name: ("input", i) for i, name in enumerate(net.input)}
    reads = []
    for layer in net.layer:
        sources = [writer[bottom] for bottom in layer.bottom]
        split = layer.type == "Split"
        if not split:
            reads.append((layer.name, sources))
        for j, top in enumerate(layer.top):
            writer[top] = sources[0] if split else (layer.name, j)
    return reads


@settings(max_examples=300, deadline=None)
@given(_nets())
def test_random_nets(original):
    result = insert_splits(original)
    # The data flow is the same, no version of a blob is read twice, and a second pass finds nothing to do.
    assert _reads(result) == _reads(original)
    version: Counter[str] = Counter()
    read: Counter[tuple[str, int]] = Counter()
    for layer in result.layer:
        for bottom in layer.bottom:
            read[bottom, version[bottom]] += 1
        for top in layer.top:
            version[top] += 1
    assert all(count == 1 for count in read.values())
    assert insert_splits(result) == result


@pytest.mark.parametrize(
    ("case", "prototxt", "model"),
    [
        ("slim_largefov_small", "net.prototxt", "model.caffemodel"),
        ("slim_vgg128_noup_small", "net.prototxt", "model.caffemodel"),
        ("train_slim_step", "train.prototxt", "snap_iter_10.caffemodel"),
        ("solver_step", "train.prototxt", "snap_iter_10.caffemodel"),
    ],
)
def test_layers_of_the_models_that_the_original_saved(case, prototxt, model):
    folder = case_dir(case)
    layers = insert_splits(filter_net(read_net(folder / prototxt), "TRAIN" if "train" in prototxt else "TEST")).layer
    ours = [(layer.name, layer.type, list(layer.bottom), list(layer.top)) for layer in layers]
    theirs = [(layer.name, layer.type, layer.bottoms, layer.tops) for layer in CaffeModel(folder / model).layers]
    assert ours == theirs


def test_split_names_do_not_depend_on_the_layout():
    v1 = parse_net('input: "d" layers { name: "r" type: RELU bottom: "d" bottom: "d" top: "e" }')
    v2 = parse_net('input: "d" layer { name: "r" type: "ReLU" bottom: "d" bottom: "d" top: "e" }')
    assert (v1.dialect, v2.dialect) == ("v1", "v2")
    assert insert_splits(v1).layer == insert_splits(v2).layer
