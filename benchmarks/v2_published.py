"""The numbers printed in the papers after DeepLab v1: only the published columns.

DeepLab v2 (Chen et al., arXiv:1606.00915v2): Tables 1 to 9, from the paper's text; where the text lacks the check marks
of a row (Tables 4, 6, 7, 9), the sentences about it give them. Attention to scale (Chen et al., CVPR 2016): from two
summaries that agree. DeepLab v3 (Chen et al., arXiv:1706.05587): the numbers in its text. No number of the domain
transform's paper was at hand, so there is only v2's row about it.
"""

from __future__ import annotations

from dataclasses import dataclass

from iclr15_published import Method


@dataclass(frozen=True)
class Row:
    """One number of a table.

    Attributes:
        key: its name, unique.
        name: what it is of.
        published: mean IoU in percent.
        network: ours that it is of, a key of :data:`NETWORKS`; None where we have no such network.
        images: ``"val"`` or ``"test"`` of PASCAL VOC 2012, for the network.
        crf: with the dense CRF behind the network.
    """

    key: str
    name: str
    published: float
    network: str | None = None
    images: str = "val"
    crf: bool = False


@dataclass(frozen=True)
class Table:
    """A table: title, rows, and what to know of it."""

    title: str
    rows: tuple[Row, ...]
    note: str = ""


_LARGEFOV_CRF = "the CRF is v1's of LargeFOV: v2's own is not known"
_VGG_CRF = "the CRF is ASPP-L's: the network's own is not known"
_RESNET_CRF = "the CRF is ASPP's: the network's own is not known"

NETWORKS = {
    method.key: method
    for method in (
        Method("deeplab_7x7", "7x7", "DeepLab-LargeFOV", "the CRF is LargeFOV's: the network's own is not known"),
        Method("deeplab", "4x4, rate 4", "DeepLab"),
        Method("deeplab_4x4", "4x4, rate 8", "DeepLab", "the CRF is DeepLab's: the network's own is not known"),
        Method("deeplab_largefov", "LargeFOV", "DeepLab-LargeFOV"),
        Method("deeplab_largefov_vgg16_v2", "LargeFOV, v2's training", "DeepLab-LargeFOV", _LARGEFOV_CRF),
        Method("deeplab_aspp_s_vgg16", "ASPP-S", "DeepLab-ASPP-VGG16", _VGG_CRF),
        Method("deeplab_aspp_vgg16", "ASPP-L", "DeepLab-ASPP-VGG16"),
        Method("deeplab_largefov_resnet101", "ResNet-101 LargeFOV", "DeepLab-ASPP-ResNet101", _RESNET_CRF),
        Method("deeplab_aspp_resnet101", "ResNet-101 ASPP", "DeepLab-ASPP-ResNet101"),
        Method("deeplab_attention_vgg16", "Attention", "DeepLab-LargeFOV", "the CRF is LargeFOV's"),
    )
}


def _both(key: str, name: str, before: float, after: float, network: str | None) -> tuple[Row, Row]:
    """Return the rows before and after the CRF."""
    return Row(key, name, before, network), Row(f"{key}.crf", f"{name} + CRF", after, network, crf=True)


_RESNET = (("plain", "ResNet-101"), ("msc", "+ MSC"), ("coco", "+ COCO"))

TABLES = (
    Table(
        "Table 1: field of view, VOC val (VGG-16, v1's training)",
        (
            *_both("t1.7x7", "7x7, rate 4", 64.38, 67.64, "deeplab_7x7"),
            *_both("t1.4x4", "4x4, rate 4", 59.80, 63.74, "deeplab"),
            *_both("t1.4x4r8", "4x4, rate 8", 63.41, 67.14, "deeplab_4x4"),
            *_both("t1.largefov", "3x3, rate 12 (LargeFOV)", 62.25, 67.64, "deeplab_largefov"),
        ),
    ),
    Table(
        "Table 2: learning policy, LargeFOV, VOC val, no CRF",
        (
            Row("t2.step30", "step, batch 30, 6K", 62.25, "deeplab_largefov"),
            Row("t2.poly30", "poly, batch 30, 6K", 63.42),
            Row("t2.poly30.10k", "poly, batch 30, 10K", 64.90),
            Row("t2.poly10.10k", "poly, batch 10, 10K", 64.71),
            Row("t2.poly10.20k", "poly, batch 10, 20K", 65.88, "deeplab_largefov_vgg16_v2"),
            Row("t2.step.test", "step, VOC test", 65.1, "deeplab_largefov", "test"),
            Row("t2.poly.test", "poly, batch 10, 20K, VOC test", 67.7, "deeplab_largefov_vgg16_v2", "test"),
        ),
        "The last two are in the text.",
    ),
    Table(
        "Table 3: ASPP on VGG-16, VOC val",
        (
            *_both("t3.largefov", "LargeFOV", 65.76, 69.84, "deeplab_largefov_vgg16_v2"),
            *_both("t3.aspp_s", "ASPP-S {2, 4, 8, 12}", 66.98, 69.73, "deeplab_aspp_s_vgg16"),
            *_both("t3.aspp_l", "ASPP-L {6, 12, 18, 24}", 68.96, 71.57, "deeplab_aspp_vgg16"),
            Row("t3.aspp_l.test", "ASPP-L + CRF, VOC test", 72.6, "deeplab_aspp_vgg16", "test", crf=True),
        ),
        "The last one is in the text.",
    ),
    Table(
        "Table 4: ResNet-101, VOC val",
        (
            *(Row(f"t4.{key}", name, value) for (key, name), value in zip(_RESNET, (68.72, 71.27, 73.28), strict=True)),
            Row("t4.aug", "+ Aug", 74.87),
            Row("t4.largefov", "+ Aug + LargeFOV", 75.54, "deeplab_largefov_resnet101"),
            Row("t4.aspp", "+ Aug + ASPP", 76.35, "deeplab_aspp_resnet101"),
            Row("t4.crf", "+ Aug + ASPP + CRF", 77.69, "deeplab_aspp_resnet101", crf=True),
        ),
        "Each row adds to those above, LargeFOV and ASPP to Aug. Others measured 76.42 to 76.46 with the released "
        "train_iter_20000; a number near 90 means train2_iter_20000, which has seen val.",
    ),
    Table(
        "Table 5: VOC test, the DeepLab family",
        (
            Row("t5.largefov_coco", "DeepLab-CRF-LargeFOV-COCO", 72.7),
            Row("t5.attention", "DeepLab-CRF-Attention", 75.7),
            Row("t5.attention_dt", "DeepLab-CRF-Attention-DT", 76.3),
            Row("t5.resnet101", "DeepLab-CRF (ResNet-101)", 79.7, "deeplab_aspp_resnet101", "test", crf=True),
        ),
    ),
    Table(
        "Table 6: PASCAL-Context val, 60 classes",
        (
            *_both("t6.vgg16", "VGG-16 LargeFOV", 37.6, 39.6, None),
            *(Row(f"t6.{key}", name, value) for (key, name), value in zip(_RESNET, (39.6, 41.4, 42.9), strict=True)),
            Row("t6.largefov", "+ Aug + LargeFOV", 43.5),
            *_both("t6.aspp", "+ Aug + ASPP", 44.7, 45.7, None),
        ),
    ),
    Table(
        "Table 7: PASCAL-Person-Part val, 7 classes",
        (
            *(Row(f"t7.{key}", name, value) for (key, name), value in zip(_RESNET, (58.90, 63.10, 64.40), strict=True)),
            Row("t7.crf", "+ COCO + CRF", 64.94),
            Row("t7.largefov", "with LargeFOV", 62.18),
            Row("t7.aspp", "with ASPP", 62.76),
            Row("t7.attention", "Attention", 56.39),
        ),
    ),
    Table(
        "Table 8: Cityscapes test, DeepLab's rows",
        (
            Row("t8.strongweak", "pre-release, LargeFOV-StrongWeak + CRF", 64.8),
            Row("t8.largefov", "pre-release, LargeFOV + CRF", 63.1),
            Row("t8.resnet101", "ResNet-101 + CRF", 70.4),
        ),
    ),
    Table(
        "Table 9: Cityscapes val, 19 classes, one scale",
        (
            *_both("t9.half", "VGG-16 LargeFOV, half size", 62.97, 64.18, None),
            *_both("t9.full", "VGG-16 LargeFOV, full size", 64.89, 65.94, None),
            Row("t9.resnet101", "ResNet-101, full size", 66.6),
            Row("t9.resnet101.largefov", "+ LargeFOV", 69.2),
            Row("t9.resnet101.aspp", "+ ASPP", 70.4),
            *_both("t9.resnet101.aug", "+ ASPP + Aug", 71.0, 71.4, None),
        ),
    ),
    Table(
        "Attention to scale (CVPR 2016, by two summaries)",
        (
            Row("att.person_part.single", "PASCAL-Person-Part val, LargeFOV, one scale", 51.91),
            Row("att.person_part.msc", "PASCAL-Person-Part val, MSc-LargeFOV", 53.72),
            Row("att.person_part", "PASCAL-Person-Part val, attention, extra supervision", 56.39),
            Row("att.voc.single", "VOC val, LargeFOV, one scale", 62.28),
            Row("att.voc.msc", "VOC val, MSc-LargeFOV", 64.39),
            Row("att.voc", "VOC val, attention, extra supervision", 69.08, "deeplab_attention_vgg16"),
            Row("att.voc.test", "VOC test, attention", 71.5, "deeplab_attention_vgg16", "test"),
            Row("att.voc.test.max", "VOC test, maximum", 70.6),
            Row("att.voc.test.average", "VOC test, average", 70.5),
            Row("att.voc_coco.single", "VOC val, COCO, LargeFOV, one scale", 67.58),
            Row("att.voc_coco", "VOC val, COCO, attention", 71.42),
            Row("att.voc_coco.test", "VOC test, COCO, attention + CRF", 75.1),
            Row("att.coco.single", "COCO 2014 subset, LargeFOV, one scale", 31.22),
            Row("att.coco", "COCO 2014 subset, attention", 35.78),
        ),
    ),
    Table(
        "DeepLab v3 (ResNet-101, VOC val unless said)",
        (
            Row("v3.os16", "output stride 16", 77.21),
            Row("v3.cascade", "cascade, best", 79.35),
            Row("v3.flip", "output stride 8, several scales, flip", 79.77),
            Row("v3.coco", "+ COCO", 82.7),
            Row("v3.no_bn", "output stride 16, BatchNorm not trained", 75.95),
            Row("v3.labels", "output stride 16, labels shrunk", 76.01),
            Row("v3.crop321", "output stride 16, crop 321", 67.22),
            Row("v3.os8_train", "trained at output stride 8", 74.45),
            Row("v3.test", "VOC test", 85.7),
            Row("v3.test.jft", "VOC test, JFT", 86.9),
            Row("v3.cityscapes", "Cityscapes val, output stride 16", 77.23),
            Row("v3.cityscapes.os8", "Cityscapes val, output stride 8", 77.82),
            Row("v3.cityscapes.flip", "Cityscapes val, several scales, flip", 79.30),
        ),
        "The paper's weights were never released. torchvision's were trained on COCO, another way: no row is theirs.",
    ),
)
