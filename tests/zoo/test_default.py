from __future__ import annotations

import deeplab_caffe as dc
from deeplab_caffe import viz
from deeplab_caffe.data import load_image
from deeplab_caffe.proto import CaffeModel
from deeplab_caffe.zoo import DEFAULT_MODEL, DEMO_PHOTO, DEMO_PHOTOS


def test_the_weights_are_whole_and_fit() -> None:
    net = dc.Net(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights)
    assert net.name == DEFAULT_MODEL.name
    assert net.parameter_count() == 1_284_571
    assert net.outputs == ["fc8_interp"]
    assert net.blob_shapes["fc8_interp"] == (1, len(DEFAULT_MODEL.classes), 361, 481)
    assert [layer.name for layer in CaffeModel(DEFAULT_MODEL.weights).layers if layer.blobs][-1] == "fc8_camvid"


def test_every_class_has_a_name_and_a_colour() -> None:
    colormap = getattr(viz, f"{DEFAULT_MODEL.colormap.upper()}_COLORMAP")
    assert len(colormap) == len(DEFAULT_MODEL.classes) == 11
    assert DEFAULT_MODEL.classes[0] == "Sky"


def test_the_crf_parameters_are_the_cards() -> None:
    assert DEFAULT_MODEL.crf == dc.CRFParams.for_model(DEFAULT_MODEL.name)
    assert "w/std 1/3, w/xy/rgb 3/30/5" in DEFAULT_MODEL.card.read_text()


def test_the_card_says_research_only() -> None:
    assert "research only" in DEFAULT_MODEL.card.read_text().lower()


def test_the_photograph_comes_with_its_attribution() -> None:
    assert load_image(DEMO_PHOTO).shape == (427, 640, 3)
    note = DEMO_PHOTO.with_name("china.jpg.md").read_text()
    assert "danielbuechele" in note
    assert "CC BY 2.0" in note


def test_free_photographs_of_a_cat_and_a_person() -> None:
    shapes = {path.name: load_image(path).shape for path in DEMO_PHOTOS}
    assert shapes == {"chelsea.jpg": (300, 451, 3), "astronaut.jpg": (512, 512, 3)}
    for path, words in zip(DEMO_PHOTOS, ("CC0 by the photographer", "public domain"), strict=True):
        assert path.stat().st_size <= 200_000
        assert words in path.with_name(f"{path.name}.md").read_text(encoding="utf-8")


def test_it_finds_sky_and_trees_in_the_photograph() -> None:
    labels = dc.Segmenter(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights, device="cpu")(load_image(DEMO_PHOTO))
    assert labels.shape == (427, 640)
    sky, tree = (DEFAULT_MODEL.classes.index(name) for name in ("Sky", "Tree"))
    assert (labels[:90, 400:] == sky).mean() > 0.95
    assert (labels[360:400] == tree).mean() > 0.95
