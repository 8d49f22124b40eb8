"""DeepLab v1 and the weakly supervised recipes: published results, and URLs of the files."""

from __future__ import annotations

from deeplab_caffe.zoo.model import Model, RemoteFile, Score

_ICLR1 = "Chen et al., ICLR 2015, Table 1"
_ICLR2 = "Chen et al., ICLR 2015, Table 2"
_ICLR3 = "Chen et al., ICLR 2015, Table 3"
_README = "README of the released code"
_WEAK = "Papandreou et al., ICCV 2015"

_JHU = "http://www.cs.jhu.edu/~alanlab/ccvl"
_VGG = "https://www.robots.ox.ac.uk/~vgg/software/very_deep"
_UCLA = "http://ccvl.stat.ucla.edu/ccvl"
_PAGE = "http://liangchiehchen.com/projects"

_SAW_VAL = (
    "train2_iter_8000.caffemodel was fine-tuned on trainval_aug, which holds the validation images: on val it scores "
    "far above the paper. The val numbers are those of train_iter_6000.caffemodel (train_aug), of which no public copy "
    "is known; the test numbers need the PASCAL VOC server."
)
_NO_FILE = "No address of its weights is known, only of the page or folder that once had them."

_IMAGENET = "ImageNet, VOC 2012 aug"
_COCO = "ImageNet, MS-COCO, VOC 2012 aug"
_WEAK_CRF_NOTE = (
    "The CRF parameters depend on the number of strongly labelled images: presets DeepLab-EM-Fixed-200 to -5K."
)
_BOX_CRF_NOTE = "The CRF parameters are those of the authors' experiment of that name, with a 4x4 fc6."
_SEMI_NOTE = "The paper reports up to 69.0 on test for the best mix of strong and weak labels."

V1_MODELS: tuple[Model, ...] = (
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

V1_INIT_WEIGHTS: tuple[Model, ...] = (
    Model(
        name="vgg16",
        title="VGG-16, its authors' caffemodel",
        network=None,
        trained_on="ImageNet",
        parameters=138_357_544,
        file=RemoteFile("VGG_ILSVRC_16_layers.caffemodel", (f"{_VGG}/caffe/VGG_ILSVRC_16_layers.caffemodel",)),
        pages=(f"{_VGG}/",),
        notes=("`convert` with `--init-for` makes a network's initial model of it: docs/start.md.",),
    ),
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
