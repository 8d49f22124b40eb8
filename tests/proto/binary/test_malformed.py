"""Bad binary files: each gives a CaffeModelError with file, byte and layer, or is read as protobuf reads it."""

from __future__ import annotations

import os
import random
import tracemalloc

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import CaffeModel, caffe_pb2, read_blob, read_solverstate
from deeplab_caffe.proto.binary.wire import MAX_PARTS
from deeplab_caffe.proto.dims import MAX_AXES
from tests.proto.encode import blob_4d, chunk, doubles, floats, number, open_model, tag, v1_layer, v2_layer, varint
from tests.proto.oracle import assert_same, bvlc_schema
from tests.proto.originals import original_files

ONE = blob_4d(1, 1, 1, 1) + chunk(5, floats(1))


def small_v1() -> bytes:
    net = caffe_pb2.NetParameter(name="small", input=["data"])
    layer = net.layers.add(name="conv1", type=4, bottom=["data"], top=["conv1"], blobs_lr=[1, 2], weight_decay=[1, 0])
    layer.convolution_param.weight_filler.std = 0.5
    layer.blobs.add(num=2, channels=1, height=1, width=2, data=[1, 2, 3, 4], diff=[5, 6, 7, 8])
    layer.blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    net.layers.add(name="data_split", type=22, bottom=["data"], top=["a", "b"])
    return net.SerializeToString()


def test_files_named_as_another_kind(tmp_path):
    """A solverstate's first field, the iteration, is no caffemodel's name, and the other way round."""
    state, model = tmp_path / "a_iter_2.solverstate", tmp_path / "a_iter_2.caffemodel"
    state.write_bytes(number(1, 2))
    model.write_bytes(small_v1())
    with pytest.raises(CaffeModelError, match="is not a sound caffemodel but, by its name, a solverstate: field 1"):
        CaffeModel(state)
    with pytest.raises(CaffeModelError, match="is not a sound solverstate but, by its name, a caffemodel: field 1"):
        read_solverstate(model)
    with pytest.raises(CaffeModelError, match="is not a sound caffemodel: field 1"):
        open_model(tmp_path, number(1, 2))


def small_half() -> bytes:
    net = caffe_pb2.NetParameter(name="half")
    layer = net.layer.add(name="ip", type="InnerProduct", bottom=["x"], top=["y"])
    half, single = np.arange(6, dtype="<f2").tobytes(), np.arange(6, dtype="<f4").tobytes()
    blob = layer.blobs.add(raw_data_type=2, raw_data=half, raw_diff_type=1, raw_diff=single)
    blob.shape.dim.extend([2, 3])
    blob = layer.blobs.add(raw_data_type=0, raw_data=np.ones(2, "<f8").tobytes())
    blob.shape.dim.extend([2])
    return net.SerializeToString()


def small_v2() -> bytes:
    net = bvlc_schema(packed=False).new("NetParameter")
    layer = net.layer.add(name="ip", type="InnerProduct", bottom=["x"], top=["y"])
    blob = layer.blobs.add(data=[1, 2, 3, 4, 5, 6], diff=[1, 2, 3, 4, 5, 6])
    blob.shape.dim.extend([2, 3])
    blob = layer.blobs.add(double_data=[1, 2])
    blob.shape.dim.extend([2])
    return net.SerializeToString()


SMALL = {
    "v1": (small_v1, caffe_pb2.NetParameter),
    "v2": (small_v2, bvlc_schema().messages["NetParameter"]),
    "half": (small_half, caffe_pb2.NetParameter),
}


def assert_names_its_place(error: CaffeModelError, path: os.PathLike[str], raw: bytes) -> None:
    assert str(error).startswith(os.fspath(path))
    assert error.offset is None or 0 <= error.offset <= len(raw)


def check(folder, raw: bytes, message_class) -> bool:
    """Whether the bytes are a model; if so, it must be the one that protobuf sees, where protobuf sees one."""
    try:
        model = open_model(folder, raw)
    except CaffeModelError as error:
        assert_names_its_place(error, folder, raw)
        return False
    for layer in model.layers:
        for blob in layer.blobs:
            assert blob.data.nbytes <= len(raw)
    try:
        net = message_class.FromString(raw)
    except DecodeError:  # bad bytes in a part that is none of our reader's business
        return True
    assert_same_but_for_unknown_types(model, net)
    return True


def assert_same_but_for_unknown_types(model: CaffeModel, net) -> None:
    # An enum number that the schema lacks is an unknown field to protobuf; we name it UNKNOWN_<number>.
    for mine, theirs in zip(model.layers, net.layers, strict=False):
        if mine.type.startswith("UNKNOWN_") or (mine.type == "Deconvolution" and not theirs.HasField("type")):
            mine.type = ""
        if not theirs.HasField("type"):
            theirs.type = 0
    assert_same(model, net)


@pytest.mark.parametrize("kind", SMALL)
def test_truncated_at_every_byte(tmp_path, kind):
    make, message_class = SMALL[kind]
    raw = make()
    assert check(tmp_path, raw, message_class)
    whole = sum(check(tmp_path, raw[:length], message_class) for length in range(len(raw)))
    # Cut between two layers a file is a smaller model; nowhere else may it pass for one.
    assert whole <= 2


@pytest.mark.parametrize("kind", SMALL)
def test_every_bit_flipped(tmp_path, kind):
    make, message_class = SMALL[kind]
    raw = make()
    refused = 0
    for at in range(len(raw)):
        for bit in range(8):
            damaged = bytearray(raw)
            damaged[at] ^= 1 << bit
            refused += not check(tmp_path, bytes(damaged), message_class)
    assert refused > len(raw)


@pytest.mark.parametrize("kind", SMALL)
def test_every_byte_replaced_and_inserted(tmp_path, kind):
    make, message_class = SMALL[kind]
    raw = make()
    for at in range(len(raw)):
        for byte in (0x00, 0x0B, 0x7F, 0x80, 0xFF):
            check(tmp_path, raw[:at] + bytes([byte]) + raw[at + 1 :], message_class)
            check(tmp_path, raw[:at] + bytes([byte]) + raw[at:], message_class)
        check(tmp_path, raw[:at] + raw[at + 1 :], message_class)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_random_bytes(tmp_path, raw):
    check(tmp_path, raw, caffe_pb2.NetParameter)
    # Random bytes seldom get into a layer; wrapped in one they do.
    check(tmp_path, chunk(2, raw), caffe_pb2.NetParameter)
    check(tmp_path, chunk(2, chunk(6, raw)), caffe_pb2.NetParameter)


def test_the_originals_model_damaged(tmp_path):
    paths = [path for path in original_files("caffemodel") if path.stat().st_size < 400_000]
    if not paths:
        pytest.skip("no golden caffemodel here")
    raw = max(paths, key=lambda path: path.stat().st_size).read_bytes()
    random_numbers = random.Random(0)
    for _ in range(60):
        at = random_numbers.randrange(len(raw))
        damaged = bytearray(raw)
        damaged[at] ^= 1 << random_numbers.randrange(8)
        check(tmp_path, bytes(damaged), caffe_pb2.NetParameter)
        check(tmp_path, raw[:at], caffe_pb2.NetParameter)


@pytest.mark.parametrize(
    ("raw", "layer", "message"),
    [
        (v1_layer("a", blob_4d(1, 1, 1, 2) + chunk(5, floats(1))), "a", r"blob 0: the shape \(1, 1, 1, 2\) wants 2"),
        (v1_layer("a", ONE, ONE + chunk(6, floats(1, 2))), "a", "blob 1: .* wants 1 numbers, diff has 2"),
        (v1_layer("a", blob_4d(1, 1, 1, 2)), "a", "wants 2 numbers, the file has none"),
        (v1_layer("a", chunk(5, floats(1))), "a", r"\(0, 0, 0, 0\) wants 0 numbers, data has 1"),
        (v1_layer("a", blob_4d(1, 1, 1, 2**64 - 1) + chunk(5, floats(1))), "a", "width is -1: a dimension cannot"),
        (v1_layer("a", blob_4d(*[2**31 - 1] * 4)), "a", "wants 21267647892944572736998860269687930881 numbers"),
        # 2**64 elements: zero in 64 bits, which is how many the file has
        (v1_layer("a", blob_4d(2**16, 2**16, 2**16, 2**16)), "a", "wants 18446744073709551616 numbers"),
        (v2_layer("a", chunk(7, chunk(1, varint(2**62) * 2 + varint(0)))), "a", "cannot be an array's"),
        (v2_layer("a", chunk(7, chunk(1, varint(2**63)))), "a", "dimension 0 is -9223372036854775808"),
        (v2_layer("a", chunk(7, chunk(1, b"\x01" * (MAX_AXES + 1)))), "a", "more than 32 dimensions"),
        (v2_layer("a", chunk(7, chunk(1, b"\x80"))), "a", "a varint runs past the end"),
        (v2_layer("a", chunk(7, chunk(1, b"\xff" * 11))), "a", "longer than 64 bits"),
        (v2_layer("a", chunk(7, tag(1, 5) + b"1234")), "a", "'dim'. is 32-bit, expected"),
        (v1_layer("a", blob_4d(1, 1, 1, 1) + chunk(5, b"12345")), "a", "has 5 bytes, no multiple of 4"),
        (chunk(2, chunk(4, "a") + chunk(8, b"\x00\x00")), "a", "packed field 8 has 2 bytes, no multiple of 4"),
        (v2_layer("a", chunk(7, number(1, 1)) + chunk(8, doubles(1)[:4])), "a", "has 4 bytes, no multiple of 8"),
        (v1_layer("a", number(5, 1)), "a", "field 5 .'data'. is varint, expected length-delimited"),
        (v1_layer("a", chunk(1, "x")), "a", "field 1 .'num'. is length-delimited, expected varint"),
        # opencv issue 29152: a packed blobs_lr shorter than a float
        (chunk(2, chunk(4, "a") + chunk(7, b"\x00\x00")), "a", "packed field 7 has 2 bytes, no multiple of 4"),
        (chunk(2, chunk(4, "a") + number(7, 1)), "a", "is varint, expected 32-bit"),
        (chunk(2, chunk(6, b"\xff")), "#0", "blob 0: a varint runs past"),
        (v1_layer("ok") + chunk(2, b"\x0e\x00"), "#1", "unknown wire type 6"),
        (chunk(2, chunk(4, b"\xff\xfe")), "#0", "'name'. is not UTF-8"),
        (chunk(2, number(4, 1)), "#0", "'name'. is varint, expected"),
        (chunk(2, chunk(5, "RELU")), "#0", "'type'. is length-delimited, expected varint"),
        (chunk(2, number(6, 1)), "#0", "'blobs'. is varint"),
        (chunk(2, number(1, 1)), "#0", "'layer'. is varint"),
        (chunk(2, b"\x0b" * 5000), "#0", "nested more than 100 deep"),
        (number(2, 1), None, "'layers'. is varint"),
        (number(1, 1), None, "'name'. is varint"),
        (v1_layer("a") + v2_layer("b"), None, "holds layers of the V1 and of the V2 layout"),
        (chunk(1, "net"), None, "has no layers: is it a caffemodel"),
        (tag(2, 2) + varint(2**63) + b"x", None, "wants 9223372036854775808 bytes where 1 remain"),
    ],
)  # fmt: skip
def test_named_faults(tmp_path, raw, layer, message):
    with pytest.raises(CaffeModelError, match=message) as error:
        open_model(tmp_path, raw)
    assert error.value.layer == layer
    assert error.value.path == os.fspath(tmp_path / "m.caffemodel")
    if "no layers" not in message:
        assert 0 <= error.value.offset < len(raw)
        assert f" at byte {error.value.offset}" in str(error.value)


def test_the_offset_is_that_of_the_fault(tmp_path):
    start = chunk(1, "net") + v1_layer("ok", ONE)
    bad = chunk(4, "bad") + number(5, 4)
    with pytest.raises(CaffeModelError) as error:
        open_model(tmp_path, start, chunk(2, bad + chunk(6, blob_4d(1, 1, 1, 1) + chunk(5, b"123"))))
    # tag and length of the layer, its first fields, tag and length of the blob, its four dimensions
    assert error.value.offset == len(start) + 2 + len(bad) + 2 + 8
    assert error.value.layer == "bad"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "is empty"),
        (b'name: "x"\nlayers { type: RELU }\n', "is not a binary caffemodel but text .a prototxt"),
        (b"404", "is not a binary caffemodel but text .a prototxt"),
        ("# 注释\nlayers { type: RELU }\n".encode("gbk"), "but text"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "but an HDF5 file"),
        (b"PK\x03\x04" + b"\0" * 99, "but a zip archive .a PyTorch checkpoint"),
        (b"\x1f\x8b\x08" + b"\0" * 99, "but a gzip archive"),
        (b"<!DOCTYPE html>\n<html>", "but a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "but a git-lfs pointer"),
    ],
)
def test_other_files_are_told_apart(tmp_path, raw, message):
    path = tmp_path / "x"
    path.write_bytes(raw)
    with pytest.raises(CaffeModelError, match=message):
        CaffeModel(path)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(CaffeModelError, match=r"x: cannot be read: No such file"):
        CaffeModel(tmp_path / "x")
    with pytest.raises(CaffeModelError, match=r"is a directory"):
        CaffeModel(tmp_path)
    with pytest.raises(CaffeModelError, match=r"cannot be read"):
        CaffeModel(os.fspath(tmp_path / "a\0b"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CaffeModelError, match=r"not a regular file"):
            CaffeModel(tmp_path / "pipe")


def test_solverstate_and_binaryproto_are_no_caffemodels(tmp_path):
    state = caffe_pb2.SolverState(iter=3, learned_net="x.caffemodel").SerializeToString()
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=1, width=1, data=[1]).SerializeToString()
    for raw in (state, blob):
        with pytest.raises(CaffeModelError, match=r"'name'. is varint, expected length-delimited"):
            open_model(tmp_path, raw)


def test_reading_allocates_no_more_than_the_file_has(tmp_path):
    """Sizes that a file claims cost nothing; what is gathered is in proportion to the file."""
    claims = [
        tag(2, 2) + varint(2**40),
        v1_layer("a", blob_4d(*[2**31 - 1] * 4) + chunk(5, b"")),
        v1_layer("a", blob_4d(1, 1, 1, 1) + tag(5, 2) + varint(2**35)),
        v2_layer("a", chunk(7, chunk(1, b"\x02" * 1_000_000))),
    ]
    for raw in claims:
        tracemalloc.start()
        with pytest.raises(CaffeModelError):
            open_model(tmp_path, raw)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000 + 4 * len(raw)
        tracemalloc.stop()

    values = np.arange(200_000, dtype="<f4")
    singly = b"".join(b"\x2d" + value.tobytes() for value in values)
    pieces = b"".join(chunk(5, piece.tobytes()) for piece in np.array_split(values, 50_000))
    for numbers in (singly, pieces):
        raw = v1_layer("a", blob_4d(1, 1, 1, 200_000) + numbers)
        (tmp_path / "m").write_bytes(raw)
        tracemalloc.start()
        model = CaffeModel(tmp_path / "m")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000 + 3 * len(raw)
        tracemalloc.stop()
        np.testing.assert_array_equal(model.layers[0].blobs[0].data.ravel(), values)


def test_a_file_of_nothing_but_parts(tmp_path):
    with pytest.raises(CaffeModelError, match=r"more than 100000 layers, blobs and names"):
        open_model(tmp_path, chunk(2, b"") * (MAX_PARTS + 1))
    (tmp_path / "s").write_bytes(number(1, 1) + chunk(3, b"") * (MAX_PARTS + 1))
    with pytest.raises(CaffeModelError, match=r"more than 100000 blobs"):
        read_solverstate(tmp_path / "s")


def test_what_counts_as_a_part(tmp_path, monkeypatch):
    parts = (chunk(1, "net"), chunk(3, "data"), v1_layer("a", ONE))  # an input, a layer, a bottom, a top and a blob
    monkeypatch.setattr("deeplab_caffe.proto.binary.model.MAX_PARTS", 5)
    assert len(open_model(tmp_path, *parts).layers) == 1
    for more in (chunk(3, "label"), chunk(2, b""), chunk(2, chunk(2, "in")), chunk(2, chunk(6, ONE))):
        with pytest.raises(CaffeModelError, match="has more than 5 layers, blobs and names"):
            open_model(tmp_path, *parts, more)
    monkeypatch.setattr("deeplab_caffe.proto.binary.model.MAX_PARTS", 4)
    with pytest.raises(CaffeModelError, match="has more than 4 layers, blobs and names"):
        open_model(tmp_path, *parts)


def test_the_current_step_of_a_state(tmp_path):
    path = tmp_path / "s"
    path.write_bytes(number(1, 5) + number(4, 2**32 - 1))
    assert read_solverstate(path).current_step == -1
    assert caffe_pb2.SolverState.FromString(path.read_bytes()).current_step == -1
    path.write_bytes(number(1, 5) + chunk(4, "x"))
    with pytest.raises(CaffeModelError, match=r"field 4 .'current_step'. is length-delimited, expected varint"):
        read_solverstate(path)


def test_states_and_blobs_damaged(tmp_path):
    state = caffe_pb2.SolverState(iter=7, learned_net="m", current_step=2)
    state.history.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    raw = state.SerializeToString()
    blob = caffe_pb2.BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2]).SerializeToString()
    path = tmp_path / "x"
    refused = 0
    for good, read in ((raw, read_solverstate), (blob, read_blob)):
        for at in range(len(good)):
            for damaged in (
                good[:at],
                *(good[:at] + bytes([good[at] ^ 1 << bit]) + good[at + 1 :] for bit in range(8)),
            ):
                path.write_bytes(damaged)
                try:
                    read(path)
                except CaffeModelError as error:
                    assert_names_its_place(error, path, damaged)
                    refused += 1
    assert refused > len(raw)
