from __future__ import annotations

import contextlib
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2, format_message, parse_net, parse_solver, read_net, read_solver
from deeplab_caffe.proto.text.parse import MAX_TEXT_BYTES, MOST_MESSAGES

V1_NET = """
name: "n"  # a comment
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { bottom: "data" top: "conv" name: "conv" type: CONVOLUTION blobs_lr: 10 blobs_lr: 20
  convolution_param { num_output: 4 kernel_size: 3 pad: 12 hole: 12 weight_filler { type: "gaussian" std: 0.01 } } }
layers { bottom: "conv" top: "up" name: "up" type: INTERP interp_param { zoom_factor: 1 } include: { phase: TEST } }
"""


def test_v1_layout_is_brought_up():
    net = parse_net(V1_NET)
    assert net.name == "n"
    assert net.dialect == "v1"
    assert [list(shape.dim) for shape in net.input_shape] == [[1, 3, 8, 8]]
    conv, up = net.layer
    assert conv.type == "Convolution"
    assert (list(conv.convolution_param.pad), list(conv.convolution_param.dilation)) == ([12], [12])
    assert [spec.lr_mult for spec in conv.param] == [10, 20]
    assert up.include[0].phase == caffe_pb2.TEST


def test_set_is_kept_apart_from_default():
    interp = parse_net(V1_NET).layer[1].interp_param
    assert interp.HasField("zoom_factor")
    assert not interp.HasField("shrink_factor")
    empty = parse_net("layers { type: POOLING pooling_param { } }").layer[0]
    assert empty.HasField("pooling_param")
    assert not empty.HasField("dropout_param")


def test_format_message_reads_back():
    net = parse_net(V1_NET)
    assert parse_net(format_message(net)) == net
    assert "std: 0.01\n" in format_message(net)


def test_format_message_keeps_a_mean_that_v1_has_no_field_for():
    net = parse_net('layers { name: "r" type: RELU }')
    assert (net.dialect, format_message(net).split()[0]) == ("v1", "layers")
    net.mean_value.extend([1, 2, 3])
    again = parse_net(format_message(net))
    assert (again.dialect, again.mean_value) == ("v1", [1, 2, 3])


def test_read_net_from_a_file_with_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("PAD", "3")
    path = tmp_path / "net.prototxt"
    path.write_text('name: "${NAME}"\nlayers { type: CONVOLUTION convolution_param { pad: ${PAD} } }', encoding="utf-8")
    net = read_net(path, {"NAME": "x"})
    assert (net.name, list(net.layer[0].convolution_param.pad)) == ("x", [3])


def test_windows_files_and_foreign_comments(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'\xef\xbb\xbfname: "n"\r\n# \xc4\xe3\xba\xc3 (GBK)\r\nlayers { type: RELU }\r\n')
    assert read_net(path).name == "n"
    assert parse_net('\ufeffname: "n"').name == "n"


def test_solver():
    solver = parse_solver('net: "train.prototxt"\nlr_policy: "poly" power: 0.9 base_lr: 1e-3 solver_type: NESTEROV')
    assert solver.net == "train.prototxt"
    assert solver.power == pytest.approx(0.9)
    assert solver.type == "Nesterov"
    assert not solver.HasField("solver_type")


def test_solver_with_a_net_inside():
    solver = parse_solver('net_param { layer { name: "r" type: "ReLU" } }\ntest_net_param { input: "x" }')
    assert solver.net_param.layer[0].type == "ReLU"
    assert list(solver.test_net_param[0].input) == ["x"]


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_solver_types(kind):
    assert parse_solver(f'type: "{kind}" iter_size: 1').type == kind
    assert parse_solver(f"solver_type: {kind.upper()}").type == kind


def test_later_solver_fields_are_kept():
    solver = parse_solver("clip_gradients: 35 snapshot_format: HDF5 momentum2: 0.99 rms_decay: 0.9")
    assert (solver.clip_gradients, solver.snapshot_format) == (35, solver.HDF5)


def test_nets_of_both_layouts_in_one_solver():
    solver = parse_solver("net_param { layers { type: RELU } }\ntest_net_param { layer { type: 'ReLU' } }")
    assert solver.net_param.layer[0] == solver.test_net_param[0].layer[0]
    assert (solver.net_param.dialect, solver.test_net_param[0].dialect) == ("v1", "v2")


def test_iter_size_of_later_caffe():
    assert parse_solver("net: 'a'").iter_size == 1
    assert parse_solver("iter_size: 3").iter_size == 3
    assert parse_solver("iter_size: 2 net_param { layer { name: 'r' type: 'ReLU' } }").iter_size == 2


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("layers {\n type: CONVOLUTON }", 2, "layer type CONVOLUTON is not in the .* mean 'CONVOLUTION'"),
        ('layers { type: "Convolution" }', 1, "without quotes in this layout .did you mean 'CONVOLUTION'"),
        ("layers { type: RELU }\nlayers {\n nme: 1 }", 3, "LayerParameter has no field 'nme' .did you mean 'name'"),
        ("layers { type: CONVOLUTION\n convolution_param { hole: 2\n dilation: 2 } }", 3, "either dilation or hole"),
        ("layer { type: 'Data' transform_param { }\n data_param { transform_param { } } }", 2, "beside it; give one"),
        ("layer { type: 'Pooling'\n pooling_param { ceil_mode: true\n round_mode: FLOOR } }", 2, "different things"),
        ("layers { type: RELU }\nlayer { type: 'ReLU' }", 2, "mixes the 'layers' layout .line 1. and the 'layer'"),
        ("layers { type: RELU\nunique_label_param { } }", 2, "required field is not set: .*max_labels"),
        ("layers { type: POOLING pooling_param {\n pool: MEAN } }", 2, "PoolingParameter.PoolMethod has no value MEAN"),
        ('name: "a"\nname: "b"', 2, 'multiple "name" fields'),
        ("name: 'a'\nversion: 2", 2, "version must be 1, the only one there ever was, got 2"),
        ("layers {\n name: 'x' }", 1, "layer 'x': has no type"),
        ("layers { type: RELU\n include { }\n exclude { } }", 3, "both include and exclude"),
        ("input_dim: 99999999999", 1, "out of range"),
        ("layers { type: RELU", 1, "."),
        ("layers { type: RELU }\n}", 2, "."),
        ("name: 'a\nb'", 1, "."),
        ("name: 'a'\nfoo\n", 2, "no field 'foo'"),
        ("name: '\udc80'", 1, "column 8: text outside of comments must be UTF-8"),
        ("name: 'a'\nname\x00: 'b'", 2, "must be UTF-8"),
        ("", None, "is empty"),
        ("# nothing\n\n", None, "is empty"),
    ],
)
def test_bad_nets_are_named_with_their_line(text, line, message):
    with pytest.raises(PrototxtError, match=message) as error:
        parse_net(text, "my.prototxt")
    assert error.value.line == line
    assert str(error.value).startswith("my.prototxt:" + ("" if line is None else f"{line}: "))


def test_all_that_is_unknown_is_named_at_once():
    text = """layer { name: 'a' type: 'ReLU'
      roi_pooling_param { pooled_w: 6 }
      nme: 'x' }
    layer { name: 'b' type: 'Convolutoin'
      convolution_param { engine: MKL2017
        dilaton: 3 } }
    layer { name: 'c' type: 'ROIPooling' }
    layer { name: 'd' type: 'BatchNorm' }"""
    with pytest.raises(PrototxtError) as error:
        parse_net(text, "my.prototxt")
    assert error.value.line == 2
    assert str(error.value) == (
        "my.prototxt:2: 6 things are unknown: "
        "line 2: LayerParameter has no field 'roi_pooling_param' (did you mean 'pooling_param'?); "
        "line 3: LayerParameter has no field 'nme' (did you mean 'name'?); "
        "line 4: layer type Convolutoin is neither Caffe's nor DeepLab's (did you mean 'Convolution'?); "
        "line 5: ConvolutionParameter.Engine has no value MKL2017; "
        "line 6: ConvolutionParameter has no field 'dilaton' (did you mean 'dilation'?); "
        "line 7: layer type ROIPooling is neither Caffe's nor DeepLab's (did you mean 'Pooling'?)"
    )


def test_v1_and_solver_texts_name_all_too():
    text = "layers { type: ROI_POOLING }\nlayers { type: 'RELU'\n pooling_param { pool: MIN method: 3 } }"
    with pytest.raises(
        PrototxtError, match="4 things are unknown: line 1: layer type ROI_POOLING .* line 2: .* quotes"
    ):
        parse_net(text)
    with pytest.raises(PrototxtError, match="2 things are unknown: line 1: .*'lr_polcy'.*; line 2: .*'gammma'"):
        parse_solver("lr_polcy: 'poly'\ngammma: 1")
    with pytest.raises(PrototxtError, match="2 things are unknown: line 2: LayerParameter has no field 'x'; line 3"):
        parse_solver("net_param {\n layer { x: 1 }\n y { } }")


def test_nets_and_solvers_in_place_of_each_other():
    solver = 'net: "train.prototxt"\nbase_lr: 0.1 lr_polcy: "fixed"'
    with pytest.raises(PrototxtError, match="^a:1: this is a solver's prototxt: expected a net's") as error:
        parse_net(solver, "a")
    assert "lr_polcy" not in str(error.value)
    with pytest.raises(PrototxtError, match="^a:2: this is a net's prototxt: expected a solver's"):
        parse_solver(V1_NET, "a")
    with pytest.raises(PrototxtError, match="SolverParameter has no field 'lr_polcy'"):
        parse_solver(solver, "a")


def test_the_first_twenty_are_named():
    with pytest.raises(PrototxtError) as error:
        parse_net("".join(f"layer {{ type: 'ReLU' thing_{i:02d}: 1 }}\n" for i in range(33)))
    assert "33 things are unknown" in str(error.value)
    assert "line 20: LayerParameter has no field 'thing_19'; and 13 more" in str(error.value)
    assert "thing_20" not in str(error.value)


def test_after_a_lost_brace_only_the_first_is_named():
    text = (
        "layer { type: 'Pooling' pooling_param { pool: MAX\n top: 'a' bottom: 'b' }\nlayer { type: 'ReLU' name: 'c' }"
    )
    with pytest.raises(PrototxtError) as error:
        parse_net(text)
    assert str(error.value) == "<string>:2: column 2: PoolingParameter has no field 'top'"


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", "CEIL"),
        ("ceil_mode: true", "CEIL"),
        ("ceil_mode: false", "FLOOR"),
        ("round_mode: FLOOR", "FLOOR"),
        ("round_mode: 1 ceil_mode: false", "FLOOR"),
    ],
)
def test_the_ways_to_say_how_pooling_rounds(text, mode):
    for layer in ("layer { type: 'Pooling'", "layers { type: POOLING"):
        net = parse_net(f"{layer} pooling_param {{ kernel_size: 2 {text} }} }}")
        pool = net.layer[0].pooling_param
        assert pool.RoundMode.Name(pool.round_mode) == mode
        assert not pool.HasField("ceil_mode")
        assert net.dialect == ("v1" if "layers" in layer else "v2")
        assert parse_net(format_message(net)).layer == net.layer


@pytest.mark.parametrize("start", ["layer { type: 'Data' data_param", "layers { type: DATA data_param",
                                   "layers { type: IMAGE_DATA image_data_param",
                                   "layer { type: 'WindowData' window_data_param"])  # fmt: skip
def test_transform_param_where_it_stood_between_releases(start):
    layer = parse_net(f"{start} {{ source: 'x' transform_param {{ scale: 0.5 mirror: true crop_size: 7 }} }} }}").layer[
        0
    ]
    transform = layer.transform_param
    assert (transform.scale, transform.mirror, transform.crop_size) == (0.5, True, 7)
    assert str(layer).count("transform_param") == 1


def test_bvlcs_words_in_the_v1_layout():
    conv = parse_net("layers { type: CONVOLUTION convolution_param { kernel_size: 3 dilation: 4 } }").layer[0]
    assert list(conv.convolution_param.dilation) == [4]
    assert conv.convolution_param.hole == 1


def test_fields_of_the_last_caffe():
    net = parse_net("layer { type: 'Clip' clip_param { min: -1 max: 2 } } layer { type: 'Swish' swish_param { } }")
    assert (net.layer[0].clip_param.max, net.layer[1].swish_param.beta, net.dialect) == (2, 1, "v2")
    solver = parse_solver("layer_wise_reduce: false weights: 'a.caffemodel'")
    assert list(solver.weights) == ["a.caffemodel"]
    with pytest.raises(PrototxtError, match="required field is not set: layer.0..clip_param.max"):
        parse_net("layer { type: 'Clip' clip_param { min: 0 } }")


# All of it is protobuf's text format, which other readers of prototxt know only in part.
SPELLINGS = [
    "layer { name: 'p' type: 'Pooling' pooling_param { pool: MAX kernel_size: 3 stride: 2 } }",
    'layer: < name: "p", type: "Pool" "ing"; pooling_param: { pool: 0; kernel_size: 0x3, stride: 02 } >',
    "layer\r\n{\r\n  name : 'p' # '\r\n  type: 'Pooling'\r\n pooling_param<pool:MAX kernel_size:3 stride:2>}\r\n",
    "\ufefflayer{name:'\\x70'type:'Pooling'pooling_param{pool:MAX,kernel_size:3;stride:2}}",
    "layer: [ { name: 'p' type: 'Pooling' pooling_param { pool: MAX kernel_size: 3 stride: 2 } } ]",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_spellings_of_one_net(text):
    assert parse_net(text) == parse_net(SPELLINGS[0])


@pytest.mark.parametrize(
    ("word", "value"), [("1.f", 1), ("1F", 1), (".5", 0.5), ("1e-2f", 0.01), ("-inf", -float("inf"))]
)
def test_spellings_of_a_float(word, value):
    assert parse_net(f"layer {{ type: 'Power' power_param {{ shift: {word} }} }}").layer[0].power_param.shift == (
        pytest.approx(value)
    )


def test_files_between_releases_are_refused_with_advice():
    with pytest.raises(PrototxtError, match="calls it 'det_context_pad'"):
        parse_net("layers { layer { context_pad: 16 } }")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("solver_type: ADAMM", 1, "no value ADAMM .did you mean 'ADAM'"),
        ('type: "SGD"\nsolver_type: SGD', 2, "give either type or solver_type"),
        ('lr_polcy: "poly"', 1, "did you mean 'lr_policy'"),
        ("net_param {\n layers { type: RELU }\n layer { type: 'ReLU' } }", 3, "mixes the 'layers' layout .line 2. and"),
        ("net_param {\n layer {\n name: '' } }", 2, "layer '#0': has no type"),
        ("", None, "is empty"),
    ],
)
def test_bad_solvers(text, line, message):
    with pytest.raises(PrototxtError, match=message) as error:
        parse_solver(text)
    assert error.value.line == line


@pytest.mark.parametrize(
    "text", ['name: "n"\nlayer {\n}\n' * 50, 'layer { name: "c" }', 'net: "net.prototxt" base_lr: 1']
)
def test_a_text_in_place_of_a_file_is_not_quoted_whole(text):
    for read in (read_net, read_solver):
        with pytest.raises(PrototxtError, match=r"is no file's name, but text\?.*parse_net\(text\)") as caught:
            read(text)
        assert len(str(caught.value)) < 200
    with pytest.raises(PrototxtError, match=r"^a\$\{b\}/n.prototxt: cannot be read: No such file"):
        read_net("a${b}/n.prototxt")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PrototxtError, match=r"none.prototxt: cannot be read: No such file"):
        read_net(tmp_path / "none.prototxt")
    with pytest.raises(PrototxtError, match="cannot be read"):
        read_solver(tmp_path)
    with pytest.raises(PrototxtError, match="cannot be read"):
        read_net(os.fspath(tmp_path) + "/a\0b")
    with pytest.raises(PrototxtError, match="not prototxt text"):
        read_net("/dev/zero" if os.path.exists("/dev/zero") else tmp_path)  # noqa: PTH110


def test_a_text_that_is_far_too_long(tmp_path):
    path = tmp_path / "long.prototxt"
    path.write_bytes(b"#" * (MAX_TEXT_BYTES + 1))
    with pytest.raises(PrototxtError, match="longer than 64 MiB"):
        read_net(path)


def test_a_caffemodel_given_as_prototxt(tmp_path):
    path = tmp_path / "x.caffemodel"
    path.write_bytes(caffe_pb2.NetParameter(name="n", layers=[caffe_pb2.V1LayerParameter(type=4)]).SerializeToString())
    with pytest.raises(PrototxtError, match=r"is not prototxt text \(is it a binary caffemodel\?\)"):
        read_net(path)


_TOKENS = st.sampled_from(
    ["layers", "layer", "{", "}", "<", ">", "[", "]", ":", ",", ";", "name", "type", "CONVOLUTION", '"Convolution"',
     '"a"', "'b", "input", "input_dim", "1", "-1", "1e40", "0x7f", "nan", "${A}", "${", "#", "\n", "convolution_param",
     "pad", "kernel_size", "dilation", "hole", "include", "exclude", "phase", "TEST", "true", "param", "lr_mult",
     "concat_param", "axis", "blobs", "data", "input_shape", "dim", "input_param", "shape", '"Input"', "top", "bottom",
     '"conv"', '"padding"', "loss_param", "transform_param", "[caffe.x]", "[type.googleapis.com/caffe.NetState]",
     "unique_label_param", "\\", "\t", "\r", "\x0b", "\u2028", "é", "99999999999999999999"]
)  # fmt: skip


def assert_names_its_place(error: PrototxtError) -> None:
    assert str(error).startswith("<string>:")


@settings(max_examples=1000, deadline=None)
@given(st.lists(_TOKENS, max_size=30))
def test_token_soup_raises_only_prototxt_errors(tokens):
    for parse in (parse_net, parse_solver):
        try:
            parse(" ".join(tokens), variables={"A": 3})
        except PrototxtError as error:
            assert_names_its_place(error)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_raises_only_prototxt_errors(text):
    with contextlib.suppress(PrototxtError):
        parse_net(text)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_nets_raise_only_prototxt_errors(data):
    text = list(V1_NET)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from(["", "{", "}", '"', "x", ":", "0", "\n", "#", text[at] * 2]))
    with contextlib.suppress(PrototxtError):
        parse_net("".join(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer{}" * (MOST_MESSAGES + 1), "holds more than 200,000 messages"),
        ("a{}" * (MOST_MESSAGES + 1), "holds more than 200,000 messages"),
        ("a: 1 " * 300_000, "NetParameter has no field 'a'"),
        ("''" * 1_000_000, "Expected identifier"),
        ("name: '" + "\\\\" * 1_000_000 + "'", "100 backslashes in a row"),
        ("''#" * 1_000_000, "Expected identifier"),
    ],
)
def test_hostile_texts_cost_little(text, message):
    tracemalloc.start()
    with pytest.raises(PrototxtError, match=message):
        parse_net(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (64 << 20) + 40 * len(text)


@pytest.mark.parametrize("nesting", ["[", "{", "<", "layers {", "layers: [", "a { "])
def test_deep_nesting(nesting):
    with pytest.raises(PrototxtError):
        parse_net(nesting * 20_000)


def test_the_version_of_early_2014_says_nothing() -> None:
    assert parse_net("name: 'a' version: 1 layers { type: RELU }") == parse_net("name: 'a' layers { type: RELU }")
