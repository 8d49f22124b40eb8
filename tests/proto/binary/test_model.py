from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import CaffeModel, caffe_pb2, read_solverstate
from tests.proto.encode import blob_4d, chunk, doubles, floats, number, open_model, tag, v1_layer, v2_layer, varint
from tests.proto.oracle import assert_same, bvlc_schema, deeplab_schema
from tests.proto.originals import file_id, original_files


def test_v1_by_hand(tmp_path):
    blob = blob_4d(1, 1, 2, 3) + chunk(5, floats(0, 1, 2, 3, 4, 5))
    model = open_model(
        tmp_path, chunk(1, "net"), chunk(3, "data"), v1_layer("conv", blob, blob + chunk(6, floats(*[9] * 6)))
    )
    assert (model.path, model.name, model.inputs) == (str(tmp_path / "m.caffemodel"), "net", ["data"])
    layer = model.by_name["conv"]
    assert (layer.type, layer.bottoms, layer.tops) == ("Convolution", ["in"], ["out"])
    assert layer.blobs[0].shape == (1, 1, 2, 3)
    assert layer.blobs[0].data.tolist() == [[[[0, 1, 2], [3, 4, 5]]]]
    assert layer.blobs[0].diff is None
    assert layer.blobs[1].diff.tolist() == [[[[9, 9, 9], [9, 9, 9]]]]
    assert layer.blobs[0].count == 6


def test_v2_by_hand(tmp_path):
    shape = chunk(7, chunk(1, varint(2) + varint(3)))
    model = open_model(
        tmp_path,
        v2_layer("a", shape + chunk(8, doubles(*[0.1] * 6)) + chunk(9, doubles(*[0.2] * 6))),
        v2_layer("b", chunk(7, number(1, 2)) + tag(5, 5) + floats(1) + tag(5, 5) + floats(2), type_name="BatchNorm"),
        v2_layer("c", chunk(7, b"") + chunk(5, floats(7)), type_name="Scale"),
    )
    assert [layer.type for layer in model.layers] == ["Convolution", "BatchNorm", "Scale"]
    a, b, c = (layer.blobs[0] for layer in model.layers)
    assert (a.shape, a.data.dtype, a.data[1, 2], a.diff[0, 0]) == ((2, 3), np.float64, 0.1, 0.2)
    assert (b.shape, b.data.tolist()) == ((2,), [1, 2])
    assert (c.shape, c.data.item()) == ((), 7)


def test_v0_by_hand(tmp_path):
    blob = blob_4d(1, 1, 1, 2) + chunk(5, floats(1, 2))
    inner = chunk(1, "conv1") + chunk(2, "conv") + chunk(50, blob) + chunk(51, floats(1, 2))
    layer = open_model(tmp_path, chunk(2, chunk(1, inner) + chunk(2, "data") + chunk(3, "conv1"))).layers[0]
    assert (layer.name, layer.type, layer.bottoms, layer.tops) == ("conv1", "Convolution", ["data"], ["conv1"])
    assert layer.blobs[0].data.tolist() == [[[[1, 2]]]]


def test_the_old_name_of_the_softmax_loss(tmp_path):
    assert open_model(tmp_path, v2_layer("loss", type_name="SoftmaxLoss")).layers[0].type == "SoftmaxWithLoss"


def test_number_39_is_two_layers(tmp_path):
    blob = blob_4d(1, 1, 1, 1) + chunk(5, floats(1))
    model = open_model(tmp_path, v1_layer("data", type_number=39), v1_layer("up", blob, type_number=39))
    assert [layer.type for layer in model.layers] == ["ImageSegData", "Deconvolution"]


def test_types_that_nobody_knows(tmp_path):
    model = open_model(tmp_path, v1_layer("a", type_number=99), v1_layer("b", type_number=2**64 - 1), chunk(2, b""))
    assert [layer.type for layer in model.layers] == ["UNKNOWN_99", f"UNKNOWN_{2**64 - 1}", ""]


def test_blobs_are_views_of_the_file(tmp_path):
    values = np.arange(1000, dtype=np.float32)
    model = open_model(tmp_path, v1_layer("a", blob_4d(1, 1, 1, 1000) + chunk(5, values.tobytes())))
    data = model.layers[0].blobs[0].data
    assert np.shares_memory(data, np.frombuffer(model._buffer, np.uint8))
    assert not data.flags.writeable
    del model
    gc.collect()
    np.testing.assert_array_equal(data.ravel(), values)


@pytest.mark.parametrize("name_length", range(1, 9))
def test_unaligned_blobs(tmp_path, name_length):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal(33).astype(np.float32)
    layer = v1_layer("x" * name_length, blob_4d(1, 1, 3, 11) + chunk(5, values.tobytes()))
    blob = open_model(tmp_path, layer).layers[0].blobs[0]
    np.testing.assert_array_equal(blob.data.ravel(), values)
    copy = blob.copy()
    assert copy.flags.aligned
    assert copy.flags.writeable
    assert copy.shape == (1, 1, 3, 11)
    assert torch.equal(torch.from_numpy(copy).flatten(), torch.from_numpy(values))


def test_a_blob_without_axes(tmp_path):
    # Blob::ToProto writes no shape for it: a shared PReLU, Scale and Bias with num_axes 0.
    (layer,) = open_model(tmp_path, v2_layer("a", chunk(5, floats(3)))).layers
    assert layer.blobs[0].shape == ()
    assert layer.blobs[0].data == 3
    with pytest.raises(CaffeModelError, match=r"the shape \(\) wants 1 numbers, data has 2"):
        open_model(tmp_path, v2_layer("a", chunk(5, floats(3, 4))))
    state = number(1, 7) + chunk(3, chunk(5, floats(2)))
    (tmp_path / "s").write_bytes(state)
    assert read_solverstate(tmp_path / "s").history[0].shape == ()


def test_empty_and_shapeless_blobs(tmp_path):
    blobs = (b"", blob_4d(0, 3, 2, 2), blob_4d(2, 3, 0, 2) + chunk(5, b""), number(1, 0))
    shapes = [blob.shape for blob in open_model(tmp_path, v1_layer("a", *blobs)).layers[0].blobs]
    assert shapes == [(0, 0, 0, 0), (0, 3, 2, 2), (2, 3, 0, 2), (0, 0, 0, 0)]


def test_old_dimensions_win_over_a_shape(tmp_path):
    both = blob_4d(1, 1, 2, 3) + chunk(7, chunk(1, varint(6))) + chunk(5, floats(*range(6)))
    assert open_model(tmp_path, v1_layer("a", both)).layers[0].blobs[0].shape == (1, 1, 2, 3)


def test_doubles_win_over_floats(tmp_path):
    both = blob_4d(1, 1, 1, 1) + chunk(5, floats(1)) + chunk(6, floats(2)) + chunk(8, doubles(3)) + chunk(9, doubles(4))
    blob = open_model(tmp_path, v1_layer("a", both)).layers[0].blobs[0]
    assert (blob.data.item(), blob.diff.item(), blob.data.dtype) == (3, 4, np.float64)


def test_a_shape_in_two_pieces_is_one(tmp_path):
    blob = chunk(7, chunk(1, varint(2))) + chunk(7, number(1, 3)) + chunk(5, floats(*range(6)))
    assert open_model(tmp_path, v2_layer("a", blob)).layers[0].blobs[0].shape == (2, 3)


def test_layers_of_one_name(tmp_path):
    def blob(value: float) -> bytes:
        return blob_4d(1, 1, 1, 1) + chunk(5, floats(value))

    model = open_model(
        tmp_path, v1_layer("a", blob(1)), v1_layer("a", blob(2)), v1_layer("a"), v1_layer("b"), v1_layer("b")
    )
    # As Caffe's loader, which goes through the layers in order: the last that has weights.
    assert model.by_name["a"].blobs[0].data.item() == 2
    assert len(model.layers) == 5
    assert model.by_name["b"] is model.layers[3]


def test_unknown_fields_are_passed_over(tmp_path):
    junk = number(77, 5) + chunk(78, "x" * 300) + tag(79, 5) + b"1234" + tag(80, 1) + b"12345678" + b"\xf3\x07\xf4\x07"
    blob = junk + blob_4d(1, 1, 1, 1) + junk + chunk(5, floats(3)) + chunk(7, number(9, 1) + number(1, 1))
    layer = chunk(100, junk + chunk(1, "a") + chunk(7, blob) + junk)
    assert open_model(tmp_path, junk, layer, junk).layers[0].blobs[0].data.item() == 3


def test_opening_touches_no_blob(tmp_path):
    """Half a GB opens without reading, and without allocating, more than the few bytes around the blobs."""
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("/proc/self/smaps, which tells what a mapping holds in memory, is Linux's")
    count = 125_000_000
    inner = blob_4d(1, 1, 1, count) + tag(5, 2) + varint(4 * count)
    body = chunk(4, "fc6") + number(5, 4) + tag(6, 2) + varint(len(inner) + 4 * count) + inner
    path = tmp_path / "big.caffemodel"
    with path.open("wb") as file:
        file.write(tag(2, 2) + varint(len(body) + 4 * count) + body)
        file.seek(4 * count, os.SEEK_CUR)
        file.write(v1_layer("last", blob_4d(1, 1, 1, 1) + chunk(5, floats(8))))
    assert path.stat().st_size > 500_000_000

    tracemalloc.start()
    model = CaffeModel(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert model.by_name["fc6"].blobs[0].shape == (1, 1, 1, count)
    assert model.by_name["last"].blobs[0].data.item() == 8

    resident = _resident_kb(smaps, path)
    assert resident < 10_000
    # The measure itself: what is read shows.
    assert model.by_name["fc6"].blobs[0].data[..., :5_000_000].sum() == 0
    assert _resident_kb(smaps, path) > resident + 15_000


def _resident_kb(smaps: Path, mapped: Path) -> int:
    mine, total = False, 0
    for line in smaps.read_text().splitlines():
        if "-" in line.split()[0] and ":" not in line.split()[0]:
            mine = line.endswith(str(mapped))
        elif mine and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


# Sizes, not contents, are what a reader trips over; bits are compared all the same.
_numbers = st.lists(st.floats(width=32), min_size=0, max_size=12)


@st.composite
def _blob(draw, schema):
    values = draw(_numbers)
    message = schema.new("BlobProto")
    if "shape" in message.DESCRIPTOR.fields_by_name and draw(st.booleans()):
        dims = draw(st.sampled_from([[len(values)], [1, len(values)], [len(values), 1, 1, 1, 1]]))
        message.shape.dim.extend(dims)
    else:
        message.num, message.channels, message.height, message.width = 1, len(values), 1, 1
    double = "double_data" in message.DESCRIPTOR.fields_by_name and draw(st.booleans())
    getattr(message, "double_data" if double else "data").extend(values)
    if draw(st.booleans()):
        getattr(message, "double_diff" if double else "diff").extend(values)
    return message


@st.composite
def _model(draw):
    make, layers_field = draw(
        st.sampled_from([(bvlc_schema, "layer"), (bvlc_schema, "layers"), (deeplab_schema, "layers")])
    )
    schema = make(draw(st.booleans()))
    net = schema.new("NetParameter")
    if draw(st.booleans()):
        net.name = draw(st.text(max_size=200))
    net.input.extend(draw(st.lists(st.text(max_size=5), max_size=2)))
    for _ in range(draw(st.integers(1, 4))):
        layer = getattr(net, layers_field).add()
        layer.name = draw(st.text(max_size=20))
        if layers_field == "layer":
            layer.type = draw(st.sampled_from(["Convolution", "BatchNorm", "SoftmaxWithLoss", ""]))
            layer.loss_weight.append(1)
        else:
            layer.type = draw(st.sampled_from([0, 4, 14, 39]))
            layer.blobs_lr.extend([1, 2])
        layer.bottom.extend(draw(st.lists(st.text(max_size=5), max_size=3)))
        layer.top.extend(draw(st.lists(st.text(max_size=5), max_size=3)))
        layer.blobs.extend(draw(st.lists(_blob(schema), max_size=3)))
        layer.convolution_param.num_output = 3
    return net


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_model())
def test_random_models_are_read_as_protobuf_reads_them(tmp_path, net):
    assert_same(open_model(tmp_path, net.SerializeToString()), net)


MODELS = original_files("caffemodel")


@pytest.mark.parametrize("path", MODELS, ids=file_id)
def test_the_originals_models_are_read_as_protobuf_reads_them(path):
    assert_same(CaffeModel(path), caffe_pb2.NetParameter.FromString(path.read_bytes()))
