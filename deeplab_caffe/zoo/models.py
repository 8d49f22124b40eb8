"""The models of the papers: what each is, how well it was published to do, and where its files were.

None of the authors' hosts can be counted on any more, and no checksum was ever published: see
:mod:`deeplab_caffe.zoo.download`.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, field
from typing import Any

from deeplab_caffe.errors import DeepLabCaffeError

_ICLR1 = "Chen et al., ICLR 2015, Table 1"
_ICLR2 = "Chen et al., ICLR 2015, Table 2"
_ICLR3 = "Chen et al., ICLR 2015, Table 3"
_README = "README of the released code"
_WEAK = "Papandreou et al., ICCV 2015"

_JHU = "http://www.cs.jhu.edu/~alanlab/ccvl"
_UCLA = "http://ccvl.stat.ucla.edu/ccvl"
_PAGE = "http://liangchiehchen.com/projects"

_SAW_VAL = (
    "train2_iter_8000.caffemodel was fine-tuned on trainval_aug, which holds the validation images: on val it scores "
    "far above the paper. The val numbers are those of train_iter_6000.caffemodel (train_aug), of which no public copy "
    "is known; the test numbers need the PASCAL VOC server."
)
_NO_FILE = "No address of its weights is known, only of the page or folder that once had them."


@dataclass(frozen=True)
class Score:
    """A published mean IoU, in percent, on PASCAL VOC 2012 with 21 classes.

    Attributes:
        images: ``"val"`` (1,449 images, trained on train_aug) or ``"test"`` (1,456, trained on trainval_aug).
        source: where it was published.
        dcnn: of the network alone; None where that was not published.
        crf: with the dense CRF; None where that was not published.
    """

    images: str
    source: str
    dcnn: float | None = None
    crf: float | None = None


@dataclass(frozen=True)
class RemoteFile:
    """A file and where it was.

    Attributes:
        name: its name in the cache.
        urls: where to look, best first.
        sha256: its checksum, where one is known; else the first download's is recorded.
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
        parameters: how many numbers, with 21 classes.
        net_id: the authors' own name (NET_ID), None where it is not known.
        scores: published results.
        crf: name of the CRF parameters, for :meth:`deeplab_caffe.CRFParams.for_model`; None where none are known.
        file: its weights; None where no address is known.
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
    init: str | None = None
    saw_val: bool = False
    pages: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def score(self, images: str) -> Score | None:
        """Return the published result on ``"val"`` or ``"test"``."""
        return next((score for score in self.scores if score.images == images), None)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, for JSON."""
        return asdict(self)


_IMAGENET = "ImageNet, VOC 2012 aug"
_COCO = "ImageNet, MS-COCO, VOC 2012 aug"
_WEAK_CRF_NOTE = (
    "The CRF parameters depend on the number of strongly labelled images: presets DeepLab-EM-Fixed-200 to -5K."
)
_BOX_CRF_NOTE = "The CRF parameters are those of the authors' experiment of that name, with a 4x4 fc6."
_SEMI_NOTE = "The paper reports up to 69.0 on test for the best mix of strong and weak labels."

MODELS: tuple[Model, ...] = (
    Model(
        name="deeplab_largefov",
        title="DeepLab-LargeFOV",
        network="deeplab_largefov",
        net_id="vgg128_noup_pool3_20M_largewin3",
        trained_on=_IMAGENET,
        parameters=20_505_429,
        scores=(Score("val", _ICLR1, 62.25, 67.64), Score("test", _ICLR3, None, 70.3)),
        crf="DeepLab-LargeFOV",
        file=RemoteFile(
            "train2_iter_8000.caffemodel",
            (
                f"{_JHU}/DeepLab-LargeFOV/train2_iter_8000.caffemodel",
                f"{_UCLA}/DeepLab-LargeFOV/train2_iter_8000.caffemodel",
            ),
        ),
        init="vgg16_20M",
        pages=(f"{_PAGE}/DeepLab-LargeFOV.html", f"{_JHU}/DeepLab-LargeFOV/"),
        saw_val=True,
        notes=(_SAW_VAL,),
    ),
    Model(
        name="deeplab",
        title="DeepLab",
        network="deeplab",
        net_id="vgg128_noup",
        trained_on=_IMAGENET,
        parameters=65_140_565,
        scores=(Score("val", _ICLR1, 59.80, 63.74), Score("test", _ICLR3, None, 66.4)),
        crf="DeepLab",
        init="vgg16_128",
        pages=(f"{_PAGE}/DeepLab.html", "http://www.cs.ucla.edu/~lcchen/deeplab-public/vgg128_noup/"),
        notes=(_NO_FILE,),
    ),
    Model(
        name="deeplab_4x4",
        title="DeepLab-4x4",
        network="deeplab_4x4",
        trained_on=_IMAGENET,
        parameters=65_140_565,
        scores=(Score("val", _ICLR2, None, 67.14),),
        notes=("Never released: the network is reconstructed from the paper.",),
    ),
    Model(
        name="deeplab_7x7",
        title="DeepLab-7x7",
        network="deeplab_7x7",
        trained_on=_IMAGENET,
        parameters=134_346_581,
        scores=(Score("val", _ICLR1, 64.38, 67.64), Score("test", _ICLR3, None, 70.3)),
        notes=("Never released: the network is reconstructed from the paper.",),
    ),
    Model(
        name="deeplab_msc",
        title="DeepLab-MSc",
        network="deeplab_msc",
        net_id="vgg128_ms_pool3",
        trained_on=_IMAGENET,
        parameters=66_346_686,
        scores=(Score("val", _ICLR1, 61.30, 65.21), Score("test", _ICLR3, None, 67.1)),
        crf="DeepLab-MSc",
        init="deeplab",
        pages=("http://www.cs.ucla.edu/~lcchen/deeplab-public/vgg128_ms_pool3/",),
        notes=(_NO_FILE,),
    ),
    Model(
        name="deeplab_msc_largefov",
        title="DeepLab-MSc-LargeFOV",
        network="deeplab_msc_largefov",
        trained_on=_IMAGENET,
        parameters=21_711_550,
        scores=(Score("val", _ICLR1, 64.21, 68.70), Score("test", _ICLR3, None, 71.6)),
        crf="DeepLab-MSc-LargeFOV",
        init="deeplab_largefov",
        pages=(f"{_PAGE}/DeepLab-MSc-LargeFOV.html", f"{_JHU}/DeepLab-MSc-LargeFOV/"),
        notes=(_NO_FILE, "Its CRF parameters are inferred from re-implementations."),
    ),
    Model(
        name="deeplab_coco",
        title="DeepLab-COCO",
        network="deeplab_coco",
        net_id="vgg128_noup_pool3_cocomix",
        trained_on=_COCO,
        parameters=65_140_565,
        scores=(Score("test", _README, None, 70.4),),
        crf="DeepLab-COCO",
        pages=("http://www.cs.ucla.edu/~lcchen/deeplab-public/vgg128_noup_pool3_cocomix/",),
        notes=(_NO_FILE,),
    ),
    Model(
        name="deeplab_coco_largefov",
        title="DeepLab-COCO-LargeFOV",
        network="deeplab_coco_largefov",
        net_id="vgg128_noup_pool3_20M_largewin3_coco",
        trained_on=_COCO,
        parameters=20_505_429,
        scores=(Score("test", "the authors' list of released models", None, 72.7),),
        crf="DeepLab-COCO-LargeFOV",
        init="vgg16_20M_coco",
        pages=(f"{_PAGE}/DeepLab_Models.html",),
        notes=(_NO_FILE, "LargeFOV's network; only the weights that training starts from differ."),
    ),
    Model(
        name="deeplab_msc_coco_largefov",
        title="DeepLab-MSc-COCO-LargeFOV",
        network="deeplab_msc_coco_largefov",
        trained_on=_COCO,
        parameters=21_711_550,
        scores=(Score("test", _README, None, 73.6),),
        init="vgg16_20M_coco",
        pages=(f"{_PAGE}/DeepLab_Models.html", f"{_UCLA}/DeepLab-MSc-COCO-LargeFOV/"),
        notes=(_NO_FILE, "The best of the released models. The authors' CRF parameters were not found."),
    ),
    Model(
        name="deeplab_weak_em_adapt",
        title="DeepLab-Weak-EM-Adapt",
        network="deeplab_weak_em_adapt",
        net_id="vgg128_noup_pool3_adaweak",
        trained_on="ImageNet, VOC 2012 aug (image labels)",
        parameters=65_140_565,
        scores=(Score("test", f"{_WEAK}, about", None, 39.0),),
        crf="DeepLab-Weak-EM-Adapt",
        init="vgg16_128",
        pages=("http://ttic.uchicago.edu/~gpapan/deeplab/vgg128_noup_pool3_adaweak",),
        notes=(_NO_FILE,),
    ),
    Model(
        name="deeplab_weak_em_fixed",
        title="DeepLab-Weak-EM-Fixed",
        network="deeplab_weak_em_fixed",
        trained_on="ImageNet, VOC 2012 aug (image labels)",
        parameters=65_140_565,
        init="vgg16_128",
        notes=("Never released: reconstructed from the paper and the layers.",),
    ),
    Model(
        name="deeplab_bbox_rect",
        title="DeepLab-LargeFOV-Bbox-Rect",
        network="deeplab_bbox_rect",
        trained_on="ImageNet, VOC 2012 aug (boxes)",
        parameters=20_505_429,
        crf="bbox",
        init="vgg16_20M",
        notes=("LargeFOV's training, on label maps of plain rectangles.", _BOX_CRF_NOTE),
    ),
    Model(
        name="deeplab_bbox_seg",
        title="DeepLab-LargeFOV-Bbox-Seg",
        network="deeplab_bbox_seg",
        trained_on="ImageNet, VOC 2012 aug (boxes)",
        parameters=20_505_429,
        scores=(Score("test", _WEAK, None, 62.2),),
        crf="bbox_crf2",
        init="vgg16_20M",
        notes=("LargeFOV's training, on rectangles cut out by the CRF (presets erode_gt, bboxErode20).", _BOX_CRF_NOTE),
    ),
    Model(
        name="deeplab_bbox_em_fixed",
        title="DeepLab-LargeFOV-Bbox-EM-Fixed",
        network="deeplab_bbox_em_fixed",
        trained_on="ImageNet, VOC 2012 aug (boxes)",
        parameters=20_505_429,
        crf="bbox",
        init="vgg16_20M",
        notes=("Reconstructed from the paper and the layers.", _BOX_CRF_NOTE),
    ),
    Model(
        name="deeplab_semi_em_fixed",
        title="DeepLab-LargeFOV-Semi-EM-Fixed",
        network="deeplab_semi_em_fixed",
        trained_on="ImageNet, VOC 2012 aug (label maps and image labels)",
        parameters=20_505_429,
        crf="DeepLab-EM-Fixed-1000",
        init="vgg16_20M",
        notes=("Reconstructed.", _WEAK_CRF_NOTE, _SEMI_NOTE),
    ),
    Model(
        name="deeplab_semi_bbox_em_fixed",
        title="DeepLab-LargeFOV-Semi-Bbox-EM-Fixed",
        network="deeplab_semi_bbox_em_fixed",
        trained_on="ImageNet, VOC 2012 aug (label maps and boxes)",
        parameters=20_505_429,
        crf="DeepLab-EM-Fixed-1000",
        init="vgg16_20M",
        notes=("Reconstructed in parts: its file says which.", _WEAK_CRF_NOTE, _SEMI_NOTE),
    ),
)

INIT_WEIGHTS: tuple[Model, ...] = (
    Model(
        name="vgg16_20M",
        title="VGG-16, fc6 and fc7 with 1024 filters",
        network=None,
        trained_on="ImageNet",
        parameters=None,
        file=RemoteFile(
            "vgg16_20M.caffemodel",
            (f"{_JHU}/init_models/vgg16_20M.caffemodel", f"{_UCLA}/init_models/vgg16_20M.caffemodel"),
        ),
        pages=(f"{_PAGE}/Init%20Models.html",),
        notes=(
            "Training of LargeFOV starts from it.",
            "Others' conversion to PyTorch: "
            "https://download.visinf.tu-darmstadt.de/data/2020-cvpr-araslanov-1-stage-wseg/models/vgg16_20M.pth",
        ),
    ),
    Model(
        name="vgg16_128",
        title="VGG-16, fc6 of 4x4",
        network=None,
        trained_on="ImageNet",
        parameters=None,
        file=RemoteFile(
            "vgg16_128.caffemodel",
            (f"{_JHU}/init_models/vgg16_128.caffemodel", f"{_UCLA}/init_models/vgg16_128.caffemodel"),
        ),
        pages=(f"{_PAGE}/Init%20Models.html",),
        notes=("Training of DeepLab and of its variants with a 4x4 fc6 starts from it.",),
    ),
    Model(
        name="vgg16_20M_coco",
        title="vgg16_20M, trained further on MS-COCO",
        network=None,
        trained_on="ImageNet, MS-COCO",
        parameters=None,
        file=RemoteFile(
            "vgg16_20M_coco.caffemodel",
            (f"{_PAGE}/released/deeplab_coco_largefov/vgg16_20M_coco.caffemodel.zip",),
        ),
        pages=(f"{_PAGE}/DeepLab_Models.html",),
        notes=("Training of the COCO variants of LargeFOV starts from it.",),
    ),
)


def find_model(name: str) -> Model:
    """Return the model of that name, title or NET_ID; case, "-" and "_" do not matter.

    Raises:
        DeepLabCaffeError: no model has this name; the message has the nearest.
    """
    known: dict[str, Model] = {}
    for model in (*MODELS, *INIT_WEIGHTS):
        for alias in (model.name, model.title, model.net_id):
            if alias is not None:
                known.setdefault(_plain(alias), model)
    if _plain(name) in known:
        return known[_plain(name)]
    near = difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    names = dict.fromkeys(known[alias].name for alias in near) or [model.name for model in (*MODELS, *INIT_WEIGHTS)]
    raise DeepLabCaffeError(f"no model {name!r} is known; there is {', '.join(names)}")


def _plain(name: str) -> str:
    return str(name).lower().replace("_", "").replace("-", "").replace(" ", "")
