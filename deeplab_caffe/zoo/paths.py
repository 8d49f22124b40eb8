"""Where the released networks' prototxts lie."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from deeplab_caffe.errors import DeepLabCaffeError

NETWORKS = ("deeplab_largefov", "deeplab", "deeplab_7x7")
KINDS = ("train", "test", "deploy", "solver", "solver2")


def prototxt_path(name: str, kind: str = "deploy") -> Path:
    """The path of a released network's prototxt.

    Args:
        name: ``"deeplab_largefov"``, ``"deeplab"`` or ``"deeplab_7x7"``.
        kind: ``"train"``, ``"test"``, ``"deploy"``, ``"solver"`` or ``"solver2"``. All but ``"deploy"`` have ``${VAR}``
            to be filled; their first lines say which.

    Raises:
        DeepLabCaffeError: there is no such network or file.
    """
    if name not in NETWORKS:
        raise DeepLabCaffeError(f"no network {name!r} in the package: it has {', '.join(NETWORKS)}")
    if kind not in KINDS:
        raise DeepLabCaffeError(f"no prototxt {kind!r} of {name}: there are {', '.join(KINDS)}")
    return _folder() / name / f"{kind}.prototxt"


def _folder() -> Path:
    """``prototxt/``: inside the package where that was installed, at the checkout's root where it runs from there."""
    package = Path(str(files("deeplab_caffe")))
    for folder in (package / "prototxt", package.parent / "prototxt"):
        if folder.is_dir():
            return folder
    raise DeepLabCaffeError(f"the prototxt folder is missing: expected it in {package} or beside it")
