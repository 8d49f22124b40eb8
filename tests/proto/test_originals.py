"""Every prototxt that the original ran is read, and as protobuf's own parser reads it."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from deeplab_caffe.proto import caffe_pb2, filter_net, format_message, insert_splits, parse_net, read_net, read_solver
from tests.proto.originals import file_id, original_files

PROTOTXTS = original_files("prototxt")


@pytest.mark.parametrize("path", PROTOTXTS, ids=file_id)
def test_prototxt(path):
    is_solver = "solver" in path.name
    expected = caffe_pb2.SolverParameter() if is_solver else caffe_pb2.NetParameter()
    text_format.Parse(path.read_text(encoding="utf-8"), expected)
    if is_solver:
        assert read_solver(path) == expected
        return
    net = read_net(path)
    assert net == expected
    assert parse_net(format_message(net)) == net
    filtered = filter_net(net, "TRAIN" if "train" in path.name else "TEST")
    assert insert_splits(insert_splits(filtered)) == insert_splits(filtered)
