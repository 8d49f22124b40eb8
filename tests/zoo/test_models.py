from __future__ import annotations

import json
import subprocess
import sys

import pytest

from deeplab_caffe.crf.presets import find_preset
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.zoo import BASES, INIT_WEIGHTS, LATER_NETWORKS, MODELS, NETWORKS, Model, find_model, prototxt_path
from deeplab_caffe.zoo.models_later import LATER_MODELS
from deeplab_caffe.zoo.models_v1 import V1_MODELS
from tests.zoo import FIRST_BASES
from tests.zoo.test_later_networks import PARAMETERS as LATER_PARAMETERS
from tests.zoo.test_prototxt import PARAMETERS

ALL = (*MODELS, *INIT_WEIGHTS)


def test_names_are_unique_and_every_network_has_a_model() -> None:
    assert len({model.name for model in ALL}) == len(ALL)
    first = {*NETWORKS, *FIRST_BASES} - {"deeplab_pool3"}
    assert {model.network for model in V1_MODELS} == first


@pytest.mark.parametrize("model", V1_MODELS, ids=lambda model: model.name)
def test_the_networks_of_v1(model: Model) -> None:
    assert prototxt_path(model.network).is_file()
    assert model.parameters == PARAMETERS[BASES.get(model.network, model.network)]


def test_the_networks_after_v1() -> None:
    found = {model.network: model for model in LATER_MODELS}
    later = {*LATER_NETWORKS, *BASES} - {*FIRST_BASES}
    assert later <= {*found}
    # torchvision counts neither BatchNorm's statistics nor as this package does.
    for network in later - {"deeplab_v3_resnet50", "deeplab_v3_resnet101"}:
        assert found[network].parameters == LATER_PARAMETERS[BASES.get(network, network)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_entry_refers_to_what_exists(model: Model) -> None:
    assert model.crf is None or find_preset(model.crf)
    assert model.init is None or find_model(model.init)
    assert all(score.source and (score.dcnn or score.crf) for score in model.scores)
    # What has no file, and what scores higher on val than it should, says so.
    assert model.file is not None or model.notes
    assert not model.saw_val or any("validation images" in note for note in model.notes)


def test_the_papers_numbers() -> None:
    val = find_model("DeepLab-LargeFOV").score("val")
    assert (val.dcnn, val.crf, val.source) == (62.25, 67.64, "Chen et al., ICLR 2015, Table 1")
    assert find_model("deeplab_msc_largefov").score("test").crf == 71.6
    assert find_model("deeplab_weak_em_fixed").score("val") is None


@pytest.mark.parametrize("name", ["deeplab_msc", "DeepLab-MSc", "vgg128_ms_pool3", "DEEPLAB-MSC"])
def test_a_model_is_found_by_any_of_its_names(name: str) -> None:
    assert find_model(name).name == "deeplab_msc"


def test_deeplab_v2_and_after() -> None:
    resnet = find_model("DeepLab-ASPP-ResNet101")
    assert (resnet.score("val").dcnn, resnet.score("val").crf, resnet.score("test").crf) == (76.35, 77.69, 79.7)
    assert (resnet.parameters, resnet.towers) == (44_153_980, 3)
    assert not resnet.saw_val
    assert any("76.42 to 76.46" in note and "90.89" in note for note in resnet.notes)
    vgg = find_model("deeplab_aspp_vgg16")
    assert (vgg.score("val").dcnn, vgg.score("val").crf, vgg.parameters) == (68.96, 71.57, 37_877_652)
    # ResNet-101 without three of its four heads.
    assert find_model("deeplab_largefov_resnet101").parameters == 44_153_980 - 3 * (2048 * 9 * 21 + 21)
    # Numbers that nobody read in the paper are not printed; what torchvision measured is not on VOC's val.
    assert find_model("deeplab_dt_edgenet").scores == ()
    assert find_model("deeplab_v3_resnet101").score("val") is None
    assert find_model("deeplab_v3_resnet50").file.sha256 == "cd0a2569"
    for name in ("deeplab_v3_resnet50", "deeplab_v3_resnet101"):
        file = find_model(name).file
        assert file.name.endswith(f"-{file.sha256}.pth")
        assert file.urls[0].endswith(file.name)


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(DeepLabCaffeError, match="no model 'deeplab_largefv' is known; there is deeplab_largefov"):
        find_model("deeplab_largefv")


def test_it_can_be_written_as_json() -> None:
    assert json.loads(json.dumps([model.to_dict() for model in ALL]))[0]["scores"][0]["images"] == "val"


def test_the_zoo_does_not_import_torch() -> None:
    code = "import sys, deeplab_caffe.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
