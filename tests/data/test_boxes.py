from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data.boxes import Box, box_probabilities, label_map_boxes, read_voc_boxes, rectangles
from deeplab_caffe.errors import BoxError, DataError


def test_the_smallest_box_is_on_top() -> None:
    boxes = [Box(1, 0, 3, 2, 7), Box(0, 0, 4, 3, 5)]
    expected = [[5, 7, 7, 5, 0], [5, 7, 7, 5, 0], [5, 5, 5, 5, 0], [0, 0, 0, 0, 0]]
    for order in (boxes, boxes[::-1]):
        assert rectangles(order, (4, 5)).tolist() == expected
    assert rectangles([], (1, 2)).tolist() == [[0, 0]]


def test_centre_by_hand() -> None:
    # 20 x 20: 18^2, 16^2, 14^2, 12^2 of 400 pixels are too many for 0.2 + 0.05, 10^2 is just as many, 8^2 is less.
    assert Box(5, 0, 25, 20, 1).centre(0.2) == Box(11, 6, 19, 14, 1)
    assert Box(5, 0, 25, 20, 1).centre(1) == Box(5, 0, 25, 20, 1)
    small = Box(0, 0, 10, 12, 1)
    assert small.centre(0.2) == small
    thin = Box(0, 0, 9, 200, 1)
    assert thin.centre(0.2) == thin
    # 10 x 300: at most 4 pixels can be taken off each side.
    assert Box(0, 0, 10, 300, 1).centre(0.001) == Box(4, 4, 6, 296, 1)


def test_the_places_of_a_box_in_the_middle() -> None:
    box = Box(3, 5, 7, 11, 254)
    assert box.area == 4 * 6
    assert box.place == (slice(5, 11), slice(3, 7))


def test_boxes_of_a_label_map() -> None:
    labels = np.array([[1, 1, 0, 2], [0, 0, 1, 0], [255, 0, 0, 2]], np.uint8)
    assert label_map_boxes(labels) == [Box(0, 0, 3, 2, 1), Box(3, 0, 4, 1, 2), Box(3, 2, 4, 3, 2)]
    assert label_map_boxes(labels, min_area=2) == [Box(0, 0, 3, 2, 1)]
    instances = np.array([[4, 4, 0, 9], [0, 0, 5, 0], [255, 0, 0, 9]], np.uint8)
    assert label_map_boxes(labels, instances) == [Box(0, 0, 2, 1, 1), Box(2, 1, 3, 2, 1), Box(3, 0, 4, 3, 2)]
    with pytest.raises(BoxError, match=r"labels are \(3, 4\), instances \(2, 4\)"):
        label_map_boxes(labels, instances[:2])


@pytest.mark.parametrize("corners", [(0, 0, 0, 1), (-1, 0, 1, 1), (0, 3, 1, 2)])
def test_what_is_no_box(corners: tuple[int, int, int, int]) -> None:
    with pytest.raises(BoxError, match="a box must have"):
        Box(*corners, label=1)


def test_refusals() -> None:
    for label in (0, 255):
        with pytest.raises(BoxError, match="class of a box"):
            Box(0, 0, 1, 1, label)
    outside = [Box(0, 0, 3, 2, 1)]
    with pytest.raises(BoxError, match="outside an image of 2 x 2 pixels"):
        rectangles(outside, (2, 2))
    with pytest.raises(BoxError, match="outside"):
        box_probabilities(outside, (2, 2), 2)
    with pytest.raises(BoxError, match="the classes are 0 to 0"):
        box_probabilities(outside, (2, 3), 1)
    with pytest.raises(BoxError, match="centre"):
        box_probabilities(outside, (2, 3), 2, centre=0)


def test_probabilities_of_one_box() -> None:
    found = box_probabilities([Box(5, 0, 25, 20, 2)], (30, 30), 3)
    assert found.dtype == np.float32
    assert found.sum(axis=0) == pytest.approx(np.ones((30, 30)))
    sure = np.zeros((30, 30), bool)
    sure[6:15, 10:20] = True  # of the 19 x 20 pixels below the image's first row
    inside = np.zeros((30, 30), bool)
    inside[:20, 5:25] = True
    assert found[2][sure] == pytest.approx(1)
    assert found[2][inside & ~sure] == pytest.approx(0.5)
    assert found[0][inside & ~sure] == pytest.approx(0.5)
    assert found[0][~inside] == pytest.approx(1)
    assert not found[1].any()


def test_the_smaller_object_is_in_front() -> None:
    # Both too small for erosion: 100 and 9 pixels, all centre. Where they overlap the votes are 1 and 1, and 0.1 more
    # for the larger, 0.2 for the smaller: 1.2 of 2.3, since the background has none.
    found = box_probabilities([Box(2, 2, 5, 5, 1), Box(0, 0, 10, 10, 2)], (10, 10), 3)
    assert found[:, 3, 3] == pytest.approx([0, 1.2 / 2.3, 1.1 / 2.3], abs=1e-6)
    assert found[:, 8, 8] == pytest.approx([0, 0, 1], abs=1e-6)
    even = box_probabilities([Box(2, 2, 5, 5, 1), Box(0, 0, 10, 10, 2)], (10, 10), 3, occluder_bias=0)
    assert even[:, 3, 3] == pytest.approx([0, 0.5, 0.5], abs=1e-6)


def test_the_bias_counts_boxes_that_overlap_none() -> None:
    # Three boxes of 100, 25 and 9 pixels, of which the first two lie apart: the third has three tenths.
    boxes = [Box(0, 0, 10, 10, 1), Box(12, 0, 17, 5, 2), Box(1, 1, 4, 4, 3)]
    found = box_probabilities(boxes, (12, 20), 4)
    assert found[:, 2, 2] == pytest.approx([0, 1.1 / 2.4, 0, 1.3 / 2.4], abs=1e-6)
    assert found[:, 2, 14] == pytest.approx([0, 0, 1, 0], abs=1e-6)
    # Two of one class: the mean of 1.1 and 1.2, beside no background.
    found = box_probabilities([Box(0, 0, 10, 10, 1), Box(1, 1, 4, 4, 1), Box(2, 2, 4, 4, 2)], (12, 20), 3)
    assert found[:, 3, 3] == pytest.approx([0, 1.15 / 2.45, 1.3 / 2.45], abs=1e-6)


def test_the_outermost_pixels_of_an_image_are_no_centre() -> None:
    # The script clears them first: of a box of 20 x 20 in a corner, 19 x 19 are left, then 9 x 9.
    found = box_probabilities([Box(0, 0, 20, 20, 1)], (30, 30), 2)[1]
    rows, columns = np.nonzero(found > 0.9)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 14, 6, 14)
    found = box_probabilities([Box(10, 10, 30, 30, 1)], (30, 30), 2)[1]
    rows, columns = np.nonzero(found > 0.9)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 23, 15, 23)


XML = """<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4.0</ymax>
</bndbox></object><object><name>dog</name><difficult>1</difficult><bndbox><xmax>2</xmax><xmin>2</xmin><ymin>1</ymin>
<ymax>1</ymax></bndbox><part><name>head</name></part></object></annotation>"""


def test_voc_annotation(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(XML)
    assert read_voc_boxes(path, ["background", "cat", "dog"]) == [Box(0, 1, 3, 4, 1), Box(1, 0, 2, 1, 2)]
    with pytest.raises(DataError, match=r"a\.xml: expected an object of one of 2 classes, got 'dog'"):
        read_voc_boxes(path, ["background", "cat"])
    for text, message in [("<a>", "annotation"), (XML.replace("<xmin>1", "<xmin>x"), "bndbox of 'cat'")]:
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_voc_boxes(path, ["background", "cat", "dog"])
    with pytest.raises(DataError, match="none.xml"):
        read_voc_boxes(tmp_path / "none.xml", [])


SIZED = "<annotation><size><width>32</width><height>24</height></size>{}</annotation>"
DOG = "<object><name>dog</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></object>"


@pytest.mark.parametrize("encoding", ["nonsense", "big5", "base64"])
def test_unknown_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "x.xml").write_bytes(f'<?xml version="1.0" encoding="{encoding}"?><annotation/>'.encode())
    with pytest.raises(DataError, match=r"x\.xml: cannot be read as an annotation"):
        read_voc_boxes(tmp_path / "x.xml", ["background", "dog"])


def test_an_annotation_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(SIZED.format(DOG.format(1)))
    assert read_voc_boxes(path, ["background", "dog"], (24, 32)) == [Box(0, 1, 5, 6, 1)]
    with pytest.raises(DataError, match=r"x\.xml: is of an image of 32 x 24 pixels .*, the stored one has 24 x 32"):
        read_voc_boxes(path, ["background", "dog"], (32, 24))
    path.write_text(path.read_text().replace(">32<", ">0<"))
    assert read_voc_boxes(path, ["background", "dog"], (32, 24))


def test_corners_that_count_from_zero_are_cut_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(SIZED.format(DOG.format(0)))
    with pytest.warns(UserWarning, match="xmin or ymin of 'dog' is 0"):
        assert read_voc_boxes(tmp_path / "x.xml", ["background", "dog"]) == [Box(0, 1, 5, 6, 1)]


def test_negative_corners_are_not_cut_in_silence(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(SIZED.format(DOG.format(-3)))
    with pytest.warns(UserWarning, match="xmin or ymin of 'dog' is -3"):
        assert read_voc_boxes(tmp_path / "x.xml", ["background", "dog"]) == [Box(0, 1, 5, 6, 1)]


def test_corners_beyond_the_image_are_cut_with_a_warning(tmp_path: Path) -> None:
    """As tools write them that round, or let a box be drawn over the edge."""
    path, text = tmp_path / "x.xml", SIZED.format(DOG.format(1))
    for corner, sized in ((33, True), (40, True), (33, False)):
        path.write_text(text.replace("<xmax>5<", f"<xmax>{corner}<") if sized else _unsized(text, corner))
        with pytest.warns(UserWarning, match=rf"x\.xml: xmax, ymax of 'dog' are {corner}, 6, the image has 32 x 24"):
            assert read_voc_boxes(path, ["background", "dog"], (24, 32)) == [Box(0, 1, 32, 6, 1)]
    path.write_text(_unsized(text, 40))
    assert read_voc_boxes(path, ["background", "dog"], (24, 32)) == [Box(0, 1, 40, 6, 1)]
    path.write_text(text.replace("<xmin>1<", "<xmin>33<").replace("<xmax>5<", "<xmax>40<"))
    with pytest.warns(UserWarning, match="cut"), pytest.raises(DataError, match="the bndbox of 'dog' cannot be used"):
        read_voc_boxes(path, ["background", "dog"], (24, 32))


def _unsized(text: str, corner: int) -> str:
    return re.sub("<size>.*</size>", "", text.replace("<xmax>5<", f"<xmax>{corner}<"), flags=re.DOTALL)


def test_files_of_other_tools_are_not_taken_for_pictures_without_objects(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text("<annotation><filename>x.jpg</filename></annotation>")
    assert read_voc_boxes(path, ["background", "dog"]) == []
    for text in (
        "<annotations><image><box label='dog'/></image></annotations>",
        "<annotation xmlns='http://example.org'><object><name>dog</name></object></annotation>",
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=r"x\.xml: expected an <annotation> with <object>s"):
            read_voc_boxes(path, ["background", "dog"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    head = "" if encoding == "utf-8-sig" else f'<?xml version="1.0" encoding="{encoding}"?>'
    text = head + SIZED.format(DOG.format(1)).replace("dog", "caf\u00e9")
    (tmp_path / "x.xml").write_bytes(text.encode(encoding))
    assert read_voc_boxes(tmp_path / "x.xml", ["background", "caf\u00e9"]) == [Box(0, 1, 5, 6, 1)]


def test_sizes_and_corners_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text(SIZED.format(DOG.format(1)).replace(">32<", f">{'9' * 5000}<"))
    assert read_voc_boxes(path, ["background", "dog"], (24, 32))
    for corner in ("1e999", "nan", "9" * 5000, ""):
        path.write_text(SIZED.format(DOG.format(corner)))
        with pytest.raises(DataError, match="the bndbox of 'dog' cannot be used"):
            read_voc_boxes(path, ["background", "dog"])
