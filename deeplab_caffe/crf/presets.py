"""CRF parameters of the released models and scripts: a table of plain numbers, each row with its source.

Scripts, prototxts and papers of the same model have different values, so every preset names its source.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from deeplab_caffe.errors import CRFError

_PUBLIC = "matlab/my_script/SetupEnv.m of the released code"
_AUTHORS = "the authors' fuller SetupEnv.m, found in a public repository"
_INFERRED = "inferred from re-implementations, in no script of the authors"
_ASPP_RESNET = "kazuto1011/deeplab-pytorch configs/voc12.yaml and two public test.prototxts; the authors' own not found"
_ASPP_VGG = "meng-tang/rloss deeplab_vgg16/test.prototxt and two re-implementations; the authors' own not found"
_RLOSS = "meng-tang/rloss: its MSc-LargeFOV in DeepLab v2's syntax"
_TAIL = "the DenseCRF layer, commented out, at the end of the released ResNet-101 test.prototxt; not VOC's numbers"
_CARD = "model card of the bundled network: chosen on 40 CamVid validation images"
_ANIMALS_CARD = "model card of the bundled network: chosen on pictures of VOC train_aug"


@dataclass(frozen=True)
class Preset:
    """Parameters and where they come from.

    Attributes:
        name: the released name, or the NET_ID if the model has no other name.
        numbers: arguments of :class:`deeplab_caffe.crf.CRFParams` by name: the kernels', and ``iterations`` and
            ``min_probability`` if they differ from the defaults.
        source: where the numbers were found.
        aliases: other names of the preset.
    """

    name: str
    numbers: dict[str, float]
    source: str
    aliases: tuple[str, ...] = ()


def _preset(
    name: str,
    bilateral: tuple[float, float, float],
    source: str,
    *aliases: str,
    positions: tuple[float, float] = (3.0, 3.0),
    **others: float,
) -> Preset:
    """Make a preset from bilateral (bi_w, bi_xy_std, bi_rgb_std) and positions (pos_w, pos_xy_std), usually (3, 3)."""
    names = ("pos_w", "pos_xy_std", "bi_w", "bi_xy_std", "bi_rgb_std")
    return Preset(name, dict(zip(names, (*positions, *bilateral), strict=True)) | others, source, aliases)


PRESETS: tuple[Preset, ...] = (
    # Released models
    _preset("DeepLab", (5, 50, 10), _PUBLIC, "vgg128_noup"),
    _preset("DeepLab-MSc", (3, 95, 3), _PUBLIC, "vgg128_ms_pool3"),
    _preset("DeepLab-COCO", (5, 67, 3), _PUBLIC, "vgg128_noup_pool3_cocomix"),
    _preset("DeepLab-LargeFOV", (4, 121, 5), f"{_AUTHORS}; two independent re-implementations agree", "20M_largewin3"),
    _preset("DeepLab-MSc-LargeFOV", (5, 140, 5), _INFERRED),
    _preset("DeepLab-COCO-LargeFOV", (5, 69, 5), _AUTHORS, "20M_largewin3_coco"),
    _preset("DeepLab-Weak-EM-Adapt", (5, 50, 10), _AUTHORS, "vgg128_noup_pool3_adaweak"),
    _preset("DeepLab-Weak-EM-Adapt-later", (35, 61, 10), f"{_AUTHORS}; a later entry of the same model"),
    # Weak and semi-supervised training, by the number of strongly labelled images
    _preset("DeepLab-EM-Fixed-200", (10, 80, 5), _AUTHORS, positions=(3, 10)),
    _preset("DeepLab-EM-Fixed-500", (9, 77, 5), _AUTHORS),
    _preset("DeepLab-EM-Fixed-750", (9, 59, 5), _AUTHORS),
    _preset("DeepLab-EM-Fixed-1000", (7, 75, 5), _AUTHORS),
    _preset("DeepLab-EM-Fixed-5K", (5, 100, 5), _AUTHORS),
    # Label maps made from bounding boxes
    _preset("erode_gt", (41, 33, 4), _PUBLIC),
    _preset("bboxErode20", (45, 37, 3), _PUBLIC, positions=(15, 3)),
    # Other experiments of the authors, by NET_ID
    _preset("noup_pool3_coco", (5, 63, 3), _AUTHORS),
    _preset("cocomix2", (4, 75, 3), _AUTHORS),
    _preset("ms_pool3_coco", (4, 81, 2), _AUTHORS),
    _preset("bbox", (5, 70, 3), _AUTHORS),
    _preset("bbox_crf", (7, 41, 7), _AUTHORS),
    _preset("bbox_crf2", (5, 77, 3), _AUTHORS),
    _preset("largewin", (4, 56, 4), _AUTHORS),
    _preset("largewin2", (4, 53, 5), _AUTHORS),
    _preset("20M", (5, 71, 3), _AUTHORS),
    _preset("125M", (4, 72, 5), _AUTHORS),
    _preset("20M_largewin", (4, 123, 5), _AUTHORS),
    _preset("20M_largewin2", (4, 175, 5), _AUTHORS),
    _preset("largewin_coco", (4, 65, 5), _AUTHORS),
    _preset("20M_largewin2_coco", (4, 65, 5), _AUTHORS),
    _preset("125M_coco", (5, 49, 3), _AUTHORS),
    # Defaults of programs and scripts
    _preset("SetupEnv", (5, 50, 3), f"{_PUBLIC}: its default, in DeepLab v2's too"),
    _preset("run_densecrf", (4, 49, 5), "run_densecrf.sh of the released code, for LargeFOV on val"),
    _preset("early", (10, 60, 20), "the first public version, and the defaults of prog_refine_pascal", "refine_pascal"),
    _preset("refine_pascal_v4", (5, 70, 5), "defaults of prog_refine_pascal_v4"),
    _preset("layer", (5, 50, 10), "the DENSE_CRF layer in the released LargeFOV test.prototxt"),
    # DeepLab v2, by backbone
    _preset("DeepLab-ASPP-ResNet101", (4, 67, 3), _ASPP_RESNET, "DeepLab-v2", "DeepLab-v2-ResNet101", positions=(3, 1)),
    _preset("DeepLab-ASPP-VGG16", (4, 65, 3), _ASPP_VGG, "DeepLab-v2-VGG16", positions=(2, 2)),
    _preset("DeepLab-MSc-LargeFOV-v2", (4, 83, 5), _RLOSS),
    _preset("DeepLab-ASPP-ResNet101-tail", (5, 21, 3), _TAIL, positions=(4, 1)),
    # The networks that come with this package
    # A photograph has only a few of the 21 labels; the others would take half of an iteration's time.
    _preset("deeplab_v3_lite0_animals", (5, 30, 5), _ANIMALS_CARD, iterations=5, min_probability=0.01),
    _preset("deeplab_largefov_slim_camvid", (3, 30, 5), _CARD, "camvid", positions=(1, 3)),
)


def find_preset(name: str) -> Preset:
    """Return the preset of a model, script or program; case, "-" and "_" do not matter.

    Raises:
        CRFError: no preset has this name; the message lists the most similar names.
    """
    by_name = {plain_name(alias): preset for preset in PRESETS for alias in (preset.name, *preset.aliases)}
    preset = by_name.get(plain_name(name))
    if preset is None:
        near = difflib.get_close_matches(plain_name(name), by_name, n=3, cutoff=0.5)
        names = [by_name[key].name for key in near] or [one.name for one in PRESETS[:6]]
        raise CRFError(
            f"no CRF parameters are known for '{name}'; there are some for {', '.join(dict.fromkeys(names))}"
        )
    return preset


def plain_name(name: str) -> str:
    """Return a model's name in the form in which names are compared: case, "_", "-" and spaces do not matter."""
    return str(name).lower().replace("_", "").replace("-", "").replace(" ", "")
