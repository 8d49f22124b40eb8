"""The embedded network, used where none is named, and the photograph of the demo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from deeplab_caffe.viz.colormap import CAMVID_CLASSES


@dataclass(frozen=True)
class EmbeddedModel:
    """A network with weights that comes with the package.

    Attributes:
        name: the net's name.
        deploy: its deploy prototxt.
        weights: its caffemodel.
        card: its model card.
        classes: names of labels 0, 1, 2, ...
        colormap: name of its colours in :mod:`deeplab_caffe.viz`: ``"camvid"`` or ``"voc"``.
        crf: keyword arguments of :class:`deeplab_caffe.CRFParams`, chosen on validation images.
    """

    name: str
    deploy: Path
    weights: Path
    card: Path
    classes: tuple[str, ...]
    colormap: str
    crf: Mapping[str, float]


_ZOO = Path(str(files("deeplab_caffe.zoo")))
_CAMVID = _ZOO / "camvid_slim"

DEFAULT_MODEL = EmbeddedModel(
    name="deeplab_largefov_slim_camvid",
    deploy=_CAMVID / "deploy.prototxt",
    weights=_CAMVID / "deeplab_largefov_slim_camvid.caffemodel",
    card=_CAMVID / "MODEL_CARD.md",
    classes=CAMVID_CLASSES,
    colormap="camvid",
    crf=MappingProxyType(
        {"pos_w": 1.0, "pos_xy_std": 3.0, "bi_w": 3.0, "bi_xy_std": 30.0, "bi_rgb_std": 5.0, "iterations": 10}
    ),
)

DEMO_PHOTO = _ZOO / "china.jpg"
