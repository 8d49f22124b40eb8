from __future__ import annotations

import os
import stat

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import (
    CaffeModel,
    caffe_pb2,
    parse_net,
    read_blob,
    read_solverstate,
    upgrade_net,
    write_blob,
    write_caffemodel,
    write_solverstate,
)
from deeplab_caffe.proto.schema.tables import dialect_schema
from tests.proto.originals import file_id, original_files, v2_files


def net_with_blobs():
    net = caffe_pb2.NetParameter(name="n", input=["data"], input_dim=[1, 3, 4, 5])
    layer = net.layers.add(name="conv", type=4, bottom=["data"], top=["conv"], blobs_lr=[1, 2], param=["w", "b"])
    layer.convolution_param.hole = 12
    layer.blobs.add(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4])
    layer.blobs.add(num=1, channels=1, height=1, width=2, data=[5, 6], diff=[7, 8])
    net.layers.add(name="relu", type=18, bottom=["conv"], top=["conv"])
    return net


def test_bytes_are_those_of_protobuf(tmp_path):
    net = net_with_blobs()
    path = tmp_path / "m.caffemodel"
    write_caffemodel(path, net)
    assert path.read_bytes() == net.SerializeToString()
    assert CaffeModel(path).by_name["conv"].blobs[1].diff.tolist() == [[[[7, 8]]]]


def test_arrays_in_place_of_the_messages_blobs(tmp_path):
    net = net_with_blobs()
    arrays = [
        np.array(blob.data).reshape(blob.num, blob.channels, blob.height, blob.width) for blob in net.layers[0].blobs
    ]
    diffs = [None, np.array([[[[7, 8]]]])]
    path = tmp_path / "m.caffemodel"
    write_caffemodel(path, net, {"conv": arrays}, {"conv": diffs})
    assert path.read_bytes() == net.SerializeToString()
    bare = caffe_pb2.NetParameter()
    bare.CopyFrom(net)
    del bare.layers[0].blobs[:]
    write_caffemodel(path, bare, {"conv": arrays}, {"conv": diffs})
    assert path.read_bytes() == net.SerializeToString()
    write_caffemodel(path, net, {"conv": []})
    assert path.read_bytes() == bare.SerializeToString()


def test_arrays_of_any_kind_become_four_dimensional_floats(tmp_path):
    path = tmp_path / "m.caffemodel"
    arrays = [
        np.arange(6, dtype=np.float64).reshape(2, 3),
        np.arange(12).reshape(3, 4).T[::2],
        np.float32(3),
        np.zeros((0, 2)),
    ]
    write_caffemodel(path, net_with_blobs(), {"relu": arrays})
    blobs = CaffeModel(path).by_name["relu"].blobs
    assert [blob.shape for blob in blobs] == [(1, 1, 2, 3), (1, 1, 2, 3), (1, 1, 1, 1), (1, 1, 0, 2)]
    for blob, array in zip(blobs, arrays, strict=True):
        assert blob.data.dtype == np.float32
        np.testing.assert_array_equal(blob.data.ravel(), np.ravel(array))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(width=32), max_size=40), max_size=4), st.text(max_size=200), st.booleans())
def test_random_arrays_against_protobuf(tmp_path, values, name, with_diff):
    net = caffe_pb2.NetParameter(name=name)
    layer = net.layers.add(name=name, type=14)
    for numbers in values:
        layer.blobs.add(
            num=1, channels=1, height=1, width=len(numbers), data=numbers, diff=numbers if with_diff else []
        )
    expected = net.SerializeToString()
    del layer.blobs[:]
    arrays = [np.array(numbers, np.float32) for numbers in values]
    write_caffemodel(tmp_path / "m", net, {name: arrays}, {name: arrays} if with_diff else None)
    assert (tmp_path / "m").read_bytes() == expected


def bare_v1(path):
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    for layer in net.layers:
        del layer.blobs[:]
    return net


MODELS = [path for path in original_files("caffemodel") if path.stat().st_size < 2_000_000]


@pytest.mark.parametrize("path", MODELS, ids=file_id)
def test_the_originals_models_come_back_byte_for_byte(path, tmp_path):
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    model = CaffeModel(path)
    bare = bare_v1(path)
    blobs = {layer.name: [blob.data for blob in layer.blobs] for layer in model.layers if layer.blobs}
    diffs = {layer.name: [blob.diff for blob in layer.blobs] for layer in model.layers if layer.blobs}
    for written in (bare, upgrade_net(bare)):
        write_caffemodel(tmp_path / "m", written, blobs, diffs)
        assert (tmp_path / "m").read_bytes() == net.SerializeToString()


V2_MODELS = [path for path in v2_files("caffemodel") if CaffeModel(path).dialect != "v1"]


@pytest.mark.parametrize("path", V2_MODELS, ids=file_id)
def test_v2s_models_come_back_byte_for_byte(path, tmp_path):
    model = CaffeModel(path)
    dialect = "v2" if model.dialect == "bvlc" else model.dialect
    message = dialect_schema(dialect).new("NetParameter")
    message.ParseFromString(path.read_bytes())
    for layer in message.layer:
        del layer.blobs[:]
    net = parse_net(text_format.MessageToString(message))
    blobs = {layer.name: [blob.data for blob in layer.blobs] for layer in model.layers if layer.blobs}
    write_caffemodel(tmp_path / "m", net, blobs, dialect=dialect)
    assert (tmp_path / "m").read_bytes() == path.read_bytes()


def test_a_v2_net_with_blobs_of_any_axes(tmp_path):
    net = parse_net(
        'layer { name: "c" type: "InnerProduct" phase: TEST } layer { name: "i" type: "Interp" interp_param { } }'
    )
    arrays = [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, np.float32), np.float32(3), np.zeros((1,) * 6)]
    numbers = {"v2": b"\xfa\x08", "merge": b"\xca\x09"}
    for dialect, tag in numbers.items():
        write_caffemodel(tmp_path / "m", net, {"c": arrays}, {"c": [None, np.ones(2), None, None]}, dialect=dialect)
        model = CaffeModel(tmp_path / "m")
        assert model.dialect == dialect
        assert [blob.shape for blob in model.by_name["c"].blobs] == [(2, 3), (2,), (), (1,) * 6]
        assert model.by_name["c"].blobs[1].diff.tolist() == [1, 1]
        assert tag in (tmp_path / "m").read_bytes()
        message = dialect_schema(dialect).new("NetParameter").FromString((tmp_path / "m").read_bytes())
        assert not message.layer[0].blobs[0].HasField("num")
    with pytest.raises(CaffeModelError, match="layer 'i': cannot be written for BVLC Caffe: interp_param has no equi"):
        write_caffemodel(tmp_path / "n", net, dialect="bvlc")
    with pytest.raises(CaffeModelError, match="layer 'c': cannot be written for DeepLab v1: phase: TEST"):
        write_caffemodel(tmp_path / "n", net, dialect="v1")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_the_dialect_is_the_nets_unless_asked_for(tmp_path):
    for text, dialect in (("layers { name: 'r' type: RELU }", "v1"), ("layer { name: 'r' type: 'ReLU' }", "bvlc")):
        write_caffemodel(tmp_path / "m", parse_net(text))
        assert CaffeModel(tmp_path / "m").dialect == dialect
        write_caffemodel(tmp_path / "m", parse_net(text), dialect="v1")
        assert CaffeModel(tmp_path / "m").dialect == "v1"
    write_caffemodel(tmp_path / "m", net_with_blobs(), dialect="v2")
    model = CaffeModel(tmp_path / "m")
    assert model.dialect == "bvlc"  # its layers are the V2 layout's, and none tells v2 from others
    assert [(layer.name, layer.type) for layer in model.layers] == [("conv", "Convolution"), ("relu", "ReLU")]


def test_solverstate_of_v2(tmp_path):
    path = tmp_path / "s.solverstate"
    write_solverstate(path, 5, None, [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(2)], dialect="v2")
    expected = caffe_pb2.SolverState(iter=5, current_step=0)
    expected.history.add(shape={"dim": [2, 3]}, data=range(6))
    expected.history.add(shape={}, data=[2])
    assert path.read_bytes() == expected.SerializeToString()
    assert [blob.shape for blob in read_solverstate(path).history] == [(2, 3), ()]


@pytest.mark.parametrize(
    ("blobs", "diffs", "message"),
    [
        ({"cnov": []}, None, "layers that the net does not have: cnov"),
        ({"conv": [np.zeros((1, 1, 1, 1, 1))]}, None, "layer 'conv': an array of shape .* cannot be a blob"),
        ({"conv": [np.zeros(2)]}, {"conv": [np.zeros(3)]}, r"the diff has shape \(3,\), its blob \(2,\)"),
        ({"conv": [np.zeros(2)]}, {"conv": []}, "0 diffs for 1 blobs"),
        ({}, {"conv": [np.zeros(2)]}, "diffs need blobs"),
        ({"conv": [np.array(["a"])]}, None, "layer 'conv': could not convert"),
        ({"conv": [np.array([object()])]}, None, "layer 'conv': "),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(tmp_path, blobs, diffs, message):
    path = tmp_path / "m.caffemodel"
    path.write_bytes(b"old")
    with pytest.raises(CaffeModelError, match=message):
        write_caffemodel(path, net_with_blobs(), blobs, diffs)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_required_field(tmp_path):
    net = net_with_blobs()
    net.layers[1].onehot_param.SetInParent()
    with pytest.raises(CaffeModelError, match="cannot be written"):
        write_caffemodel(tmp_path / "m", net)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(CaffeModelError, match="cannot be written: No such file"):
        write_caffemodel(tmp_path / "no" / "m", net_with_blobs())
    with pytest.raises(CaffeModelError, match="is a folder"):
        write_caffemodel(tmp_path, net_with_blobs())
    with pytest.raises(CaffeModelError, match="cannot be written"):
        write_caffemodel(os.fspath(tmp_path / "a\0b"), net_with_blobs())


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_caffemodel(tmp_path / "m", net_with_blobs())
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="file modes and links of POSIX")
def test_modes_and_links(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "m")
    write_caffemodel(tmp_path / "link", net_with_blobs())
    assert (tmp_path / "link").is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o666 & ~mask


def test_an_open_model_survives_its_file_being_replaced(tmp_path):
    path = tmp_path / "m"
    write_caffemodel(path, net_with_blobs())
    model = CaffeModel(path)
    write_caffemodel(path, caffe_pb2.NetParameter(layers=[{"name": "other"}]))
    assert model.by_name["conv"].blobs[0].data.ravel().tolist() == [1, 2, 3, 4]
    assert CaffeModel(path).layers[0].name == "other"


def test_binaryproto(tmp_path):
    mean = np.random.default_rng(0).random((3, 4, 5), np.float32)
    path = tmp_path / "mean.binaryproto"
    write_blob(path, mean)
    expected = caffe_pb2.BlobProto(num=1, channels=3, height=4, width=5, data=mean.ravel().tolist())
    assert path.read_bytes() == expected.SerializeToString()
    assert read_blob(path).shape == (1, 3, 4, 5)
    np.testing.assert_array_equal(read_blob(path).data[0], mean)
    with pytest.raises(CaffeModelError, match="cannot be a blob"):
        write_blob(path, np.zeros((1,) * 5))
    path.write_bytes(b"\x08\x00")
    with pytest.raises(CaffeModelError, match="has no numbers"):
        read_blob(path)


def test_solverstate(tmp_path):
    path = tmp_path / "s.solverstate"
    history = [np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3), np.zeros((1, 1, 1, 2), np.float32)]
    write_solverstate(path, 6000, "train_iter_6000.caffemodel", history, current_step=3)
    expected = caffe_pb2.SolverState(iter=6000, learned_net="train_iter_6000.caffemodel", current_step=3)
    for array in history:
        num, channels, height, width = array.shape
        expected.history.add(num=num, channels=channels, height=height, width=width, data=array.ravel().tolist())
    assert path.read_bytes() == expected.SerializeToString()
    state = read_solverstate(path)
    assert (state.iteration, state.learned_net, state.current_step) == (6000, "train_iter_6000.caffemodel", 3)
    for blob, array in zip(state.history, history, strict=True):
        np.testing.assert_array_equal(blob.data, array)
    write_solverstate(path, 1, None, [])
    assert read_solverstate(path).learned_net == ""


def test_bad_solverstates(tmp_path):
    path = tmp_path / "s"
    with pytest.raises(CaffeModelError):
        write_solverstate(path, 2**40, None, [])
    with pytest.raises(CaffeModelError):
        write_solverstate(path, 1, None, [np.zeros((1,) * 5)])
    assert not list(tmp_path.iterdir())
    path.write_bytes(caffe_pb2.SolverState(learned_net="x").SerializeToString())
    with pytest.raises(CaffeModelError, match="has no iteration"):
        read_solverstate(path)


STATES = original_files("solverstate")


@pytest.mark.parametrize("path", STATES, ids=file_id)
def test_the_originals_states(path, tmp_path):
    raw = path.read_bytes()
    expected = caffe_pb2.SolverState.FromString(raw)
    state = read_solverstate(path)
    assert (state.iteration, state.learned_net) == (expected.iter, expected.learned_net)
    assert [blob.data.tobytes() for blob in state.history] == [
        np.array(blob.data, "<f4").tobytes() for blob in expected.history
    ]
    history = [blob.data for blob in state.history]
    write_solverstate(tmp_path / "s", state.iteration, state.learned_net, history, state.current_step)
    assert (tmp_path / "s").read_bytes() == raw
