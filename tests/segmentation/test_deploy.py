from __future__ import annotations

from pathlib import Path

import pytest

import deeplab_caffe as dc
from deeplab_caffe.errors import CaffeModelError, NetError, PrototxtError
from deeplab_caffe.segmentation.deploy import deploy_wanted

TRAIN = """name: "t"
layers { name: "data" type: IMAGE_SEG_DATA top: "data" top: "label"
  image_data_param { source: "${LIST}" batch_size: 1 } transform_param { crop_size: 9 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "data" bottom: "label" }
"""


@pytest.mark.parametrize("variables", [None, {"LIST": "none.txt"}])
def test_a_training_file_is_called_so(tmp_path: Path, variables: dict[str, str] | None) -> None:
    path = tmp_path / "train.prototxt"
    path.write_text(TRAIN)
    with pytest.raises(NetError, match=r"train\.prototxt: this is a training file.*deploy\.prototxt") as caught:
        dc.Segmenter(path, None, device="cpu", variables=variables)
    assert ("none.txt" if variables else "--var NAME=VALUE") in str(caught.value)


def test_wrong_weights_are_not_blamed_on_the_net(tmp_path: Path) -> None:
    train = tmp_path / "train.prototxt"
    train.write_text(TRAIN)
    with pytest.raises(CaffeModelError, match="^w: is empty$"), deploy_wanted(train):
        raise CaffeModelError("is empty", "w")


def test_other_errors_stay(tmp_path: Path) -> None:
    path = tmp_path / "deploy.prototxt"
    path.write_text('input: "data" input_dim: 1 input_dim: 3 input_dim: 4 input_dim: 4 name: "${NAME}"')
    with pytest.raises(PrototxtError, match="NAME"):
        dc.Segmenter(path, None, device="cpu")
    with pytest.raises(NetError, match="^as it was$"), deploy_wanted(tmp_path / "none.prototxt"):
        raise NetError("as it was")
    with pytest.raises(NetError, match="^as it was$"), deploy_wanted(object()):
        raise NetError("as it was")
