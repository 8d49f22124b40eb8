"""docs/fine-tune.md: the deploy prototxt that its last step makes takes the weights that its third step trains."""

from __future__ import annotations

import re
import subprocess

import pytest

from deeplab_caffe import proto
from deeplab_caffe.zoo import prototxt_path
from tests.docs.pages import ROOT

FLAGS = re.MULTILINE | re.DOTALL
TEXT = (ROOT / "docs" / "fine-tune.md").read_text(encoding="utf-8")


def test_deploy_has_the_last_layer_of_the_trained_network() -> None:
    found = re.search(
        r"^    deeplab-caffe experiment (\w+) .*?--model (\w+) .*?--var NUM_LABELS=(\d+)", TEXT, re.M | re.S
    )
    assert found is not None
    exp, network, classes = found.groups()
    script = re.search(r"^    sed '([^']+)' \"\$original\" > deploy.prototxt$", TEXT, FLAGS)
    assert script is not None
    assert f"prototxt_path('{network}')" in TEXT
    command = ["sed", script[1], str(prototxt_path(network))]
    try:
        deploy = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError:
        pytest.skip("no sed")
    values = {"EXP": exp, "NUM_LABELS": classes, "DATA_ROOT": "", "NET_ID": "", "TRAIN_SET": "train"}
    train = proto.read_net(prototxt_path(network, "train"), values)
    trained = {layer.name: layer.convolution_param.num_output for layer in train.layer if layer.type == "Convolution"}
    net = proto.parse_net(deploy)
    assert {
        layer.name: layer.convolution_param.num_output for layer in net.layer if layer.type == "Convolution"
    } == trained
    assert trained[f"fc1_{exp}"] == int(classes)
