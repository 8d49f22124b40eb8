"""The prototxts that are written from Python are current, and the writer's text is protobuf's."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe import proto
from deeplab_caffe.convert.torchvision import block_names
from tools.networks import __main__ as networks
from tools.networks.resnet import ResNet
from tools.networks.text import WIDTH, Net, Word, comment, message


def test_the_files_are_current() -> None:
    assert networks.main(["--check"]) == 0


def test_a_stale_file_is_named_and_written(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(networks, "ROOT", tmp_path)
    monkeypatch.setattr(networks, "files", lambda: {"a/test.prototxt": "1\n", "a/train.prototxt": "2\n"})
    assert networks.main(["--check"]) == 1
    assert not (tmp_path / "a").exists()
    assert networks.main([]) == 0
    (tmp_path / "a" / "train.prototxt").write_text("3\n")
    capsys.readouterr()
    assert networks.main(["--check"]) == 1
    assert capsys.readouterr().err == "prototxt/a/train.prototxt is not current: run `make networks` and commit it\n"


def test_messages_are_filled_into_lines() -> None:
    assert message("p", {"a": 1, "b": [True, 0.5], "c": "x", "d": Word("MAX"), "e": {"f": 2}}) == (
        'p { a: 1 b: true b: 0.5 c: "x" d: MAX e { f: 2 } }'
    )
    long = message("p", {"values": list(range(1000, 1020))})
    first, *between, last = long.splitlines()
    assert (first, last) == ("p {", "}")
    assert all(line.startswith("  values: ") and len(line) <= WIDTH for line in between)


def test_layers_read_back() -> None:
    net = Net("deploy", "n", "A net.\nOf one layer.")
    net.input("data", 1, 3, 9, 9)
    net.layer("Convolution", "c", "data", param=[{"lr_mult": 1}], convolution_param={"num_output": 2, "kernel_size": 3})
    with net.switched_off("Not now:"):
        net.layer("ReLU", "r", "c", "c")
    text = str(net)
    assert text.startswith("# A net. Of one layer.\n#\n# Written by")
    assert '\n# Not now:\n# layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n' in text
    param = proto.parse_net(text)
    assert [layer.name for layer in param.layer] == ["c"]
    assert list(param.input_shape[0].dim) == [1, 3, 9, 9]
    assert comment("a\n\nb") == "# a\n#\n# b\n"


def test_block_names() -> None:
    assert block_names(50, 4) == ["4a", "4b", "4c", "4d", "4e", "4f"]
    assert block_names(101, 2) == ["2a", "2b", "2c"]
    assert block_names(101, 3) == ["3a", "3b1", "3b2", "3b3"]
    assert block_names(101, 4)[-1] == "4b22"


def test_a_trunk_as_torchvision_has_it() -> None:
    """Stride on the 3x3 convolution, and each stage's first block still at the stride's dilation."""
    net = Net("deploy", "n", "")
    net.input("data", 1, 3, 65, 65)
    trunk = ResNet(50, stride_on="branch2b", dilations={4: (1, 2), 5: (2, 4)}, batch_norm={}, shared=False)
    assert trunk.trunk(net, "data") == "res5c"
    assert trunk.blob_of(4) == "res4f"
    layers = {layer.name: layer for layer in proto.parse_net(str(net)).layer}
    convs = {name: layer.convolution_param for name, layer in layers.items() if layer.type == "Convolution"}
    assert [name for name, conv in convs.items() if list(conv.stride) == [2]] == [
        "conv1",
        "res3a_branch1",
        "res3a_branch2b",
    ]
    dilated = {name: conv.dilation[0] for name, conv in convs.items() if conv.dilation}
    assert dilated == {
        **{f"res4{block}_branch2b": 2 for block in "bcdef"},
        **{f"res5{block}_branch2b": 2 if block == "a" else 4 for block in "abc"},
    }
    assert not any(spec.name for layer in layers.values() for spec in layer.param)
