from __future__ import annotations

import numpy as np
import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe import NetError, proto

MEMORY = (
    'layers { name: "d" type: MEMORY_DATA top: "data" top: "label" '
    "memory_data_param { batch_size: 2 channels: 1 height: 1 width: 2 } } "
)
POWER = 'layers { name: "p" type: POWER bottom: "data" top: "twice" power_param { scale: 2 } }'


def test_set_input_arrays() -> None:
    net = caffe.Net(proto.parse_net(MEMORY + POWER), caffe.TEST)
    data = np.arange(8, dtype=np.float32).reshape(4, 1, 1, 2)
    net.set_input_arrays(data, np.float32([5, 6, 7, 8]))
    for first in (0, 2, 0):
        found = net.forward()
        np.testing.assert_array_equal(found["twice"], 2 * data[first : first + 2])
        assert net.blobs["label"].data.ravel().tolist() == [first + 5, first + 6]
    net.set_input_arrays(data[2:], np.zeros(2, np.float32))
    np.testing.assert_array_equal(net.forward()["twice"], 2 * data[2:])


def test_arrays_that_do_not_fit() -> None:
    net = caffe.Net(proto.parse_net(MEMORY), caffe.TEST)
    with pytest.raises(NetError, match="no arrays yet"):
        net.forward()
    with pytest.raises(NetError, match="layer 'd': set_input_arrays: .* multiple of the batch size 2, got 3"):
        net.set_input_arrays(np.zeros((3, 1, 1, 2)), np.zeros(3))
    other = caffe.Net(proto.parse_net('input: "data" input_dim: [1, 1, 1, 1] ' + POWER), caffe.TEST)
    with pytest.raises(NetError, match="the first layer must be a MEMORY_DATA"):
        other.set_input_arrays(np.zeros((3, 1, 1, 2)), np.zeros(3))
