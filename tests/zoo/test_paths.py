from __future__ import annotations

import pytest

from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.zoo import LATER_NETWORKS, NETWORKS, OWN_NETWORKS, paths, prototxt_path


@pytest.mark.parametrize("name", [*NETWORKS, *LATER_NETWORKS, *OWN_NETWORKS, *paths.BASES])
@pytest.mark.parametrize("kind", paths.KINDS)
def test_every_file_is_there(name: str, kind: str) -> None:
    path = prototxt_path(name, kind)
    assert path.is_file()
    assert path.name == f"{kind}.prototxt"


def test_a_recipe_has_its_own_training_and_its_networks_other_files() -> None:
    assert prototxt_path("deeplab_weak_em_adapt", "train").parent.name == "deeplab_weak_em_adapt"
    assert prototxt_path("deeplab_weak_em_adapt", "test").parent.name == "deeplab_pool3"
    assert prototxt_path("deeplab_coco_largefov", "train").parent.name == "deeplab_largefov"


def test_every_folder_has_a_name() -> None:
    folders = {path.name for path in prototxt_path("deeplab").parent.parent.iterdir()}
    networks = {*NETWORKS, *LATER_NETWORKS, *OWN_NETWORKS}
    assert networks <= folders <= {*networks, *paths.BASES}


def test_deploy_is_the_default() -> None:
    assert prototxt_path("deeplab_largefov").name == "deploy.prototxt"


@pytest.mark.parametrize(
    ("arguments", "message"), [(("resnet",), "resnet.*deeplab_largefov"), (("deeplab", "val"), "val")]
)
def test_unknown_names_list_what_there_is(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(DeepLabCaffeError, match=message):
        prototxt_path(*arguments)


def test_an_installed_package_carries_the_folder_inside(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "site-packages" / "deeplab_caffe"
    monkeypatch.setattr(paths, "files", lambda _: inside)
    with pytest.raises(DeepLabCaffeError, match="prototxt folder is missing"):
        prototxt_path("deeplab")
    (inside / "prototxt").mkdir(parents=True)
    assert prototxt_path("deeplab") == inside / "prototxt" / "deeplab" / "deploy.prototxt"


def test_a_copy_may_be_edited() -> None:
    """``experiment`` and users copy the files, first lines and all."""
    folders = prototxt_path("deeplab").parent.parent
    assert [path for path in folders.rglob("*.prototxt") if "do not edit" in path.read_text(encoding="utf-8")] == []
