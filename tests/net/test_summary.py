from __future__ import annotations

from fractions import Fraction

import pytest

import deeplab_caffe as dc
from deeplab_caffe.net.summary import receptive_fields, summarize
from tests.goldens import ROOT
from tests.nets import SMALL, build, conv, inputs, layer

LARGEFOV = ROOT / "prototxt" / "deeplab_largefov" / "deploy.prototxt"


@pytest.fixture(scope="module")
def largefov() -> dc.Net:
    return dc.Net(LARGEFOV)


def test_receptive_fields_of_largefov(largefov: dc.Net) -> None:
    fields = receptive_fields(largefov)
    # By hand: a window of k pixels over pixels that see r, s apart, sees r + (k - 1) s.
    size, step = 1, 1
    expected = {}
    for blob, kernel, stride in [
        ("conv1_1", 3, 1),
        ("conv1_2", 3, 1),
        ("pool1", 3, 2),
        ("conv2_1", 3, 1),
        ("conv2_2", 3, 1),
        ("pool2", 3, 2),
        ("conv3_1", 3, 1),
        ("conv3_2", 3, 1),
        ("conv3_3", 3, 1),
        ("pool3", 3, 2),
        ("conv4_1", 3, 1),
        ("conv4_2", 3, 1),
        ("conv4_3", 3, 1),
        ("pool4", 3, 1),
        ("conv5_1", 5, 1),  # hole 2
        ("conv5_2", 5, 1),
        ("conv5_3", 5, 1),
        ("pool5", 3, 1),
        ("pool5a", 3, 1),
        ("fc6", 25, 1),  # hole 12
        ("fc7", 1, 1),
        ("fc8_voc12", 1, 1),
    ]:
        size += (kernel - 1) * step
        step *= stride
        expected[blob] = (size, step)
    for blob, (size, step) in expected.items():
        assert fields[blob].size == (size, size), blob
        assert fields[blob].step == (step, step), blob
    assert expected["conv1_1"] == (3, 1)
    assert expected["pool1"] == (7, 2)
    assert fields["conv1_1"].start == (-1, -1)


def test_the_upsampled_scores_step_by_one_pixel(largefov: dc.Net) -> None:
    fields = receptive_fields(largefov)
    scores = next(step for step in largefov.steps if step.layer.TYPE == "Interp")
    below, above = fields[scores.bottoms[0]], fields[scores.tops[0]]
    assert below.step == (8, 8)
    assert above.step == (1, 1)
    assert above.size == (below.size[0] + 8, below.size[1] + 8)


def test_parameters_of_largefov(largefov: dc.Net) -> None:
    rows = summarize(largefov)
    assert sum(row.parameters for row in rows) == largefov.parameter_count() == 20_505_429
    assert sum(row.multiply_adds for row in rows) == largefov.multiply_adds()
    fc6 = next(row for row in rows if row.name == "fc6")
    assert fc6.type == "Convolution"
    assert fc6.parameters == 512 * 1024 * 9 + 1024


def test_rows_of_a_small_net() -> None:
    net = build(SMALL)
    rows = {row.name: row for row in summarize(net, net.infer_shapes(data=(1, 3, 17, 17)))}
    assert list(rows) == ["conv1", "relu1", "pool1", "fc", "relu_fc", "drop", "score"]
    assert rows["pool1"].type == "Pooling"
    assert rows["pool1"].bottoms == ("conv1",)
    assert rows["pool1"].top_shapes == ((1, 4, 9, 9),)
    assert rows["fc"].multiply_adds == 81 * 6 * 36
    assert rows["relu1"].parameters == rows["relu1"].multiply_adds == 0
    field = rows["score"].field
    assert (field.size, field.step, field.start) == ((9, 9), (2, 2), (-4, -4))


def test_shared_parameters_count_once() -> None:
    text = inputs(data=(1, 4, 5, 5)) + conv("one", "data", more='param: "w"') + conv("two", "one", more='param: "w"')
    net = build(text)
    assert [row.parameters for row in summarize(net)] == [4 * 36 + 4, 4]
    assert net.parameter_count() == 4 * 36 + 8


def test_parameters_shared_in_another_shape_count_once() -> None:
    shared = 'param {{ name: "w" share_mode: PERMISSIVE }} inner_product_param {{ num_output: {} bias_term: false }}'
    text = 'input: "wide" input_shape { dim: 1 dim: 8 } input: "narrow" input_shape { dim: 2 dim: 4 }'
    for name, bottom, outputs in (("one", "narrow", 6), ("two", "wide", 3), ("three", "wide", 3)):
        fields = f'name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {shared.format(outputs)}'
        text += f"layer {{ {fields} }}\n"
    net = build(text)
    rows = {row.name: row.parameters for row in summarize(net)}
    assert [rows[name] for name in ("one", "two", "three")] == [24, 0, 0]
    assert sum(rows.values()) == net.parameter_count()


def test_branches_are_boxed_and_the_rest_is_unknown() -> None:
    text = inputs(data=(1, 2, 12, 12))
    text += conv("wide", "data", out=2, kernel=5) + conv("narrow", "data", out=2, kernel=1)
    text += layer("CONCAT", "both", "wide narrow", "both")
    text += layer("INNER_PRODUCT", "fc", "both", "fc", "inner_product_param { num_output: 2 }")
    text += layer("INTERP", "fixed", "data", "fixed", "interp_param { height: 5 width: 5 }")
    text += layer("INTERP", "shrunk", "data", "shrunk", "interp_param { shrink_factor: 4 pad_beg: -1 }")
    text += layer("SILENCE", "quiet", "fixed")
    fields = receptive_fields(build(text))
    assert fields["both"].size == (5, 5)
    assert fields["both"].start == (-2, -2)
    assert fields["fc"] is None
    assert fields["fixed"] is None
    assert (fields["shrunk"].size, fields["shrunk"].step, fields["shrunk"].start) == ((1, 1), (4, 4), (1, 1))
    rows = {row.name: row for row in summarize(build(text))}
    assert rows["quiet"].field is None
    assert rows["quiet"].top_shapes == ()


def test_a_zoom_keeps_exact_fractions() -> None:
    text = inputs(data=(1, 1, 4, 4)) + layer("INTERP", "up", "data", "up", "interp_param { zoom_factor: 3 }")
    field = receptive_fields(build(text))["up"]
    assert field.step == (Fraction(1, 3), Fraction(1, 3))
    assert field.size == (2, 2)


def test_fields_count_from_a_data_layers_tops_and_end_at_what_sees_all() -> None:
    text = """
        layer { name: "d" type: "DummyData" top: "data" dummy_data_param { shape { dim: 1 dim: 2 dim: 9 dim: 9 } } }
        layer { name: "c" type: "Convolution" bottom: "data" top: "c"
                convolution_param { num_output: 2 kernel_size: 3 } }
        layer { name: "whole" type: "Pooling" bottom: "c" top: "whole" pooling_param { global_pooling: true } }
        layer { name: "one" type: "Convolution" bottom: "whole" top: "one"
                convolution_param { num_output: 2 kernel_size: 1 } }
        layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: 1 dim: 2 dim: 7 dim: 7 } } }
        layer { name: "sum" type: "Eltwise" bottom: "c" bottom: "p" top: "sum" }
    """
    fields = {name: field for name, field in receptive_fields(build(text)).items() if "split" not in name}
    assert {name: field.size for name, field in fields.items() if field is not None} == {"data": (1, 1), "c": (3, 3)}
    assert [name for name, field in fields.items() if field is None] == ["whole", "one", "p", "sum"]
