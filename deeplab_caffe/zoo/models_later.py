"""DeepLab v2, attention to scale, the domain transform with EdgeNet, and v3: published results, and URLs of files.

URLs are as they were cited; none was tried. Only torchvision's files have a published checksum: the eight hexadecimal
digits in their names are the first digits of their SHA-256.
"""

from __future__ import annotations

from deeplab_caffe.zoo.model import Model, RemoteFile, Score

_V2 = "Chen et al., arXiv:1606.00915"
_ATTENTION = "Chen et al., CVPR 2016, attention to scale, by two summaries"
_PAGE = "http://liangchiehchen.com/projects"
_FAQ = f"{_PAGE}/DeepLab_FAQ.html"
_RESNET_ZIP = f"{_PAGE}/released/deeplab_aspp_resnet101/prototxt_and_model.zip"
_VGG_ZIP = f"{_PAGE}/released/deeplab_aspp_vgg16/prototxt_and_model.zip"
_TORCHVISION = "https://download.pytorch.org/models"

_IMAGENET = "ImageNet, VOC 2012 aug"
_COCO = "ImageNet, MS-COCO, VOC 2012 aug"
_NOT_RELEASED = "Never released as a file of its own: the network is reconstructed."
_CRF_UNKNOWN = "Its CRF parameters are not known."
_TORCHVISION_COUNT = "Parameters are torchvision's count, aux head included, BatchNorm's statistics left out."
_NOT_THE_PAPERS = (
    "The paper's own weights were never released. torchvision's network differs from the paper's: rates 12, 24, 36 at "
    "output stride 8, no multi-grid, a 3x3 convolution before the last layer."
)


def _torchvision(depth: int, digits: str, parameters: int, score: float, notes: tuple[str, ...]) -> Model:
    """Return the entry of a DeepLab v3 of torchvision."""
    file = f"deeplabv3_resnet{depth}_coco-{digits}.pth"
    return Model(
        name=f"deeplab_v3_resnet{depth}",
        title=f"DeepLab-v3-ResNet{depth} (torchvision)",
        network=f"deeplab_v3_resnet{depth}",
        trained_on="ImageNet, COCO train2017 with VOC's labels",
        parameters=parameters,
        scores=(Score("val", "torchvision, COCO_WITH_VOC_LABELS_V1", score, None, "COCO val2017, VOC's classes"),),
        file=RemoteFile(file, (f"{_TORCHVISION}/{file}",), digits),
        notes=(*notes, f"A state_dict: `deeplab-caffe convert {file}` makes a caffemodel.", _TORCHVISION_COUNT),
    )


LATER_MODELS: tuple[Model, ...] = (
    Model(
        name="deeplab_aspp_resnet101",
        title="DeepLab-ASPP-ResNet101",
        network="deeplab_aspp_resnet101",
        trained_on=_COCO,
        parameters=44_153_980,
        scores=(
            Score("val", f"{_V2}, Table 4", 76.35, 77.69),
            Score("test", f"{_V2}, Table 5", None, 79.7),
            Score("val", f"{_V2}, Table 6", 44.7, 45.7, "PASCAL-Context, 60 classes"),
            Score("val", f"{_V2}, Table 9, one scale", 71.0, 71.4, "Cityscapes, 19 classes"),
            Score("test", f"{_V2}, Table 8, one scale", None, 70.4, "Cityscapes, 19 classes"),
        ),
        crf="DeepLab-ASPP-ResNet101",
        file=RemoteFile("train_iter_20000.caffemodel", (_RESNET_ZIP,)),
        towers=3,
        init="deeplab_aspp_resnet101_init",
        pages=(f"{_PAGE}/DeepLabv2_resnet.html", _FAQ),
        notes=(
            "The zip holds train_iter_20000.caffemodel (train_aug), train2_iter_20000.caffemodel (trainval_aug, which "
            "holds the validation images: it has seen val), init.caffemodel and the prototxts.",
            "Others measured 76.42 to 76.46 on val without CRF with train_iter_20000, 90.89 with train2_iter_20000: "
            "a score near 90 means train2.",
            "No checksum or size of the files was ever published; a file of three towers should have about 530 MB.",
            "Its heads are named after EXP=voc12 (fc1_voc12_c0); with another EXP they are not loaded.",
            "A mirror of the zip, from somebody's script: Google Drive 0BzaU285cX7TCNVhETE5vVUdMYk0. Converted to "
            "PyTorch by others: release v1.0 of kazuto1011/deeplab-pytorch, deeplabv2_resnet101_msc-vocaug-20000.pth.",
        ),
    ),
    Model(
        name="deeplab_largefov_resnet101",
        title="DeepLab-LargeFOV-ResNet101",
        network="deeplab_largefov_resnet101",
        trained_on=_COCO,
        parameters=42_992_701,
        scores=(Score("val", f"{_V2}, Table 4", 75.54, None),),
        init="deeplab_aspp_resnet101_init",
        notes=(_NOT_RELEASED, _CRF_UNKNOWN),
    ),
    Model(
        name="deeplab_aspp_vgg16",
        title="DeepLab-ASPP-VGG16",
        network="deeplab_aspp_vgg16",
        trained_on=_IMAGENET,
        parameters=37_877_652,
        scores=(Score("val", f"{_V2}, Table 3", 68.96, 71.57), Score("test", f"{_V2}, Section 4.1.2", None, 72.6)),
        crf="DeepLab-ASPP-VGG16",
        file=RemoteFile("train_iter_20000.caffemodel", (_VGG_ZIP,)),
        init="deeplab_aspp_vgg16_init",
        pages=(f"{_PAGE}/DeepLabv2_vgg.html", _FAQ),
        notes=(
            "ASPP-L of the paper: rates 6, 12, 18, 24.",
            "The names in this zip are inferred from ResNet-101's: train_iter_20000.caffemodel (train_aug), "
            "train2_iter_20000.caffemodel (trainval_aug: it has seen the validation images).",
            "One who ran the released weights on val reports the paper's number.",
        ),
    ),
    Model(
        name="deeplab_aspp_s_vgg16",
        title="DeepLab-ASPP-S-VGG16",
        network="deeplab_aspp_s_vgg16",
        trained_on=_IMAGENET,
        parameters=37_877_652,
        scores=(Score("val", f"{_V2}, Table 3", 66.98, 69.73),),
        init="deeplab_aspp_vgg16_init",
        notes=("ASPP-S of the paper: rates 2, 4, 8, 12.", _NOT_RELEASED, _CRF_UNKNOWN),
    ),
    Model(
        name="deeplab_largefov_vgg16_v2",
        title="DeepLab-LargeFOV-v2",
        network="deeplab_largefov_vgg16_v2",
        trained_on=_IMAGENET,
        parameters=20_505_429,
        scores=(
            Score("val", f"{_V2}, Table 3", 65.76, 69.84),
            Score("test", f"{_V2}, Section 4.1.2", 67.7, None),
        ),
        init="vgg16_20M",
        notes=(
            "LargeFOV of v1, trained by v2's recipe (poly, batch 10, 20,000 iterations); Table 2 has 65.88 on val.",
            _NOT_RELEASED,
            _CRF_UNKNOWN,
        ),
    ),
    Model(
        name="deeplab_attention_vgg16",
        title="DeepLab-Attention-VGG16",
        network="deeplab_attention_vgg16",
        trained_on=_IMAGENET,
        parameters=34_663_256,
        scores=(
            Score("val", _ATTENTION, 69.08, None),
            Score("test", _ATTENTION, 71.5, None),
            Score("val", f"{_V2}, Table 7", 56.39, None, "PASCAL-Person-Part, 7 classes"),
        ),
        towers=3,
        init="vgg16_20M",
        notes=(
            "Three scales, extra supervision. With MS-COCO: 71.42 on val; 75.1 on test with the CRF, and 75.7 with "
            "random scaling too (arXiv:1606.00915, Table 5, has 75.7).",
            "Neither a model nor a prototxt of the authors was found: the network is that of a net built on it.",
            _CRF_UNKNOWN,
        ),
    ),
    Model(
        name="deeplab_attention_vgg16_plain",
        title="DeepLab-Attention-VGG16 without extra supervision",
        network="deeplab_attention_vgg16_plain",
        trained_on=_IMAGENET,
        parameters=34_663_256,
        towers=3,
        init="vgg16_20M",
        notes=(
            "One loss in place of four. By the summaries of the paper, three scales are then worse than two.",
            _CRF_UNKNOWN,
        ),
    ),
    Model(
        name="deeplab_dt_edgenet",
        title="DeepLab-DT-EdgeNet",
        network="deeplab_dt_edgenet",
        trained_on=_IMAGENET,
        parameters=20_505_878,
        init="deeplab_largefov",
        notes=(
            "Of the CVPR 2016 paper on the domain transform only the abstract could be read: its results are not "
            "printed here. arXiv:1606.00915, Table 5, has 76.3 on test for attention, domain transform and CRF.",
            "Neither a model nor a prototxt was found: the network is reconstructed, and which features its EdgeNet "
            "reads is not known.",
        ),
    ),
    _torchvision(50, "cd0a2569", 42_004_074, 66.4, ("The paper trains no such network on VOC.", _NOT_THE_PAPERS)),
    _torchvision(
        101,
        "586e9e4e",
        60_996_202,
        67.4,
        ("The paper's ResNet-101 has 77.21 on VOC val at output stride 16, and 85.7 on test.", _NOT_THE_PAPERS),
    ),
)

_CALVIN = "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset"

LATER_INIT_WEIGHTS: tuple[Model, ...] = (
    Model(
        name="deeplab_aspp_resnet101_init",
        title="ResNet-101, trained further on MS-COCO",
        network=None,
        trained_on="ImageNet, MS-COCO",
        parameters=None,
        file=RemoteFile("init.caffemodel", (_RESNET_ZIP,)),
        pages=(f"{_PAGE}/DeepLabv2_resnet.html",),
        notes=(
            "Training of ResNet-101's networks starts from it. Its last layer is fc1_coco, 1x1 with 91 outputs, which "
            "no network here takes; it has no ASPP, so the heads start from their fillers.",
            f"A file of this name for COCO-Stuff: {_CALVIN}/deeplabv2_resnet101_init.caffemodel.",
        ),
    ),
    Model(
        name="deeplab_aspp_vgg16_init",
        title="VGG-16 with four fc6 and fc7",
        network=None,
        trained_on="ImageNet",
        parameters=None,
        file=RemoteFile("init.caffemodel", (_VGG_ZIP,)),
        pages=(f"{_PAGE}/DeepLabv2_vgg.html",),
        notes=(
            "Training of the ASPP networks of VGG-16 starts from it. Its fc6_1 to fc7_4 are, it is inferred, copies of "
            "vgg16_20M's fc6 and fc7.",
            f"A file of this name for COCO-Stuff: {_CALVIN}/deeplabv2_vgg16_init.caffemodel.",
        ),
    ),
)
