"""Networks of this package's own, of no paper: two prototxts, and what comes with the package, trained."""

from __future__ import annotations

from deeplab_caffe.zoo.default import CAMVID_MODEL, DEFAULT_MODEL, EmbeddedModel
from deeplab_caffe.zoo.model import Model
from deeplab_caffe.zoo.paths import OWN_NETWORKS

_PARAMETERS = 3_715_157


def _network(name: str, stride: int) -> Model:
    return Model(
        name=name,
        title=f"DeepLab v3 on EfficientNet-Lite0, stride {stride}",
        network=name,
        trained_on="-",
        parameters=_PARAMETERS,
        notes=(
            "Ours, of no paper: a network to train, small enough for a processor. deeplab-caffe convert FILE "
            f"--init-for {name} makes weights to start from (docs/start.md).",
            f"Trained on animals it comes with the package, as {DEFAULT_MODEL.name}.",
        ),
    )


def _embedded(model: EmbeddedModel, title: str, network: str | None, trained_on: str) -> Model:
    return Model(
        name=model.name,
        title=title,
        network=network,
        trained_on=trained_on,
        parameters=None if network is None else _PARAMETERS,
        crf=model.name,
        pages=(str(model.card),),
        notes=(
            f"It comes with the package, with its weights: deeplab-caffe segment --model {model.name}, or "
            f"deeplab_caffe.zoo.EMBEDDED_MODELS[{model.name!r}]. Its page is the model card.",
        ),
    )


OWN_MODELS = (
    _network(OWN_NETWORKS[0], 16),
    _network(OWN_NETWORKS[1], 8),
    _embedded(
        DEFAULT_MODEL, "the network where none is named", OWN_NETWORKS[0], "ImageNet, animals of VOC 2012's train_aug"
    ),
    _embedded(CAMVID_MODEL, "DeepLab-LargeFOV with a quarter of the channels, for streets", None, "CamVid"),
)
