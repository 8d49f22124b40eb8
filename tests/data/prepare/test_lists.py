"""Small data sets in their publishers' folders, through finding, checking and writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.data import load_label, read_image_list, save_image, save_labels_png
from deeplab_caffe.data.classes import KNOWN, find_classes
from deeplab_caffe.data.colormap import VOC_COLORMAP
from deeplab_caffe.data.prepare import lists
from deeplab_caffe.data.prepare.labels import read_cocostuff_mat
from deeplab_caffe.data.prepare.layouts import find_layout
from deeplab_caffe.data.prepare.lists import check_pairs, write_lists
from deeplab_caffe.errors import DataError

LABELS = np.array([[0, 15, 255], [12, 12, 0]], np.uint8)


def picture(path: Path, size: tuple[int, int] = (2, 3)) -> None:
    save_image(path, np.zeros((*size, 3), np.uint8))


def grey(path: Path, labels: np.ndarray) -> None:
    save_image(path, np.asarray(labels, np.uint8))


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def prepared(kind: str, root: Path, out: Path | None = None, **options) -> tuple[dict, str]:
    """Counts and root_folder; the lists go to ``out``, or ``root/list``."""
    layout = find_layout(kind, root, **options)
    counts = check_pairs(layout)
    _, prefix = write_lists(layout, counts, root, out or root / "list")
    return counts, prefix


def read_back(prefix: str, path: Path) -> list[np.ndarray]:
    """The labels of a list, as the data layers read them; the images are there."""
    entries = read_image_list(path)
    assert all(Path(prefix + entry.image).is_file() for entry in entries)
    return [load_label(prefix + entry.label) for entry in entries]


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2012"
    for name in ("a", "b", "c"):
        picture(root / "JPEGImages" / f"{name}.png")
    save_labels_png(root / "SegmentationClass" / "a.png", LABELS, VOC_COLORMAP)
    save_image(root / "SegmentationClass" / "b.png", VOC_COLORMAP[LABELS])
    text(root / "ImageSets" / "Segmentation" / "train.txt", "a\nb\n")
    text(root / "ImageSets" / "Segmentation" / "test.txt", "c\n")
    return root


def test_voc(voc: Path, tmp_path: Path) -> None:
    """Palettes stay, colours become indices; test has no annotations."""
    counts, prefix = prepared("voc12", voc)
    assert prefix == str(voc)
    assert (voc / "list/train.txt").read_text() == (
        "/JPEGImages/a.png /SegmentationClass/a.png\n/JPEGImages/b.png /list/labels/b.png\n"
    )
    assert (voc / "list/test.txt").read_text() == "/JPEGImages/c.png\n"
    assert (voc / "list/train_id.txt").read_text() == "a\nb\n"
    assert find_classes(voc / "list/classes.txt").names == KNOWN["voc12"].names
    for labels in read_back(prefix, voc / "list/train.txt"):
        np.testing.assert_array_equal(labels, LABELS)
    train = counts["train"]
    assert (train.images, train.ignored, train.pixels[12], train.images_with[15]) == (2, 2, 4, 2)
    # Lists outside the root: one root_folder is for both words.
    _, prefix = prepared("voc12", voc, tmp_path / "elsewhere")
    assert prefix == ""
    np.testing.assert_array_equal(read_back(prefix, tmp_path / "elsewhere/train.txt")[1], LABELS)


def test_lists_are_not_replaced(voc: Path) -> None:
    prepared("voc12", voc)
    with pytest.raises(DataError, match=r"list/train\.txt: is there already|list/test\.txt: is there already"):
        prepared("voc12", voc)
    layout = find_layout("voc12", voc)
    write_lists(layout, check_pairs(layout), voc, voc / "list", overwrite=True)


def test_what_is_wrong_is_named(voc: Path) -> None:
    """All faults at once, and nothing is written."""
    grey(voc / "SegmentationClass" / "a.png", LABELS + (LABELS == 15) * np.uint8(6))
    grey(voc / "SegmentationClass" / "b.png", np.zeros((3, 3)))
    with pytest.raises(DataError) as error:
        prepared("voc12", voc)
    for said in ("2 files are wrong", "a.png: label 21 at row 0, column 1: expected 0 to 20", "3 x 3", "is 2 x 3"):
        assert said in str(error.value)
    colours = VOC_COLORMAP[LABELS].copy()
    colours[1, 2] = (1, 2, 3)
    save_image(voc / "SegmentationClass" / "b.png", colours)
    grey(voc / "SegmentationClass" / "a.png", LABELS)
    with pytest.raises(DataError, match=r"b\.png: colour \(1, 2, 3\) at row 1, column 2 is that of no class"):
        prepared("voc12", voc)
    (voc / "SegmentationClass" / "b.png").unlink()
    with pytest.raises(DataError, match="has no annotation 'b', and lacks 1 of 2"):
        prepared("voc12", voc)
    (voc / "JPEGImages" / "a.png").unlink()
    with pytest.raises(DataError, match="JPEGImages: has no image 'a'"):
        prepared("voc12", voc)
    assert not (voc / "list").exists()


def test_nothing_stays_of_a_failure(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = sorted(voc.rglob("*")), lists.atomic_write

    def failing(path: Path, **options):
        if path.name == "classes.txt":
            raise DataError("cannot be written: No space left on device", path)
        return write(path, **options)

    monkeypatch.setattr(lists, "atomic_write", failing)
    with pytest.raises(DataError, match="No space left"):
        prepared("voc12", voc)
    assert [path for path in sorted(voc.rglob("*")) if path.is_file() or path in before] == before


def test_camvid_of_segnet(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        picture(tmp_path / split / f"{split}1.png")
        grey(tmp_path / f"{split}annot" / f"{split}1.png", [[0, 10, 11], [1, 1, 1]])
    counts, prefix = prepared("camvid", tmp_path)
    np.testing.assert_array_equal(read_back(prefix, tmp_path / "list/val.txt")[0], [[0, 10, 255], [1, 1, 1]])
    assert counts["val"].ignored == 1


@pytest.mark.parametrize("ending", ["labelIds", "labelTrainIds"])
def test_cityscapes(tmp_path: Path, ending: str) -> None:
    ids = ending == "labelIds"
    for split in ("train", "test"):
        picture(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_1_leftImg8bit.png")
        labels = [[7, 33, 4], [255, 26, 7]] if ids else [[0, 18, 255], [255, 13, 0]]
        grey(tmp_path / "gtFine" / split / "ulm" / f"ulm_1_gtFine_{ending}.png", np.array(labels))
    counts, prefix = prepared("cityscapes", tmp_path)
    np.testing.assert_array_equal(read_back(prefix, tmp_path / "list/train.txt")[0], [[0, 18, 255], [255, 13, 0]])
    assert (tmp_path / "list/train_id.txt").read_text() == "ulm/ulm_1_leftImg8bit\n"
    assert (tmp_path / "list/labels/ulm/ulm_1_leftImg8bit.png").exists() == ids
    assert len((tmp_path / "list/test.txt").read_text().split()) == 1
    assert counts["train"].pixels[0] == 2


def test_cocostuff(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "val2017" / "1.jpg")
    grey(tmp_path / "annotations" / "val2017" / "1.png", [[0, 181, 255], [1, 1, 1]])
    counts, _ = prepared("cocostuff", tmp_path)
    assert counts["val2017"].pixels[181] == 1


def test_cocostuff_10k(tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    picture(tmp_path / "images" / "x.jpg")
    text(tmp_path / "imageLists" / "train.txt", "x\n")
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "x.mat"
    savemat(path, {"S": np.array([[0, 1, 182], [2, 2, 2]], np.uint16), "names": "cell"}, do_compression=True)
    with pytest.raises(DataError, match=r"cocostuff-labels\.txt: cannot be read"):
        find_layout("cocostuff", tmp_path)
    names = ("unlabeled", *KNOWN["cocostuff"].names)
    for count in (172, 183):
        text(tmp_path / "cocostuff-labels.txt", "".join(f"{i}: {name}\n" for i, name in enumerate(names[:count])))
        if count == 172:
            with pytest.raises(DataError, match="expected the labels of version 1.1"):
                find_layout("cocostuff", tmp_path)
    _, prefix = prepared("cocostuff", tmp_path)
    np.testing.assert_array_equal(read_back(prefix, tmp_path / "list/train.txt")[0], [[255, 0, 181], [1, 1, 1]])
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match=r"x\.mat"):
        check_pairs(find_layout("cocostuff", tmp_path))


def test_the_annotations_of_cocostuff_10k(tmp_path: Path) -> None:
    savemat, path = pytest.importorskip("scipy.io").savemat, tmp_path / "x.mat"
    # Rows first; category 0, of no class, becomes 255.
    savemat(path, {"S": np.array([[0, 1, 182], [2, 254, 255]], np.float64)})
    assert read_cocostuff_mat(path).tolist() == [[255, 0, 181], [1, 253, 254]]
    for wrong, said in ((-1, "-1 to 5"), (256, "5 to 256")):
        savemat(path, {"S": np.array([[wrong, 5]], np.int16)})
        with pytest.raises(DataError, match=rf"x\.mat: categories must be from 0 to 255, got {said}"):
            read_cocostuff_mat(path)
    for empty in (np.zeros((0, 3)), np.zeros((2, 2, 2))):
        savemat(path, {"S": empty})
        with pytest.raises(DataError, match="has no matrix 'S'"):
            read_cocostuff_mat(path)


def test_own_folders(tmp_path: Path) -> None:
    picture(tmp_path / "photos" / "p.jpg")
    grey(tmp_path / "masks" / "p.png", [[0, 1, 1], [0, 0, 0]])
    options = {"images": "photos", "labels": "masks"}
    prepared("folders", tmp_path, classes=find_classes("background,cat"), **options)
    assert (tmp_path / "list/all.txt").read_text() == "/photos/p.jpg /masks/p.png\n"
    with pytest.raises(DataError, match="label 1 at row 0, column 1: expected 0 to 0"):
        check_pairs(find_layout("folders", tmp_path, classes=find_classes(["background"]), **options))


def test_own_folders_elsewhere(tmp_path: Path) -> None:
    """One root_folder is for both words: where either lies outside of the root, names are absolute."""
    root, photos, masks = tmp_path / "root", tmp_path / "else where" / "photos", tmp_path / "masks"
    picture(root / "photos" / "p.jpg")
    grey(masks / "p.png", [[0, 1, 1], [0, 0, 0]])
    options = {"labels": str(masks), "classes": find_classes("background,cat")}
    _, prefix = prepared("folders", root, images="photos", **options)
    assert prefix == ""
    assert (root / "list/all.txt").read_text() == f"{root}/photos/p.jpg {masks}/p.png\n"
    np.testing.assert_array_equal(read_back(prefix, root / "list/all.txt")[0], [[0, 1, 1], [0, 0, 0]])
    # Below the root the same folder by its whole name is as by its short one; a way out by .. is one from the root.
    grey(root / "masks" / "p.png", [[0, 1, 1], [0, 0, 0]])
    options["labels"] = "../masks"
    _, prefix = prepared("folders", root, tmp_path / "lists", images=str(root / "photos"), **options)
    assert prefix == str(root)
    assert (tmp_path / "lists/all.txt").read_text() == "/photos/p.jpg /../masks/p.png\n"
    picture(photos / "p.jpg")
    with pytest.raises(DataError, match=r"else where/photos/p\.jpg: its name has white space"):
        prepared("folders", root, tmp_path / "more", images=str(photos), **options)


@pytest.mark.parametrize("labels", ["one", "two/../one"])
def test_a_photograph_is_not_its_own_label_map(tmp_path: Path, labels: str) -> None:
    """In one folder p.png and p.jpg have one name, for which p.png goes first: as image and as label map."""
    picture(tmp_path / "one" / "p.jpg")
    (tmp_path / "two").mkdir()
    grey(tmp_path / "one" / "p.png", [[0, 1, 1], [0, 0, 0]])
    with pytest.raises(
        DataError, match=r"p\.png: is both the image and the label map of 'p': keep them in two folders"
    ):
        find_layout("folders", tmp_path, images="one", labels=labels, classes=find_classes("background,cat"))


def test_missing_folders_and_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_layout("voc12", tmp_path / "none")
    with pytest.raises(DataError, match="has neither SegmentationClassAug nor SegmentationClass"):
        find_layout("voc12", tmp_path)
    with pytest.raises(DataError, match="holds no image of cityscapes"):
        find_layout("cityscapes", tmp_path)
    picture(tmp_path / "images" / "val2017" / "a b.png")
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    grey(tmp_path / "annotations" / "val2017" / "a b.png", np.zeros((2, 3)))
    with pytest.raises(DataError, match="white space"):
        prepared("cocostuff", tmp_path)
