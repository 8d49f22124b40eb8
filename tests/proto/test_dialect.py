from __future__ import annotations

import dataclasses

import pytest

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import V1, V2, caffe_pb2, dialect_of, parse_net


def test_every_flag_tells_the_dialects_apart():
    for field in dataclasses.fields(V1):
        assert getattr(V1, field.name) != getattr(V2, field.name), field.name


def test_what_is_asked_for_goes_before_what_the_net_says_and_that_before_its_form():
    v1, v2 = parse_net("layers { type: RELU }"), parse_net("layer { type: 'ReLU' }")
    assert (dialect_of(v1), dialect_of(v2)) == (V1, V2)
    assert (dialect_of(v1, "v2"), dialect_of(v2, "v1")) == (V2, V1)
    assert dialect_of(caffe_pb2.NetParameter(layer=v1.layer)) is V2
    assert dialect_of(caffe_pb2.NetParameter(layer=v1.layer, dialect="v1")) is V1
    assert dialect_of(caffe_pb2.NetParameter(layers=[{"type": 18}])) is V1
    with pytest.raises(NetError, match="dialect must be v1 or v2, got 'v3'"):
        dialect_of(v1, "v3")
