from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.data import ListEntry, read_id_list, read_image_list
from deeplab_caffe.data.io.lists import read_labelled_list
from deeplab_caffe.errors import DataError


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "list.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_image_list(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff/img/a.jpg /lab/a.png\r\n\n  /img/b.jpg\t/lab/b.png extra words \n \t\n/img/c.jpg")
    assert read_image_list(path) == [
        ListEntry("/img/a.jpg", "/lab/a.png", 1),
        ListEntry("/img/b.jpg", "/lab/b.png", 3),
        ListEntry("/img/c.jpg", "", 5),
    ]


def test_a_missing_label_names_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jpg a.png\n\nb.jpg\n")
    with pytest.raises(DataError, match=r"list\.txt:3: expected 'image label', got 'b\.jpg' alone") as caught:
        read_image_list(path, label_required=True)
    assert caught.value.line == 3
    assert caught.value.path == str(path)


def test_only_ascii_white_space_parts_words(tmp_path: Path) -> None:
    path = write(tmp_path, "caf\u00e9\u00a0noir.jpg x.png\n")
    assert read_image_list(path)[0].image == "caf\u00e9\u00a0noir.jpg"


def test_names_that_are_no_utf8_still_name_files(tmp_path: Path) -> None:
    path = write(tmp_path, b"caf\xe9.jpg\n")
    assert read_image_list(path)[0].image.encode("utf-8", "surrogateescape") == b"caf\xe9.jpg"


@pytest.mark.parametrize("content", ["", "\n \n\t\n"])
def test_an_empty_list_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(DataError, match="holds no image"):
        read_image_list(write(tmp_path, content))
    with pytest.raises(DataError, match="holds no image"):
        read_labelled_list(write(tmp_path, content), 1)


def test_a_binary_file_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list\.txt:2: a NUL byte"):
        read_image_list(write(tmp_path, b"a b\nc\0d e\n"))


def test_a_missing_list(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: cannot be read: No such file or directory"):
        read_image_list(tmp_path / "none.txt")
    with pytest.raises(DataError, match="Is a directory"):
        read_image_list(tmp_path)


def test_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "2007_000033.jpg extra\n2007_000042.jpg\n")
    assert read_id_list(path, strip=4) == ["2007_000033", "2007_000042"]
    assert read_id_list(path) == ["2007_000033.jpg", "2007_000042.jpg"]


def test_strip_must_leave_something(tmp_path: Path) -> None:
    path = write(tmp_path, "abcde\nabcd\n")
    with pytest.raises(DataError, match=r"list\.txt:2: stripping 4 characters leaves nothing of 'abcd'"):
        read_id_list(path, strip=4)
    with pytest.raises(DataError, match="strip must not be negative, got -1"):
        read_id_list(path, strip=-1)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_lists_of_other_systems(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path, "/img/caf\u00e9.jpg /lab/a.png\r\n/img/b.jpg /lab/b.png\r\n".encode(encoding))
    assert [entry.image for entry in read_image_list(path)] == ["/img/caf\u00e9.jpg", "/img/b.jpg"]


def test_damaged_utf_16(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"list\.txt: cannot be read: is damaged UTF-16 text"):
        read_image_list(write(tmp_path, b"\xff\xfea\0b"))


def test_names_with_white_space_have_a_hint(tmp_path: Path) -> None:
    path = write(tmp_path, "my photo.jpg lab.png\na.jpg a.png\nmy photo\na.jpg\n")
    hints = [entry.hint for entry in read_image_list(path)]
    assert [hint.count("lists part names at white space") for hint in hints] == [1, 0, 1, 0]
    with pytest.raises(DataError, match=r"got 'photo\.jpg' \(the line has 3 words: lists part names at white space"):
        read_labelled_list(write(tmp_path, "my photo.jpg 3\n"), 2)
    with pytest.raises(DataError, match=r"got 'x'$"):
        read_labelled_list(write(tmp_path, "photo.jpg x\n"), 2)


def test_names_with_white_space_and_one_label(tmp_path: Path) -> None:
    path = write(tmp_path, " my  big photo.jpg 3\r\na\tb.png\t-1 \nc.png 2\nd.png\n")
    found = [(entry.image, entry.labels, entry.line) for entry in read_labelled_list(path, 1)]
    assert found == [("my  big photo.jpg", (3,), 1), ("a\tb.png", (-1,), 2), ("c.png", (2,), 3), ("d.png", (), 4)]
    # Of several labels, or none, nothing tells names from them.
    with pytest.raises(DataError, match="'a.png' has 2 labels, max_labels is 1$"):
        read_labelled_list(write(tmp_path, "a.png 1 2\n"), 1)
    with pytest.raises(DataError, match="lists part names at white space"):
        read_labelled_list(write(tmp_path, "my photo.jpg x\n"), 1)


def test_names_with_backslashes_have_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "windows.txt"
    path.write_text("aachen\\a.png a.png\naachen/b.png b.png\n")
    assert ["not by a backslash" in entry.hint for entry in read_image_list(path)] == [True, False]
