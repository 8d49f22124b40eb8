"""What the registry says of a model of the papers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VOC12 = "PASCAL VOC 2012"


@dataclass(frozen=True)
class Score:
    """A published mean IoU, in percent.

    Attributes:
        images: ``"val"`` or ``"test"``; of VOC ``"val"`` is 1,449 images, trained on train_aug, and ``"test"`` 1,456,
            trained on trainval_aug.
        source: where it was published.
        dcnn: of the network alone; None where that was not published.
        crf: with the dense CRF; None where that was not published.
        data: the data set; by default PASCAL VOC 2012 with 21 classes.
    """

    images: str
    source: str
    dcnn: float | None = None
    crf: float | None = None
    data: str = VOC12


@dataclass(frozen=True)
class RemoteFile:
    """A file and where it was.

    Attributes:
        name: its name in the cache, and in the archive if its address is one of several files.
        urls: where to look, best first.
        sha256: its checksum or how that begins, where it is known; else the first download's is recorded.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None = None


@dataclass(frozen=True)
class Model:
    """A model of the papers, or weights that training starts from.

    Attributes:
        name: its name in this package.
        title: its name in the paper or the release.
        network: name for :func:`deeplab_caffe.zoo.prototxt_path`; None for weights to start from.
        trained_on: data, in the order of training.
        parameters: how many numbers, with 21 classes; those that towers share once; None where that is not known.
        net_id: the authors' own name (NET_ID), None where it is not known.
        scores: published results.
        crf: name of the CRF parameters, for :meth:`deeplab_caffe.CRFParams.for_model`; None where none are known.
        file: its weights; None where no address is known.
        towers: how often the network holds its parameters: once for each scale of the image. A caffemodel stores each.
        init: name of the weights that training starts from.
        saw_val: the file's weights were trained on the validation images too.
        pages: pages that linked to it.
        notes: what to know before its numbers are quoted.
    """

    name: str
    title: str
    network: str | None
    trained_on: str
    parameters: int | None
    net_id: str | None = None
    scores: tuple[Score, ...] = ()
    crf: str | None = None
    file: RemoteFile | None = None
    towers: int = 1
    init: str | None = None
    saw_val: bool = False
    pages: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def score(self, images: str) -> Score | None:
        """Return the published result on VOC's ``"val"`` or ``"test"``."""
        return next((score for score in self.scores if (score.images, score.data) == (images, VOC12)), None)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return asdict(self)
