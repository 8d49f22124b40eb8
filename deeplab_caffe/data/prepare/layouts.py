"""The places of images, annotations and splits in data sets, as unpacked from their publishers' archives.

Sources: VOC's development kit; the 11-class CamVid of SegNet's tutorial; the file names and label ids of
mcordts/cityscapesScripts; nightrome/cocostuff for the PNGs of 2017, nightrome/cocostuff10k and
kazuto1011/deeplab-pytorch for 10k's variable ``S``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deeplab_caffe.data.classes import KNOWN, Classes
from deeplab_caffe.data.io.folders import find_images, folder_names, validate_pairs
from deeplab_caffe.data.io.lists import read_id_list, read_lines
from deeplab_caffe.data.prepare.labels import LabelRule, read_cocostuff_mat
from deeplab_caffe.errors import DataError
from deeplab_caffe.files.names import is_file, is_folder


@dataclass(frozen=True)
class Pair:
    """An image and its annotation.

    Attributes:
        id: name in id lists: the image's path in its folder, without the ending.
        image: the image's file.
        label: the annotation's file; None in a split without annotations.
    """

    id: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class Layout:
    """The pairs of a data set by split, and the rule by which its annotations are read."""

    rule: LabelRule
    splits: dict[str, list[Pair]] = field(default_factory=dict)


def find_layout(
    kind: str,
    root: Path,
    *,
    images: str | None = None,
    labels: str | None = None,
    classes: Classes | None = None,
) -> Layout:
    """Find the pairs of a data set; no image is read.

    Args:
        kind: one of :data:`KINDS`.
        root: the data set's folder.
        images: the folder of images inside it, for voc12 and folders.
        labels: the folder of annotations inside it, for voc12 and folders.
        classes: classes to use instead of the data set's own; ``folders`` needs them.

    Raises:
        DataError: folders, images or annotations are missing.
    """
    if not is_folder(root):
        raise DataError("no such folder", root)
    found = KINDS[kind](root, images, labels, classes)
    if not any(found.splits.values()):
        raise DataError(f"holds no image of {kind}", root)
    return found


def _flat(root: Path, images: str | None, labels: str | None, classes: Classes | None) -> Layout:
    """Find all images in one folder, all annotations in another, and splits in lists of ids."""
    classes = classes or KNOWN["voc12"]
    if labels is None:
        labels = next((one for one in ("SegmentationClassAug", "SegmentationClass") if is_folder(root / one)), None)
    if labels is None:
        raise DataError("has neither SegmentationClassAug nor SegmentationClass: name the annotations' folder", root)
    folder, annotated = root / (images or "JPEGImages"), find_images(root / labels)
    pictures = find_images(folder)
    split_files = {path.stem: path for path in sorted((root / "ImageSets" / "Segmentation").glob("*.txt"))}
    if not split_files:
        split_files = {path.stem.removesuffix("_id"): path for path in sorted((root / "list").glob("*_id.txt"))}
    if not split_files:
        ids = {"all": [name for name in pictures if name in annotated]}
    else:
        ids = {split: read_id_list(path) for split, path in split_files.items()}
    found = {split: _paired(names, pictures, annotated, folder, root / labels) for split, names in ids.items()}
    return Layout(LabelRule(classes), found)


def _paired(
    names: Sequence[str], images: dict[str, Path], labels: dict[str, Path], image_folder: Path, label_folder: Path
) -> list[Pair]:
    """Pair images and annotations by name; in a split either all images or none have annotations.

    Raises:
        DataError: an image is missing, or some but not all annotations are, or an image is its own annotation.
    """
    for name in names:
        if name not in images:
            raise DataError(f"has no image '{name}'", image_folder)
    missing = [name for name in names if name not in labels]
    if missing and len(missing) < len(names):
        raise DataError(f"has no annotation '{missing[0]}', and lacks {len(missing)} of {len(names)}", label_folder)
    validate_pairs(images, labels, [] if missing else names)
    return [Pair(name, images[name], labels.get(name)) for name in names]


def _camvid(root: Path, images: str | None, labels: str | None, classes: Classes | None) -> Layout:
    """Find SegNet's folders train, trainannot and so on, where label 11 is not a class; else as :func:`_flat`."""
    classes = classes or KNOWN["camvid"]
    splits = [split for split in ("train", "val", "test") if is_folder(root / f"{split}annot")]
    if not splits:
        flat = _flat(root, images, labels, classes)
        return Layout(LabelRule(classes, void=(len(classes),)), flat.splits)
    found = {}
    for split in splits:
        pictures = find_images(root / split)
        folders = root / split, root / f"{split}annot"
        found[split] = _paired(list(pictures), pictures, find_images(folders[1]), *folders)
    return Layout(LabelRule(classes, void=(len(classes),)), found)


# The labels of cityscapesscripts' labels.py are 0 to 33; its label -1 is 255 in files.
_CITYSCAPES_HIGHEST = 33


def _cityscapes(root: Path, images: str | None, labels: str | None, classes: Classes | None) -> Layout:
    """Find leftImg8bit and gtFine; use train ids if they were made (createTrainIdLabelImgs.py), else label ids."""
    made = any((root / "gtFine").glob("train/*/*_gtFine_labelTrainIds.png"))
    ending = "_gtFine_labelTrainIds.png" if made else "_gtFine_labelIds.png"
    rule = LabelRule(KNOWN["cityscapes"]) if made else LabelRule(KNOWN["cityscapes-ids"], highest=_CITYSCAPES_HIGHEST)
    found = {}
    for split in ("train", "val", "test"):
        pictures, annotated = {}, {}
        for image in sorted((root / "leftImg8bit" / split).glob("*/*_leftImg8bit.png")):
            name = f"{image.parent.name}/{image.stem}"
            pictures[name] = image
            label = root / "gtFine" / split / image.parent.name / image.name.replace("_leftImg8bit.png", ending)
            # The annotations of the split test are only dummies.
            if split != "test" and is_file(label):
                annotated[name] = label
        if pictures:
            folders = root / "leftImg8bit" / split, root / "gtFine" / split
            found[split] = _paired(list(pictures), pictures, annotated, *folders)
    return Layout(rule, found)


def _cocostuff(root: Path, images: str | None, labels: str | None, classes: Classes | None) -> Layout:
    """Find COCO-Stuff's images and annotations, with a folder per split; or 10k's, with imageLists."""
    classes = KNOWN["cocostuff"]
    if is_folder(root / "imageLists"):
        _check_10k(root / "cocostuff-labels.txt")
        pictures = find_images(root / "images")
        annotations = root / "annotations"
        annotated = {name[:-4]: annotations / name for name in folder_names(annotations) if name.endswith(".mat")}
        found = {}
        for path in sorted((root / "imageLists").glob("*.txt")):
            found[path.stem] = _paired(read_id_list(path), pictures, annotated, root / "images", annotations)
        return Layout(LabelRule(classes, reader=read_cocostuff_mat), found)
    annotations = root / "annotations"
    found = {}
    for split in ("train2017", "val2017"):
        if is_folder(annotations / split):
            pictures = find_images(root / "images" / split)
            folders = root / "images" / split, annotations / split
            found[split] = _paired(list(pictures), pictures, find_images(annotations / split), *folders)
    return Layout(LabelRule(classes), found)


def _check_10k(path: Path) -> None:
    """Check by its list of labels that COCO-Stuff 10k is version 1.1: version 1.0 has 172 classes with other numbers.

    Raises:
        DataError: it is another version, or there is no such list.
    """
    lines = [line.strip() for line in read_lines(path) if line.strip()]
    if len(lines) != 183 or lines[1] != b"1: person" or lines[-1] != b"182: wood":
        raise DataError("expected the labels of version 1.1, from '0: unlabeled' to '182: wood'", path)


KINDS: dict[str, Callable[[Path, str | None, str | None, Classes | None], Layout]] = {
    "voc12": _flat,
    "camvid": _camvid,
    "cityscapes": _cityscapes,
    "cocostuff": _cocostuff,
    "folders": _flat,
}
