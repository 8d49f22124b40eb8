from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from google.protobuf import text_format
from PIL import Image

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import DataError, DeepLabCaffeError, NetError
from deeplab_caffe.pycaffe import draw
from deeplab_caffe.pycaffe.proto import caffe_pb2

TEXT = """name: "n"
layer { name: "d" type: "Data" top: "data" include { phase: TRAIN } data_param { batch_size: 7 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 5 kernel_size: 3 pad: 1 }
        param { lr_mult: 2 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE kernel_size: 2 stride: 4 } }
layer { name: "py" type: "Python" bottom: "p" top: "py" exclude { phase: TEST } }
"""


@pytest.fixture(autouse=True)
def _without_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)


def net(text: str = TEXT) -> caffe_pb2.NetParameter:
    return text_format.Parse(text, caffe_pb2.NetParameter())


def test_labels() -> None:
    data, convolution, relu, pooling, python = net().layer
    assert draw.get_layer_label(convolution, "TB") == '"c (Convolution) kernel size: 3 stride: 1 pad: 1"'
    assert draw.get_layer_label(pooling, "LR") == r'"p\n(Pooling AVE)\nkernel size: 2\nstride: 4\npad: 0"'
    assert draw.get_layer_label(convolution, "BT", True).endswith(' pad: 1 lr mult: 2.0, 1.0"')
    assert draw.get_layer_label(python, "TB", True) == '"py (Python)"'
    assert [draw.get_edge_label(layer) for layer in (data, convolution, relu)] == ["Batch 7", "5", '""']
    assert draw.choose_color_by_layertype("Deconvolution") == "#FF5050"
    assert draw.choose_color_by_layertype("LRN") == "#6495ED"
    assert draw.get_pooling_types_dict() == {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}
    assert draw.determine_edge_label_by_layertype(convolution, "Convolution") == "5"
    assert draw.determine_node_label_by_layertype(python, "Python", "TB") == '"py (Python)"'
    assert draw.get_enum_name_by_value()[4] == "CONVOLUTION"
    inner = net('layer { name: "i" type: "InnerProduct" inner_product_param { num_output: 9 } }').layer[0]
    assert draw.get_edge_label(inner) == "9"
    assert draw.get_layer_lr_mult(inner) == (1, 1)
    with pytest.raises(NetError, match="layer 'r': a ReLU has no lr_mult"):
        draw.get_layer_lr_mult(relu)


def test_graphviz_text() -> None:
    text = draw.draw_net(net(), "TB", "dot").decode()
    assert text.startswith('digraph "n" {\n  rankdir=TB;\n')
    assert '"c_Convolution" [label="c (Convolution) kernel size: 3' in text
    assert '"r_ReLU" [label="r (ReLU)", shape="box", fillcolor="#90EE90", style="filled"];' in text
    assert '"data_blob" -> "c_Convolution" [label=""];' in text
    assert '"c_Convolution" -> "c_blob" [label="5"];' in text
    assert text.count('"c_blob" [label="c", shape="octagon"') == 1
    odd = net('layer { name: "a\\"b\\\\" type: "Python" }')
    assert '"a\\"b\\\\_Python" [label="a\\"b\\\\ (Python)"' in draw.draw_net(odd, "TB", "dot").decode()


def test_phases() -> None:
    found = {phase: draw.draw_net(net(), "TB", "raw", phase).decode() for phase in (caffe.TRAIN, caffe.TEST, None)}
    assert ["d_Data" in found[phase] for phase in found] == [True, False, True]
    assert ["py_Python" in found[phase] for phase in found] == [True, False, True]
    both = net('layer { name: "x" type: "Python" include { phase: TEST } exclude { phase: TRAIN } }')
    with pytest.raises(NetError, match="layer 'x': has both include and exclude"):
        draw.draw_net(both, "TB", "dot", caffe.TEST)


def test_nets_of_2014() -> None:
    old = net(
        'layers { name: "c" type: CONVOLUTION bottom: "d" top: "c" convolution_param { num_output: 5 kernel_size: 3 } }'
    )
    text = draw.draw_net(old, "dot").decode()  # 2014's second argument is the format
    assert "rankdir=BT;" in text
    assert '[label="c (Convolution) kernel size: 3 stride: 1 pad: 0"' in text


@pytest.mark.parametrize(
    ("rankdir", "order"), [("TB", (1, 0)), ("BT", (1, 0, "up")), ("LR", (0, 1)), ("RL", (0, 1, "left"))]
)
def test_svg(rankdir: str, order: tuple[int | str, ...]) -> None:
    root = ElementTree.fromstring(draw.draw_net(net(), rankdir, "svg"))
    texts = [element for element in root.iter() if element.tag.endswith("text")]
    places = {element.text: (float(element.get("x")), float(element.get("y"))) for element in texts}
    along = [places[name][0 if order[0] == 0 else 1] for name in ("d", "data", "c", "p", "py")]
    assert along == sorted(along, reverse=len(order) == 3)
    assert len(set(along)) == 5
    assert any(element.text == "(Pooling AVE)  kernel size: 2  stride: 4  pad: 0" for element in texts)


def test_pictures() -> None:
    for ext, kind in (("png", "PNG"), ("jpg", "JPEG"), ("gif", "GIF")):
        image = Image.open(BytesIO(draw.draw_net(net(), "LR", ext)))
        assert image.format == kind
        wide, high = image.size
        assert wide > high
        colours = {colour for _, colour in image.convert("RGB").getcolors(wide * high)}
        if ext == "png":
            assert {(0xFF, 0x50, 0x50), (0xFF, 0x99, 0x00), (0x90, 0xEE, 0x90), (0xE0, 0xE0, 0xE0)} <= colours
    assert draw.draw_net(net(), "LR", "pdf").startswith(b"%PDF")
    assert Image.open(BytesIO(draw.draw_net(net('name: "empty"'), "LR"))).format == "PNG"


def test_files(tmp_path: Path) -> None:
    draw.draw_net_to_file(net(), str(tmp_path / "n.png"))
    draw.draw_net_to_file(net(), tmp_path / "n.dot", "TB", caffe.TEST, True)
    assert Image.open(tmp_path / "n.png").format == "PNG"
    assert "d_Data" not in (tmp_path / "n.dot").read_text()
    assert "lr mult" in (tmp_path / "n.dot").read_text()
    with pytest.raises(DataError, match=r"n\.dot"):
        draw.draw_net_to_file(net(), tmp_path / "no" / "n.dot")
    with pytest.raises(NetError, match="no format 'xyz' without Graphviz"):
        draw.draw_net_to_file(net(), tmp_path / "n.xyz")
    assert {path.name for path in tmp_path.iterdir()} == {"n.png", "n.dot"}


@pytest.mark.parametrize(
    ("rankdir", "ext", "message"),
    [
        ("UP", "png", "rankdir must be one of TB, BT, LR, RL, got 'UP'"),
        ("LR", "png:cairo", "'png:cairo'"),
        ("LR", "", "''"),
    ],
)
def test_refuses(rankdir: str, ext: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        draw.draw_net(net(), rankdir, ext)


def test_graphviz_is_used_where_it_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "dot"
    program.write_text(
        '#!/bin/sh\nif [ "$1" = -Tbad ]; then echo "Format bad unknown" >&2; exit 1; fi\necho "$1"; cat\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    assert draw.draw_net(net(), "LR", "png") == b"-Tpng\n" + draw.draw_net(net(), "LR", "dot")
    with pytest.raises(DeepLabCaffeError, match="^Graphviz: Format bad unknown$"):
        draw.draw_net(net(), "LR", "bad")


def test_pydot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydot", None)
    monkeypatch.setitem(sys.modules, "pydotplus", None)
    with pytest.raises(DeepLabCaffeError, match="pip install pydot"):
        draw.get_pydot_graph(net(), "LR")
    monkeypatch.setitem(sys.modules, "pydotplus", SimpleNamespace(graph_from_dot_data=lambda text: text))
    assert "rankdir=BT" in draw.get_pydot_graph(net())
    monkeypatch.setitem(sys.modules, "pydot", SimpleNamespace(graph_from_dot_data=lambda text: [text]))
    text = draw.get_pydot_graph(net(), "LR", label_edges=False)
    assert '"c_Convolution" -> "c_blob" [label=""];' in text
