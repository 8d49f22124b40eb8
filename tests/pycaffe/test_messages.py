from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe import NetError
from deeplab_caffe.pycaffe import io
from deeplab_caffe.pycaffe.proto import caffe_pb2


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_blobs_there_and_back() -> None:
    for shape in ((), (3,), (2, 3), (2, 3, 4, 5), (1, 2, 1, 2, 1)):
        data, diff = numbers(*shape), numbers(*shape) + 1
        blob = caffe_pb2.BlobProto.FromString(io.array_to_blobproto(data, diff).SerializeToString())
        assert tuple(blob.shape.dim) == shape
        assert io.blobproto_to_array(blob).shape == shape
        assert np.array_equal(io.blobproto_to_array(blob), data)
        assert np.array_equal(io.blobproto_to_array(blob, return_diff=True), diff)
        # Caffe of 2014 knows four axes only, by these names.
        legacy = (blob.num, blob.channels, blob.height, blob.width)
        assert legacy == (shape if len(shape) == 4 else (0, 0, 0, 0))
    with pytest.raises(NetError, match=r"the array is \(2,\), its diff \(3,\)"):
        io.array_to_blobproto(np.zeros(2), np.zeros(3))


def test_blobs_of_either_age() -> None:
    assert io.caffe_pb2.BlobProto is caffe_pb2.BlobProto  # scripts take it from there, too
    old = caffe_pb2.BlobProto(num=1, channels=3, height=1, width=2, data=range(6))
    assert io.blobproto_to_array(old).tolist() == [[[[0, 1]], [[2, 3]], [[4, 5]]]]
    new = caffe_pb2.BlobProto(data=range(6))
    new.shape.dim.extend([3, 2])
    assert io.blobproto_to_array(new).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert io.blobproto_to_array(caffe_pb2.BlobProto(data=[123])) == 123
    double = caffe_pb2.BlobProto(double_data=[1, 2], double_diff=[3, 4])
    double.shape.dim.append(2)
    assert io.blobproto_to_array(double).tolist() == [1, 2]
    assert io.blobproto_to_array(double, return_diff=True).tolist() == [3, 4]


def test_blobs_of_nvidias_caffe() -> None:
    half = caffe_pb2.BlobProto(raw_data_type=caffe_pb2.FLOAT16, raw_data=np.float16([1, 2.5]).tobytes())
    half.shape.dim.append(2)
    assert io.blobproto_to_array(half).dtype == np.float32
    assert io.blobproto_to_array(half).tolist() == [1, 2.5]
    with pytest.raises(NetError, match="holds 0 numbers"):
        io.blobproto_to_array(half, return_diff=True)
    half.raw_diff = np.float64([3, 4]).tobytes()
    with pytest.raises(NetError, match="blobproto_to_array: raw_diff without raw_diff_type"):
        io.blobproto_to_array(half, return_diff=True)
    half.raw_diff_type = caffe_pb2.DOUBLE
    assert io.blobproto_to_array(half, return_diff=True).tolist() == [3, 4]
    half.data.extend([7, 8])
    assert io.blobproto_to_array(half).tolist() == [7, 8]


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, r"\(\)"),
        ({"num": 1, "channels": 3, "height": 2}, r"\(1, 3, 2, 0\)"),
        ({"num": -1, "channels": -6}, r"\(-1, "),
    ],
)
def test_blobs_that_do_not_fit_their_shape(fields: dict[str, int], shape: str) -> None:
    with pytest.raises(ValueError, match=f"holds 6 numbers, its shape is {shape}"):
        io.blobproto_to_array(caffe_pb2.BlobProto(data=range(6), **fields))


def test_lists_of_blobs() -> None:
    arrays = [numbers(2, 3), numbers(1, 2, 3, 4)]
    text = io.arraylist_to_blobprotovector_str(arrays)
    assert text == io.arraylist_to_blobprotovecor_str(arrays)
    for found, array in zip(io.blobprotovector_str_to_arraylist(text), arrays, strict=True):
        assert np.array_equal(found, array)
    with pytest.raises(NetError, match="no BlobProtoVector"):
        io.blobprotovector_str_to_arraylist(b"\xff\xff")


def test_datums() -> None:
    for array in (numbers(3, 4, 5), np.arange(24, dtype=np.uint8).reshape(1, 4, 6)):
        datum = io.array_to_datum(array, label=7)
        assert datum.label == 7
        assert np.array_equal(io.datum_to_array(datum), array)
        assert io.datum_to_array(datum).dtype == array.dtype
        io.datum_to_array(datum)[...] = 0
    without = io.array_to_datum(np.ones((10, 10, 3)))
    assert not without.HasField("label")
    assert len(without.SerializeToString()) < len(io.array_to_datum(np.ones((10, 10, 3)), 0).SerializeToString())
    with pytest.raises(NetError, match="3 dimensions, got 2"):
        io.array_to_datum(np.zeros((2, 2)))
    with pytest.raises(NetError, match=r"holds 1 numbers, its size is \(1, 1, 2\)"):
        io.datum_to_array(caffe_pb2.Datum(channels=1, height=1, width=2, data=b"x"))


def test_an_encoded_datum_is_decoded_as_the_data_layer_does() -> None:
    file = BytesIO()
    Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).save(file, "PNG")
    datum = caffe_pb2.Datum(encoded=True, data=file.getvalue())
    assert io.datum_to_array(datum).tolist() == [[[3, 6]], [[2, 5]], [[1, 4]]]
    with pytest.raises(NetError, match="datum_to_array: the image"):
        io.datum_to_array(caffe_pb2.Datum(encoded=True, data=b"no image"))
