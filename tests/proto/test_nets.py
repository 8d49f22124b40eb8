from __future__ import annotations

import itertools

import pytest

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2, filter_net, parse_net
from deeplab_caffe.proto.nets import layer_is_included, resolve_state, state_meets_rule

TRAIN, TEST = caffe_pb2.TRAIN, caffe_pb2.TEST


def net(*rules: str, state: str = ""):
    layers = "".join(f'layers {{ name: "{i}" type: RELU {rule} }}' for i, rule in enumerate(rules))
    return parse_net(layers + state)


def kept(*rules: str, state: str = "", **arguments) -> str:
    return "".join(layer.name for layer in filter_net(net(*rules, state=state), **arguments).layer)


def test_phase():
    rules = ("", "include { phase: TRAIN }", "include { phase: TEST }", "exclude { phase: TRAIN }", "exclude { }")
    assert kept(*rules, phase=TRAIN) == "01"
    assert kept(*rules, phase=TEST) == "023"
    assert kept(*rules, phase="train") == "01"
    # NetState's default phase is TEST.
    assert kept(*rules) == "023"


def test_a_layers_own_phase_removes_nothing():
    # A saved caffemodel, and a prototxt that was made of one, has a phase in every layer (net.cpp, FilterNet).
    net = parse_net('layer { name: "a" type: "ReLU" phase: TRAIN } layer { name: "b" type: "ReLU" phase: TEST }')
    for phase in (TRAIN, TEST):
        assert [layer.name for layer in filter_net(net, phase).layer] == ["a", "b"]


def test_levels():
    rules = ("include { min_level: 2 }", "include { max_level: 2 }", "include { min_level: 1 max_level: 1 }")
    assert kept(*rules, level=0) == "1"
    assert kept(*rules, level=1) == "12"
    assert kept(*rules, level=2) == "01"
    assert kept(*rules, level=3) == "0"
    assert kept("include { min_level: -1 }") == "0"
    assert kept("include { max_level: 2 }", level=-1) == "0"


def test_stages():
    rules = ('include { stage: "a" }', 'include { stage: "a" stage: "b" }', 'include { not_stage: "a" }')
    assert kept(*rules) == "2"
    assert kept(*rules, stages=["a"]) == "0"
    assert kept(*rules, stages=("a", "b")) == "01"
    assert kept(*rules, stages="a") == "0"


def test_any_include_rule_is_enough_and_any_exclude_rule_too_much():
    assert kept('include { phase: TRAIN } include { stage: "a" }', phase=TEST, stages=["a"]) == "0"
    assert kept('exclude { phase: TRAIN } exclude { stage: "a" }', phase=TEST, stages=["a"]) == ""


def test_the_state_of_the_net_itself():
    state = 'state { phase: TRAIN level: 1 stage: "a" }'
    rules = (
        "include { phase: TRAIN }",
        "include { phase: TEST }",
        "include { min_level: 1 }",
        'include { stage: "a" }',
    )
    # As the original: what the prototxt sets stands, whatever phase the program is in.
    assert kept(*rules, state=state, phase=TEST, level=0) == "023"
    assert kept('include { stage: "a" stage: "b" }', state=state, stages=["b", "a"]) == "0"
    result = filter_net(net(state=state + 'name: "x"'), stages=["b", "a"]).state
    assert (result.phase, result.level, list(result.stage)) == (TRAIN, 1, ["a", "b"])


def test_result_has_the_resolved_state_and_all_else():
    original = parse_net('name: "n" input: "x" input_dim: 1 force_backward: true layers { type: RELU include { } }')
    before = original.SerializeToString()
    result = filter_net(original, "TRAIN", level=3)
    assert (result.state.phase, result.state.level) == (TRAIN, 3)
    assert (result.name, list(result.input), result.force_backward) == ("n", ["x"], True)
    assert original.SerializeToString() == before
    assert filter_net(result) == result


def test_against_the_rules_spelled_out():
    phases, bounds, stages = [None, TRAIN, TEST], [None, 0, 1], [(), ("a",), ("b",)]
    for phase, low, high, need, ban in itertools.product(phases, bounds, bounds, stages, stages):
        rule = caffe_pb2.NetStateRule(phase=phase, min_level=low, max_level=high, stage=need, not_stage=ban)
        for at, level, have in itertools.product([TRAIN, TEST], [0, 1], [(), ("a",), ("a", "b")]):
            state = caffe_pb2.NetState(phase=at, level=level, stage=have)
            expected = (
                (phase is None or phase == at)
                and (low is None or level >= low)
                and (high is None or level <= high)
                and set(need) <= set(have)
                and not set(ban) & set(have)
            )
            assert state_meets_rule(state, rule) == expected


def test_both_kinds_of_rules():
    layer = caffe_pb2.LayerParameter(name="q", include=[{}], exclude=[{}])
    with pytest.raises(NetError, match="layer 'q': has both include and exclude"):
        layer_is_included(layer, resolve_state(caffe_pb2.NetParameter()))


@pytest.mark.parametrize("phase", ["VALIDATE", 2, -1, "", 1.5])
def test_bad_phase(phase):
    with pytest.raises(NetError, match="phase must be one of TRAIN, TEST"):
        filter_net(net(""), phase)
