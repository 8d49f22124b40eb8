"""Every prototxt that the original ran is read, and as protobuf's own parser reads it."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from deeplab_caffe.proto import filter_net, format_message, insert_splits, parse_net, read_net, read_solver
from deeplab_caffe.proto.schema.tables import FieldRow, Schema, dialect_schema, enum_table, field_table
from deeplab_caffe.proto.upgrade.downgrade import to_dialect
from tests.proto.originals import file_id, original_files

PROTOTXTS = original_files("prototxt")
# Written for this package: DeepLab v1's solver has no iter_size.
ITER_SIZE = FieldRow("SolverParameter", "iter_size", 36, "optional", "int32", "1", False)
V1_TYPES = {"SGD": "SGD", "Nesterov": "NESTEROV", "AdaGrad": "ADAGRAD"}


@pytest.mark.parametrize("path", PROTOTXTS, ids=file_id)
def test_prototxt(path):
    text = path.read_text(encoding="utf-8")
    if "solver" in path.name:
        expected = Schema("test/solver.proto", [*field_table("v1"), ITER_SIZE], enum_table("v1")).new("SolverParameter")
        text_format.Parse(text, expected)
        solver = read_solver(path)
        kind = expected.SolverType.Name(expected.solver_type)
        assert V1_TYPES[solver.type] == kind
        solver.ClearField("type")
        expected.ClearField("solver_type")
        assert text_format.MessageToString(solver) == text_format.MessageToString(expected)
        return
    expected = dialect_schema("v1").new("NetParameter")
    text_format.Parse(text, expected)
    net = read_net(path)
    assert net.dialect == "v1"
    assert to_dialect(net, "v1") == expected
    assert format_message(net) == text_format.MessageToString(expected)
    assert parse_net(format_message(net)) == net
    filtered = filter_net(net, "TRAIN" if "train" in path.name else "TEST")
    assert insert_splits(insert_splits(filtered)) == insert_splits(filtered)
