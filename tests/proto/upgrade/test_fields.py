"""Fields of one dialect in another's messages."""

from __future__ import annotations

import pytest
from google.protobuf.wrappers_pb2 import FloatValue, Int32Value, StringValue

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.tables import dialect_schema
from deeplab_caffe.proto.text.outline import Outline, Source
from deeplab_caffe.proto.upgrade.fields import copy_fields


def test_values_go_by_their_names() -> None:
    where = Source("solver.prototxt", Outline("iter_size: 1\nsolver_type: ADAM"), into="DeepLab v1")
    for name in ("NESTEROV", "ADAGRAD"):
        target = dialect_schema("v1").new("SolverParameter")
        copy_fields(caffe_pb2.SolverParameter(solver_type=name, max_iter=7), target, where, {}, {})
        assert (str(target), target.max_iter) == (f"max_iter: 7\nsolver_type: {name}\n", 7)
    target = dialect_schema("v1").new("SolverParameter")
    with pytest.raises(PrototxtError, match="solver.prototxt:2: solver_type: ADAM has no equivalent in DeepLab v1"):
        copy_fields(caffe_pb2.SolverParameter(solver_type="ADAM"), target, where, {}, {})


def test_whole_numbers_go_into_fields_of_either_kind() -> None:
    where = Source("net.prototxt", Outline(""))
    floating, whole = FloatValue(), Int32Value()
    copy_fields(FloatValue(value=-3), whole, where, {}, {})
    copy_fields(Int32Value(value=5), floating, where, {}, {})
    assert (whole.value, floating.value) == (-3, 5)
    for source, target in ((FloatValue(value=0.5), Int32Value()), (Int32Value(value=5), StringValue())):
        with pytest.raises(PrototxtError, match=r"net.prototxt: value: [0.5]+ has no equivalent in the inner form"):
            copy_fields(source, target, where, {}, {})
