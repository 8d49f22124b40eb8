from __future__ import annotations

import pytest

from deeplab_caffe.crf import PRESETS, CRFParams, find_preset
from deeplab_caffe.errors import CRFError


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("DeepLab", CRFParams(3, 3, 5, 50, 10)),
        ("DeepLab-MSc", CRFParams(3, 3, 3, 95, 3)),
        ("DeepLab-COCO", CRFParams(3, 3, 5, 67, 3)),
        ("DeepLab-LargeFOV", CRFParams(3, 3, 4, 121, 5)),
        ("DeepLab-MSc-LargeFOV", CRFParams(3, 3, 5, 140, 5)),
        ("DeepLab-COCO-LargeFOV", CRFParams(3, 3, 5, 69, 5)),
        ("DeepLab-ASPP-ResNet101", CRFParams(3, 1, 4, 67, 3)),
        ("deeplab_aspp_resnet101", CRFParams(3, 1, 4, 67, 3)),
        ("DeepLab-v2", CRFParams(3, 1, 4, 67, 3)),
        ("DeepLab-ASPP-VGG16", CRFParams(2, 2, 4, 65, 3)),
        ("DeepLab-MSc-LargeFOV-v2", CRFParams(3, 3, 4, 83, 5)),
        ("DeepLab-ASPP-ResNet101-tail", CRFParams(4, 1, 5, 21, 3)),
        ("deeplab_largefov_slim_camvid", CRFParams(1, 3, 3, 30, 5)),
        ("deeplab_v3_lite0_animals", CRFParams(3, 3, 5, 30, 5, iterations=5, min_probability=0.01)),
        ("refine_pascal", CRFParams(3, 3, 10, 60, 20)),
        ("refine_pascal_v4", CRFParams(3, 3, 5, 70, 5)),
    ],
)
def test_tuned_parameters(name: str, params: CRFParams) -> None:
    assert CRFParams.for_model(name) == params


def test_names_are_found_however_they_are_spelt() -> None:
    expected = CRFParams.for_model("DeepLab-LargeFOV")
    for name in ("deeplab_largefov", "deeplab largefov", "DEEPLAB-LARGEFOV", "20M_largewin3"):
        assert CRFParams.for_model(name) == expected
    assert find_preset("vgg128_noup").name == "DeepLab"


def test_every_preset_names_its_source_and_is_found_by_its_names() -> None:
    for preset in PRESETS:
        assert preset.source
        assert CRFParams.for_model(preset.name) == CRFParams(**preset.numbers)
        for name in (preset.name, *preset.aliases):
            assert find_preset(name) is preset


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(CRFError, match=r"'DeepLab-LargeFOW'; there are some for .*DeepLab-LargeFOV"):
        CRFParams.for_model("DeepLab-LargeFOW")
    with pytest.raises(CRFError, match="'zzzzzz'; there are some for DeepLab"):
        CRFParams.for_model("zzzzzz")
