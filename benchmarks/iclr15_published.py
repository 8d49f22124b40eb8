"""The numbers of Tables 1 to 3 of Chen et al. (ICLR 2015, arXiv:1412.7062): only the published columns.

The val and CRF numbers of Table 1 and all of Table 2 are from the project's notes. The rows of Table 3 are from memory;
a test checks that their means are the printed means to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """One row of the paper.

    Attributes:
        key: our name of the network.
        name: the paper's name of it.
        crf: preset for its dense CRF.
        crf_note: where that preset is not the method's own.
        val: published mean IoU on val of the DCNN alone, Table 1 (a).
        val_crf: ... with the dense CRF.
        test_crf: ... on test with the dense CRF, Tables 1 (b) and 3.
    """

    key: str
    name: str
    crf: str
    crf_note: str = ""
    val: float | None = None
    val_crf: float | None = None
    test_crf: float | None = None


METHODS = (
    Method("deeplab", "DeepLab", "DeepLab", "", 59.80, 63.74, 66.4),
    Method("deeplab_msc", "DeepLab-MSc", "DeepLab-MSc", "", 61.30, 65.21, 67.1),
    Method("deeplab_4x4", "DeepLab-4x4", "DeepLab", "the CRF is DeepLab's: the method's own is not known", None, 67.14),
    Method(
        "deeplab_7x7",
        "DeepLab-7x7",
        "DeepLab-LargeFOV",
        "the CRF is LargeFOV's: the method's own is not known",
        64.38,
        67.64,
        70.3,
    ),
    Method("deeplab_largefov", "DeepLab-LargeFOV", "DeepLab-LargeFOV", "", 62.25, 67.64, 70.3),
    Method("deeplab_msc_largefov", "DeepLab-MSc-LargeFOV", "DeepLab-MSc-LargeFOV", "", 64.21, 68.70, 71.6),
)


@dataclass(frozen=True)
class FieldOfView:
    """One row of Table 2: kernel of fc6, input stride, field of view, parameters in millions, training images/s."""

    key: str
    kernel: int
    stride: int
    field: int
    parameters: float
    mean_iou: float
    speed: float


FIELDS_OF_VIEW = (
    FieldOfView("deeplab_7x7", 7, 4, 224, 134.3, 67.64, 1.44),
    FieldOfView("deeplab", 4, 4, 128, 65.1, 63.74, 2.90),
    FieldOfView("deeplab_4x4", 4, 8, 224, 65.1, 67.14, 2.90),
    FieldOfView("deeplab_largefov", 3, 12, 224, 20.5, 67.64, 4.84),
)

# IoU on the VOC 2012 test set by class, background first; all with the dense CRF, trained on trainval_aug.
PER_CLASS: dict[str, tuple[float, ...]] = {
    "deeplab": (
        *(92.1, 78.4, 33.1, 78.2, 55.6, 65.3, 81.3, 75.5, 78.6, 25.3, 69.2),
        *(52.7, 75.2, 69.0, 79.1, 77.6, 54.7, 78.3, 45.1, 73.3, 56.2),
    ),
    "deeplab_msc": (
        *(92.6, 80.4, 36.8, 77.4, 55.2, 66.4, 81.5, 77.5, 78.9, 27.1, 68.2),
        *(52.7, 74.3, 69.6, 79.4, 79.0, 56.9, 78.8, 45.2, 72.7, 59.3),
    ),
    "deeplab_7x7": (
        *(92.8, 83.9, 36.6, 77.5, 58.4, 68.0, 84.6, 79.7, 83.1, 29.5, 74.6),
        *(59.3, 78.9, 76.0, 82.1, 80.6, 60.3, 81.7, 49.2, 78.0, 60.7),
    ),
    "deeplab_largefov": (
        *(92.6, 83.5, 36.6, 82.5, 62.3, 66.5, 85.4, 78.5, 83.7, 30.4, 72.9),
        *(60.4, 78.5, 75.5, 82.1, 79.7, 58.2, 82.0, 48.8, 73.7, 63.3),
    ),
    "deeplab_msc_largefov": (
        *(93.1, 84.4, 54.5, 81.5, 63.6, 65.9, 85.1, 79.1, 83.4, 30.7, 74.1),
        *(59.8, 79.0, 76.1, 83.2, 80.8, 59.7, 82.2, 50.4, 73.1, 63.7),
    ),
}
