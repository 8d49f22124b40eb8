from __future__ import annotations

import json
import subprocess
import sys

import pytest

from deeplab_caffe.crf.presets import find_preset
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.zoo import BASES, INIT_WEIGHTS, MODELS, NETWORKS, Model, find_model, prototxt_path
from tests.zoo import FIRST_BASES
from tests.zoo.test_prototxt import PARAMETERS

ALL = (*MODELS, *INIT_WEIGHTS)


def test_names_are_unique_and_every_network_has_a_model() -> None:
    assert len({model.name for model in ALL}) == len(ALL)
    first = {*NETWORKS, *FIRST_BASES} - {"deeplab_pool3"}
    assert {model.network for model in MODELS if model.network in first} == first


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_entry_refers_to_what_exists(model: Model) -> None:
    assert prototxt_path(model.network).is_file()
    assert model.parameters == PARAMETERS[BASES.get(model.network, model.network)]
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


def test_unknown_names_list_the_nearest() -> None:
    with pytest.raises(DeepLabCaffeError, match="no model 'deeplab_largefv' is known; there is deeplab_largefov"):
        find_model("deeplab_largefv")


def test_it_can_be_written_as_json() -> None:
    assert json.loads(json.dumps([model.to_dict() for model in ALL]))[0]["scores"][0]["images"] == "val"


def test_the_zoo_does_not_import_torch() -> None:
    code = "import sys, deeplab_caffe.zoo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
