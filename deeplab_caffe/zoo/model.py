"""An entry of the registry of the papers' models."""

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
        dcnn: result of the network without CRF; None if it was not published.
        crf: result with the dense CRF; None if it was not published.
        data: the data set; by default PASCAL VOC 2012 with 21 classes.
    """

    images: str
    source: str
    dcnn: float | None = None
    crf: float | None = None
    data: str = VOC12


@dataclass(frozen=True)
class RemoteFile:
    """A file and its published URLs.

    Attributes:
        name: its name in the cache, and in the archive if the URL is that of an archive.
        urls: its URLs, the best first.
        sha256: its checksum or the first digits of it, if known; else the first download's is recorded.
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
        parameters: number of parameters with 21 classes, shared ones counted once; None if unknown.
        net_id: the authors' name (NET_ID), None if unknown.
        scores: published results.
        crf: name of the CRF parameters, for :meth:`deeplab_caffe.CRFParams.for_model`; None if unknown.
        file: its weights; None if no URL is known.
        towers: number of copies of the parameters, one for each scale of the image. A caffemodel stores all copies.
        init: name of the weights that training starts from.
        saw_val: the file's weights were trained on the validation images too.
        pages: pages that linked to it.
        notes: facts to know before quoting its numbers.
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
        """Return all attributes as a dict, for JSON."""
        return asdict(self)
