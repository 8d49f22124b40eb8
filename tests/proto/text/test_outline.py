from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe.proto.text.outline import Outline, Source, outline

NET = """name: "n"
layers {
  name: 'a' type: CONVOLUTION
  convolution_param {
    pad: 1 kernel_size: 3
    weight_filler { type:
      "gaussian" }
  }
  blobs_lr: [ 1,
    2 ]
}
layers: <
  name: "b" "c"
  include: { phase: TEST } include { phase: TRAIN, min_level: -1; }
>
param: [ { lr: 1 }, {
  lr: 2 } ]
"""


def test_lines():
    tree = outline(NET)
    assert tree.line_of(("name",)) == 1
    assert tree.line_of(("layers", 0)) == 2
    assert tree.line_of(("layers", 0, "convolution_param", "kernel_size")) == 5
    assert tree.line_of(("layers", 0, "convolution_param", 0, "weight_filler", 0, "type", 0)) == 6
    assert tree.line_of(("layers", 0, "blobs_lr", 1)) == 10
    assert tree.line_of(("layers", 1, "include", 1, "min_level")) == 14
    assert tree.line_of(("param", 1, "lr")) == 17


def test_a_path_that_leads_nowhere():
    tree = outline(NET)
    assert tree.line_of(("layers", 0, "convolution_param", "axis", "deeper")) == 4
    assert tree.line_of(("layers", 7)) is None
    assert tree.find(("layers", 0, "convolution_param")).line == 4
    assert tree.find(("layers", 0, "convolution_param", "axis")) is None
    assert tree.line_of(()) is None


def test_values():
    tree = outline(NET)
    assert tree.all("layers")[1].children[0].value == '"b""c"'
    assert [node.value for node in tree.all("layers")[0].all("blobs_lr")] == ["1", "2"]
    assert [child.name for child in tree.children] == ["name", "layers", "layers", "param", "param"]
    assert outline("""a: 'b' "c" """).children[0].value == """'b'"c\""""
    assert outline("a: -1.5e-3 b: -inf").children[1].value == "-inf"


def test_braces_in_strings_and_comments_do_not_count():
    tree = outline("a: \"}{\" # { }\nb { c: '}' }\nd: 1")
    assert [child.name for child in tree.children] == ["a", "b", "d"]
    assert tree.line_of(("d",)) == 3


def test_source_errors():
    source = Source("net.prototxt", Outline(NET)).at_layer("layers", 1, "b")
    error = source.error("no good", "include", 1, "phase")
    assert str(error) == "net.prototxt:14: layer 'b': no good"
    assert str(Source("f", Outline("")).at_layer("layers", 3, "").error("no")) == "f: layer '#3': no"


def test_deep_nesting():
    tree = outline("a {" * 100_000)
    assert len(tree.children) == 1


@given(st.text(alphabet="ab:{}<>[],;\"'# \n\\-1", max_size=60))
def test_never_raises(text):
    outline(text)
