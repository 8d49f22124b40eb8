from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.data.classes import Classes, class_name, find_classes, find_colormap, model_classes
from deeplab_caffe.data.colormap import CAMVID_COLORMAP, VOC_COLORMAP, distinct_colormap
from deeplab_caffe.errors import DataError, EvaluationError


def test_names_and_colours_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("road 128 64 128\n\n  traffic light\t250 170 30 \ncar\narea 51\nzone 1 2 300\nroute 1 2 3 4\n")
    found = find_classes(path)
    assert found.names == ("road", "traffic light", "car", "area 51", "zone 1 2 300", "route 1")
    assert found.colormap[:3].tolist() == [[128, 64, 128], [250, 170, 30], [0, 128, 0]]
    np.testing.assert_array_equal(found.colormap[2:5], VOC_COLORMAP[2:5])
    assert found.colormap[5].tolist() == [2, 3, 4]


def test_three_numbers_are_a_name_and_255_classes_the_most() -> None:
    assert find_classes(["1 2 3", "a 1 2 3"]).names == ("1 2 3", "a")
    assert len(find_classes([f"class {label}" for label in range(255)])) == 255
    with pytest.raises(EvaluationError, match="expected 1 to 255 names .*, got 256"):
        find_classes([f"class {label}" for label in range(256)])


def test_file_in_utf_16(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("stra\u00dfe 1 2 3\r\nhaus\r\n".encode("utf-16"))
    assert find_classes(path).names == ("stra\u00dfe", "haus")


def test_lists_of_names() -> None:
    assert find_classes(["a", "b 1 2 3"]).names == ("a", "b")
    own = Classes(("x",), VOC_COLORMAP)
    assert find_classes(own) is own
    with pytest.raises(EvaluationError, match="two classes are called 'a'"):
        find_classes(["a", "b", "a"])
    with pytest.raises(EvaluationError, match="got 0"):
        find_classes([])


def test_a_misspelt_name_is_no_list_of_one_class() -> None:
    with pytest.raises(EvaluationError, match=r"expected voc12, .* or names with commas, got 'voc13'"):
        find_classes("voc13")


def test_a_model_has_the_classes_of_the_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    weights, prototxt = tmp_path / "x.caffemodel", tmp_path / "elsewhere" / "deploy.prototxt"
    assert model_classes(2, [weights, prototxt]).names == ("road", "car")
    assert model_classes(2, [prototxt, None, weights]).names == ("road", "car")
    assert model_classes(None, [weights]).names == ("road", "car")
    with pytest.warns(UserWarning, match=r"classes\.txt: 2 names are not the model's, which has 3"):
        assert model_classes(3, [weights]).names == ("class 0", "class 1", "class 2")
    assert model_classes(2, [weights], ["sky", "sea"]).names == ("sky", "sea")
    with pytest.raises(EvaluationError, match="11 names are given, the model has 2 classes"):
        model_classes(2, [weights], "camvid")


def test_vocs_names_are_for_21_classes_alone() -> None:
    assert model_classes(21).names[6] == "bus"
    for count in (7, 20, 22):
        assert model_classes(count).names == tuple(f"class {label}" for label in range(count))
    assert model_classes(None).names == ()


@pytest.mark.parametrize(
    ("name", "count", "some"),
    [
        ("pascal-context", 60, {0: "background", 1: "aeroplane", 37: "person", 59: "wood"}),
        ("person-part", 7, {0: "background", 1: "head", 2: "torso", 6: "lower legs"}),
        ("cityscapes", 19, {0: "road", 11: "person", 13: "car", 18: "bicycle"}),
        ("cityscapes-ids", 19, {0: "road", 18: "bicycle"}),
        # Categories 1, 92 and 182 of labels.txt.
        ("cocostuff", 182, {0: "person", 91: "banner", 181: "wood"}),
    ],
)
def test_data_sets_of_deeplab_v2(name: str, count: int, some: dict[int, str]) -> None:
    found = find_classes(name)
    assert len(found) == len(set(found.names)) == count
    assert {label: found.names[label] for label in some} == some
    assert len(found.colormap) >= count


def test_cityscapes_label_ids() -> None:
    found = find_classes("cityscapes-ids")
    assert found.from_file(np.array([[7, 26, 33], [0, 29, 255]])).tolist() == [[0, 13, 18], [255, 255, 255]]
    assert found.from_file(np.array([-1, 263, 34])).tolist() == [255, 255, 255]
    assert found.to_file(np.array([0, 13, 18], np.uint8)).tolist() == [7, 26, 33]
    assert found.file_colormap[26].tolist() == found.colormap[13].tolist() == [0, 0, 142]
    plain = find_classes("cityscapes")
    labels = np.array([0, 255])
    assert plain.from_file(labels) is plain.to_file(labels) is labels
    assert plain.file_colormap is plain.colormap


def test_known_names_in_other_letters_and_what_is_no_name() -> None:
    assert find_classes("VOC12") is find_classes("voc12")
    assert find_classes("CamVid").names[0] == "Sky"
    for given in (5, [1, 2]):
        with pytest.raises(EvaluationError, match="expected a name, a file or a list of names, got"):
            find_classes(given)


def test_names_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_classes("background, cat 1 2 3,gro\u00dfer Hund")
    assert found.names == ("background", "cat", "gro\u00dfer Hund")
    assert found.colormap[1].tolist() == [1, 2, 3]
    with pytest.raises(EvaluationError, match="name 1 in 'a,,b' is empty"):
        find_classes("a,,b")
    (tmp_path / "a,b").write_text("c\n")
    assert find_classes("a,b").names == ("c",)


def test_class_names() -> None:
    assert [class_name(("a", "b"), label) for label in (1, 2)] == ["b", "class 2"]


def test_colours_by_name() -> None:
    np.testing.assert_array_equal(find_colormap("voc", 21), VOC_COLORMAP)
    np.testing.assert_array_equal(find_colormap("CamVid", 3), CAMVID_COLORMAP)
    more = find_colormap("camvid", 21)
    np.testing.assert_array_equal(more[:11], CAMVID_COLORMAP)
    assert len({tuple(colour) for colour in more.tolist()}) == 21
    np.testing.assert_array_equal(find_colormap("distinct", 5), distinct_colormap(5))


def test_colours_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "colours.txt"
    path.write_bytes(b"1 2 3\r\n\n 250\t170 30\n")
    assert find_colormap(path, 2).tolist() == [[1, 2, 3], [250, 170, 30]]
    with pytest.raises(DataError, match=r"colours\.txt: expected 3 to 256 colours, one in each line, got 2"):
        find_colormap(path, 3)
    for line in ("1 2", "1 2 256", "1 2 -3", "1 2 3 4", "1 2 3.0", "red 1 2 3", "1,2,3"):
        path.write_text(f"1 2 3\n{line}\n")
        with pytest.raises(DataError, match=r"colours\.txt:2: expected a colour, three numbers from 0 to 255"):
            find_colormap(path, 1)
    with pytest.raises(DataError, match="nothing: colors: expected voc, camvid, cityscapes, distinct or a file"):
        find_colormap("nothing", 1)


def test_classes_are_equal_by_names_colours_and_ids() -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0]], np.uint8)
    one = Classes(("sky", "road"), colours)
    assert one == Classes(("sky", "road"), colours.copy())
    assert hash(one) == hash(Classes(("sky", "road"), colours.copy()))
    assert find_classes("voc12") == find_classes("voc12")
    for other in (
        Classes(("sky", "street"), colours),
        Classes(("sky", "road"), colours[::-1]),
        Classes(("sky", "road"), colours, (3, 7)),
        ("sky", "road"),
    ):
        assert one != other
