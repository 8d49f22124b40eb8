from __future__ import annotations

import numpy as np
import pytest

import deeplab_caffe as dc
from deeplab_caffe import viz
from deeplab_caffe.data import load_image
from deeplab_caffe.proto import CaffeModel
from deeplab_caffe.zoo import (
    CAMVID_MODEL,
    DEFAULT_MODEL,
    DEMO_PHOTO,
    DEMO_PHOTOS,
    EMBEDDED_MODELS,
    EmbeddedModel,
)


@pytest.mark.parametrize("model", list(EMBEDDED_MODELS.values()), ids=lambda model: model.name)
def test_every_embedded_model_is_whole(model: EmbeddedModel) -> None:
    net = dc.Net(model.deploy, model.weights)
    assert net.blob_shapes[net.outputs[0]][1] == len(model.classes)
    colormap = getattr(viz, f"{model.colormap.upper()}_COLORMAP")
    assert len(colormap) >= len(model.classes)
    assert model.crf == dc.CRFParams.for_model(model.name)
    card = model.card.read_text(encoding="utf-8")
    assert "research only" in card.lower()
    (pos, appearance) = (
        f"{model.crf.pos_w:g}/{model.crf.pos_xy_std:g}",
        f"{model.crf.bi_w:g}/{model.crf.bi_xy_std:g}/{model.crf.bi_rgb_std:g}",
    )
    assert pos in card
    assert appearance in card


def test_the_default_knows_animals_in_eight_megabytes() -> None:
    assert DEFAULT_MODEL.weights.stat().st_size <= 8_000_000
    net = dc.Net(DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights)
    assert net.parameter_count() == 3_759_662
    found = dc.Segmenter(net, device="cpu")
    for path, name, share in zip(DEMO_PHOTOS, ("cat", "person"), (0.6, 0.3), strict=True):
        labels = found(load_image(path))
        assert (labels == DEFAULT_MODEL.classes.index(name)).mean() > share
        assert np.isin(labels, [0, DEFAULT_MODEL.classes.index(name)]).mean() > 0.99


def test_the_camvid_network_is_as_it_was() -> None:
    net = dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights)
    assert net.name == CAMVID_MODEL.name
    assert net.parameter_count() == 1_284_571
    assert net.blob_shapes["fc8_interp"] == (1, 11, 361, 481)
    assert [layer.name for layer in CaffeModel(CAMVID_MODEL.weights).layers if layer.blobs][-1] == "fc8_camvid"
    assert CAMVID_MODEL.classes[0] == "Sky"


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
    labels = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, device="cpu")(load_image(DEMO_PHOTO))
    assert labels.shape == (427, 640)
    sky, tree = (CAMVID_MODEL.classes.index(name) for name in ("Sky", "Tree"))
    assert (labels[:90, 400:] == sky).mean() > 0.95
    assert (labels[360:400] == tree).mean() > 0.95
