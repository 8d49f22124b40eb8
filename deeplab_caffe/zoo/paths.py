"""Paths of the released networks' prototxts."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from deeplab_caffe.errors import DeepLabCaffeError

KINDS = ("train", "test", "deploy", "solver", "solver2")

# Networks with files of all kinds.
NETWORKS = (
    "deeplab_largefov",
    "deeplab",
    "deeplab_4x4",
    "deeplab_7x7",
    "deeplab_pool3",
    "deeplab_msc",
    "deeplab_msc_largefov",
)

# The same, of DeepLab v2 and of the papers after it: tools/networks writes their files.
LATER_NETWORKS = (
    "deeplab_largefov_vgg16_v2",
    "deeplab_aspp_vgg16",
    "deeplab_aspp_s_vgg16",
    "deeplab_aspp_resnet101",
    "deeplab_largefov_resnet101",
    "deeplab_attention_vgg16",
    "deeplab_dt_edgenet",
    "deeplab_v3_resnet50",
    "deeplab_v3_resnet101",
)

# Ours, small enough to train on a processor; the first is the network that comes with the package.
OWN_NETWORKS = ("deeplab_v3_lite0", "deeplab_v3_lite0_os8")

# For each name, the network whose files it uses if it has none of its own. Recipes have their own train.prototxt; the
# others differ only in the training data, that is, in TRAIN_SET and in the initial weights.
BASES = MappingProxyType(
    {
        "deeplab_coco": "deeplab_pool3",
        "deeplab_coco_largefov": "deeplab_largefov",
        "deeplab_msc_coco_largefov": "deeplab_msc_largefov",
        "deeplab_weak_em_adapt": "deeplab_pool3",
        "deeplab_weak_em_fixed": "deeplab_pool3",
        "deeplab_bbox_rect": "deeplab_largefov",
        "deeplab_bbox_seg": "deeplab_largefov",
        "deeplab_bbox_em_fixed": "deeplab_largefov",
        "deeplab_semi_em_fixed": "deeplab_largefov",
        "deeplab_semi_bbox_em_fixed": "deeplab_largefov",
        "deeplab_attention_vgg16_plain": "deeplab_attention_vgg16",
    }
)


def prototxt_path(name: str, kind: str = "deploy") -> Path:
    """Return the path of a network's or recipe's prototxt.

    Args:
        name: one of :data:`NETWORKS`, :data:`LATER_NETWORKS`, :data:`OWN_NETWORKS` or :data:`BASES`. The last have
            their base's files if they have none of their own: ``prototxt_path("deeplab_weak_em_adapt", "test")`` is
            deeplab_pool3's.
        kind: ``"train"``, ``"test"``, ``"deploy"``, ``"solver"`` or ``"solver2"``. All but ``"deploy"`` have ``${VAR}``
            to be filled; their first lines list the names.

    Raises:
        DeepLabCaffeError: there is no such network or file.
    """
    known = (*NETWORKS, *LATER_NETWORKS, *OWN_NETWORKS, *BASES)
    if name not in known:
        raise DeepLabCaffeError(f"no network {name!r} in the package: it has {', '.join(known)}")
    if kind not in KINDS:
        raise DeepLabCaffeError(f"no prototxt {kind!r} of {name}: there are {', '.join(KINDS)}")
    folder = _folder()
    own = folder / name / f"{kind}.prototxt"
    return own if name not in BASES or own.is_file() else folder / BASES[name] / f"{kind}.prototxt"


def prototxt_paths(name: str) -> dict[str, Path]:
    """Return the prototxts of a network or recipe by kind; an empty dict if the package has no such network."""
    try:
        found = {kind: prototxt_path(name, kind) for kind in KINDS}
    except DeepLabCaffeError:
        return {}
    return {kind: path for kind, path in found.items() if path.is_file()}


def _folder() -> Path:
    """Find ``prototxt/``: in an installed package, or at the root of a checkout."""
    package = Path(str(files("deeplab_caffe")))
    for folder in (package / "prototxt", package.parent / "prototxt"):
        if folder.is_dir():
            return folder
    raise DeepLabCaffeError(f"the prototxt folder is missing: expected it in {package} or beside it")
