"""Numbers as raw bytes, as NVIDIA's Caffe stores them: by hand, written, damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import CaffeModel, caffe_pb2, read_blob, upgrade_net, write_caffemodel
from deeplab_caffe.proto.binary.half import HalfWarning, fits_half
from deeplab_caffe.proto.raw import raw_in_message
from tests.proto.encode import blob_4d, chunk, doubles, floats, number, open_model, tag, v1_layer, v2_layer, varint

DOUBLE, FLOAT, FLOAT16, INT = 0, 1, 2, 3


def halves(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}e", *values)


def shape(*dims: int) -> bytes:
    return chunk(7, chunk(1, b"".join(map(varint, dims))))


def raw(kind: int, content: bytes) -> bytes:
    return number(10, kind) + chunk(12, content)


@pytest.mark.parametrize(
    ("kind", "content", "dtype"),
    [
        (FLOAT16, halves(1, -2.5, 65504), "<f2"),
        (FLOAT, floats(1, -2.5, 65504), "<f4"),
        (DOUBLE, doubles(1, -2.5, 65504), "<f8"),
    ],
)
def test_by_hand(tmp_path, kind, content, dtype):
    layer = v2_layer("a", shape(3) + raw(kind, content), blob_4d(1, 1, 1, 3) + chunk(12, content) + number(10, kind))
    first, second = open_model(tmp_path, layer).layers[0].blobs
    assert (first.shape, second.shape, first.data.dtype) == ((3,), (1, 1, 1, 3), np.dtype(dtype))
    assert first.data.tolist() == second.data.ravel().tolist() == [1, -2.5, 65504]
    assert np.shares_memory(first.data, second.data) is False
    assert not first.data.flags.writeable
    copy = first.copy()
    assert (copy.dtype, copy.flags.aligned, copy.flags.writeable) == (np.result_type(dtype, np.float32), True, True)
    assert (first.diff, second.diff) == (None, None)


def test_every_half_becomes_its_float(tmp_path):
    everything = np.arange(1 << 16, dtype="<u2")
    model = open_model(tmp_path, v1_layer("a", blob_4d(1, 1, 256, 256) + raw(FLOAT16, everything.tobytes())))
    copy = model.layers[0].blobs[0].copy().ravel()
    assert copy.dtype == np.float32
    assert np.array_equal(copy.astype("<f2").view("<u2")[np.isfinite(copy)], everything[np.isfinite(copy)])
    # 1 sign, 5 bits of exponent, 10 of fraction: infinity and NaN have all bits of the exponent.
    assert np.isinf(copy).sum() == 2
    assert np.isnan(copy).sum() == 2 * 1023
    assert copy[0x0001] == 2.0**-24
    assert copy[0x3C01] == 1 + 2.0**-10


def test_gradients(tmp_path):
    blob = shape(2) + raw(FLOAT16, halves(1, 2)) + number(11, FLOAT16) + chunk(13, halves(3, 4))
    found = open_model(tmp_path, v2_layer("a", blob)).layers[0].blobs[0]
    assert found.diff.tolist() == [3, 4]


def test_lists_of_numbers_win_over_bytes(tmp_path):
    bytes_too = raw(FLOAT16, halves(9, 9))
    for numbers, expected in (
        (chunk(5, floats(1, 2)), [1, 2]),
        (chunk(8, doubles(3, 4)), [3, 4]),
        (chunk(5, b""), [9, 9]),
    ):
        blob = open_model(tmp_path, v2_layer("a", bytes_too + numbers + shape(2))).layers[0].blobs[0]
        assert blob.data.tolist() == expected


def test_lists_of_numbers_win_over_bytes_in_messages():
    for name in ("data", "diff"):
        blob = caffe_pb2.BlobProto(**{f"raw_{name}_type": FLOAT16, f"raw_{name}": halves(9, 8)})
        assert raw_in_message(blob, name).tolist() == [9, 8]
        for numbers in (name, f"double_{name}"):
            both = caffe_pb2.BlobProto(**{numbers: [1, 2]})
            assert raw_in_message(both, name) is None
            both.MergeFrom(blob)
            assert raw_in_message(both, name) is None


def test_of_one_field_twice_the_last_counts(tmp_path):
    blob = shape(2) + raw(FLOAT, floats(7, 8, 9)) + raw(FLOAT16, halves(1, 2))
    assert open_model(tmp_path, v2_layer("a", blob)).layers[0].blobs[0].data.tolist() == [1, 2]


def test_no_numbers(tmp_path):
    assert open_model(tmp_path, v2_layer("a", shape(0, 3) + raw(FLOAT16, b""))).layers[0].blobs[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (shape(2) + chunk(12, halves(1, 2)), "raw_data without raw_data_type"),
        (shape(2) + raw(INT, floats(1, 2)), r"raw_data_type is 3 \(INT\), expected DOUBLE, FLOAT or FLOAT16"),
        (shape(2) + raw(77, floats(1, 2)), r"raw_data_type is 77 \(which no Caffe has\)"),
        (shape(2) + raw(2**64 - 1, floats(1, 2)), r"raw_data_type is 18446744073709551615 \("),
        (shape(2) + raw(FLOAT16, halves(1, 2)[:3]), r"raw_data has 3 bytes, no multiple of 2 \(FLOAT16\)"),
        (shape(2) + raw(FLOAT16, halves(1, 2, 3)), r"the shape \(2,\) wants 2 numbers, data has 3"),
        (shape(2) + raw(FLOAT, halves(1, 2)), r"the shape \(2,\) wants 2 numbers, data has 1"),
        (shape(2) + raw(FLOAT16, b""), r"the shape \(2,\) wants 2 numbers, the file has none"),
        (shape(2**40, 2**40) + raw(FLOAT16, halves(1, 2)), "wants 1208925819614629174706176 numbers, data has 2"),
        (shape(2) + number(10, FLOAT16) + number(12, 5), r"field 12 \('raw_data'\) is"),
        (shape(2) + chunk(10, b"x") + chunk(12, halves(1, 2)), r"field 10 \('raw_data_type'\) is"),
        (shape(2) + number(10, FLOAT16) + tag(12, 2) + varint(2**62), r"field 12 wants \d+ bytes where 0 remain"),
        (shape(1) + raw(FLOAT16, halves(1)) + number(11, INT) + chunk(13, halves(1)), r"raw_diff_type is 3 \(INT\)"),
    ],
)
def test_bad_bytes(tmp_path, blob, message):
    with pytest.raises(CaffeModelError, match=message) as caught:
        open_model(tmp_path, v2_layer("conv", blob))
    assert (caught.value.layer, caught.value.path) == ("conv", str(tmp_path / "m.caffemodel"))


def test_truncated_anywhere(tmp_path):
    whole = v2_layer("conv", shape(2, 3) + raw(FLOAT16, halves(*range(6))))
    for length in range(1, len(whole)):
        with pytest.raises(CaffeModelError):
            open_model(tmp_path, whole[:length])


def test_a_mean_image(tmp_path):
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(blob_4d(1, 3, 1, 1) + raw(FLOAT16, halves(104, 117, 123)))
    assert read_blob(path).data.ravel().tolist() == [104, 117, 123]


def net_of(dialect: str) -> caffe_pb2.NetParameter:
    if dialect == "v1":
        net = caffe_pb2.NetParameter(name="n", input=["data"], input_dim=[1, 3, 4, 5])
        net.layers.add(name="conv", type=4, bottom=["data"], top=["conv"])
        return net
    net = caffe_pb2.NetParameter(name="n", input=["data"], dialect="v2")
    net.layer.add(name="conv", type="Convolution", bottom=["data"], top=["conv"])
    return net


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_there_and_back(tmp_path, dialect):
    generator = np.random.default_rng(0)
    weight, bias = generator.standard_normal((5, 4, 3, 3)).astype(np.float32), np.float32([0.1, 1e-7, 3, 4, 5])
    weight[0, 0, 0] = np.nan, np.inf, 1e-9
    diff = generator.standard_normal(weight.shape).astype(np.float32)
    path = tmp_path / "half.caffemodel"
    write_caffemodel(path, net_of(dialect), {"conv": [weight, bias]}, {"conv": [diff, None]}, dtype="float16")
    found = CaffeModel(path).by_name["conv"].blobs
    assert (found[0].data.dtype, found[0].diff.dtype, found[1].data.dtype) == (np.float16, np.float32, np.float32)
    np.testing.assert_array_equal(found[0].data, weight.astype(np.float16))
    np.testing.assert_array_equal(found[0].diff, diff)
    np.testing.assert_array_equal(found[1].data.ravel(), bias)
    finite = np.isfinite(weight)
    assert np.abs(found[0].copy()[finite] - weight[finite]).max() <= 2.0**-11 * np.abs(weight)[finite].max()
    # protobuf reads it, and writes the same bytes.
    message = caffe_pb2.NetParameter.FromString(path.read_bytes())
    assert message.SerializeToString() == path.read_bytes()
    blob = (message.layers or message.layer)[0].blobs[0]
    assert (blob.raw_data_type, len(blob.data)) == (caffe_pb2.FLOAT16, 0)
    assert np.frombuffer(blob.raw_data, "<f2").tobytes() == weight.astype("<f2").tobytes()


def test_half_the_room_and_again_the_same(tmp_path):
    weight = np.random.default_rng(0).standard_normal((50, 40, 3, 3)).astype(np.float32)
    first, second, plain = (tmp_path / name for name in ("a", "b", "c"))
    write_caffemodel(first, net_of("v2"), {"conv": [weight]}, dtype="float16")
    write_caffemodel(
        second, net_of("v2"), {"conv": [CaffeModel(first).by_name["conv"].blobs[0].copy()]}, dtype="float16"
    )
    write_caffemodel(plain, net_of("v2"), {"conv": [weight]}, dtype="float32")
    assert first.read_bytes() == second.read_bytes()
    assert plain.stat().st_size - first.stat().st_size == pytest.approx(2 * weight.size, abs=20)


@pytest.mark.parametrize("largest", [65505, 1e6, 6.0e-5, 1e-12])
def test_numbers_beyond_half_stay(tmp_path, largest):
    weight = np.full((2, 2, 1, 1), largest, np.float32)
    stays = r"parameter blob 0 of layer 'conv' stays float32: its largest number, "
    with pytest.warns(HalfWarning, match=stays) as found:
        write_caffemodel(tmp_path / "x", net_of("v2"), {"conv": [weight]}, dtype="float16")
    assert found[0].filename == __file__
    assert CaffeModel(tmp_path / "x").by_name["conv"].blobs[0].data.tobytes() == weight.tobytes()


def test_what_is_stored_in_half():
    # Each pair: the shape, and whether small numbers matter less there than large ones.
    for dims, expected in (((8, 4, 3, 3), True), ((8, 1, 3, 3), True), ((8, 4), True), ((1, 1, 8, 4), True)):
        assert fits_half(np.ones(dims, np.float32), "x") is expected
    for dims in ((8,), (1,), (), (1, 1, 1, 8), (1, 8, 1, 1)):
        assert not fits_half(np.ones(dims, np.float32), "x")
    assert fits_half(np.zeros((2, 2), np.float32), "x")
    assert fits_half(np.full((2, 2), np.nan, np.float32), "x")
    assert fits_half(np.float32([[65504, 1e-30], [-65504, np.inf]]), "x")
    assert fits_half(np.full((2, 2), 2.0**-14, np.float32), "x")  # the smallest normal number


def test_dialects_of_programs_that_do_not_read_it(tmp_path):
    for dialect in ("v1", "v2", "merge", "bvlc"):
        with pytest.raises(CaffeModelError, match="dtype float16: only this package and NVIDIA's Caffe read it"):
            write_caffemodel(tmp_path / "x", net_of("v2"), {"conv": []}, dialect=dialect, dtype="float16")
    with pytest.raises(CaffeModelError, match="got dtype 'half': expected float32 or, without a dialect, float16"):
        write_caffemodel(tmp_path / "x", net_of("v2"), {"conv": []}, dtype="half")
    assert not list(tmp_path.iterdir())


def test_messages_with_bytes_are_written_as_numbers(tmp_path):
    net = net_of("v2")
    for kind, content in ((FLOAT16, halves(1, 2)), (DOUBLE, doubles(0.1, 2))):
        blob = net.layer[0].blobs.add(raw_data_type=kind, raw_data=content)
        blob.shape.dim.append(2)
    for dialect in ("v2", "merge", "bvlc"):
        write_caffemodel(tmp_path / "x", net, dialect=dialect)
        blobs = CaffeModel(tmp_path / "x").by_name["conv"].blobs
        assert [(blob.data.dtype.itemsize, blob.data.tolist()) for blob in blobs] == [(4, [1, 2]), (8, [0.1, 2])]
    with pytest.raises(CaffeModelError, match="raw_data: DOUBLE has no equivalent"):
        write_caffemodel(tmp_path / "x", net, dialect="v1")
    del net.layer[0].blobs[1]
    write_caffemodel(tmp_path / "x", net, dialect="v1")
    assert CaffeModel(tmp_path / "x").by_name["conv"].blobs[0].data.ravel().tolist() == [1, 2]
    net.layer[0].blobs[0].raw_data = b"x"
    with pytest.raises(CaffeModelError, match=r"layer 'conv'.*raw_data has 1 bytes"):
        write_caffemodel(tmp_path / "y", upgrade_net(net), dialect="bvlc")
