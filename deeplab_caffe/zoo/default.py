"""The embedded networks, of which one is the default, and photographs for demos."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data.colormap import CAMVID_CLASSES, VOC_CLASSES
from deeplab_caffe.zoo.paths import prototxt_path


@dataclass(frozen=True)
class EmbeddedModel:
    """A network with weights that comes with the package.

    Attributes:
        name: name of the network.
        deploy: its deploy prototxt.
        weights: its caffemodel.
        card: its model card.
        classes: names of labels 0, 1, 2, ...
        colormap: name of its colours in :mod:`deeplab_caffe.viz`: ``"camvid"`` or ``"voc"``.
        crf: parameters of the dense CRF, chosen on other images than those of the reported results.
    """

    name: str
    deploy: Path
    weights: Path
    card: Path
    classes: tuple[str, ...]
    colormap: str
    crf: CRFParams


_ZOO = Path(str(files("deeplab_caffe.zoo")))
_CAMVID = _ZOO / "camvid_slim"
_ANIMALS = _ZOO / "lite0_animals"

CAMVID_MODEL = EmbeddedModel(
    name="deeplab_largefov_slim_camvid",
    deploy=_CAMVID / "deploy.prototxt",
    weights=_CAMVID / "deeplab_largefov_slim_camvid.caffemodel",
    card=_CAMVID / "MODEL_CARD.md",
    classes=CAMVID_CLASSES,
    colormap="camvid",
    crf=CRFParams.for_model("deeplab_largefov_slim_camvid"),
)

DEFAULT_MODEL = EmbeddedModel(
    name="deeplab_v3_lite0_animals",
    deploy=prototxt_path("deeplab_v3_lite0"),
    weights=_ANIMALS / "deeplab_v3_lite0_animals.caffemodel",
    card=_ANIMALS / "MODEL_CARD.md",
    classes=VOC_CLASSES,
    colormap="voc",
    crf=CRFParams.for_model("deeplab_v3_lite0_animals"),
)

EMBEDDED_MODELS = {model.name: model for model in (DEFAULT_MODEL, CAMVID_MODEL)}

DEMO_PHOTO = _ZOO / "china.jpg"

# For a network with classes of animals and persons.
DEMO_PHOTOS = (_ZOO / "chelsea.jpg", _ZOO / "astronaut.jpg")
