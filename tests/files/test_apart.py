"""What is written and what is read are told apart, through links too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deeplab_caffe.errors import DataError
from deeplab_caffe.files.apart import validate_outputs


def test_files_that_are_apart_may_be_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    (tmp_path / "old").touch()
    inputs = [("the photograph", tmp_path / "in"), ("the list", tmp_path / "missing"), ("a name", "a\0b")]
    validate_outputs([("--json", tmp_path / "new"), ("--jsonl", tmp_path / "old")], inputs)
    validate_outputs([], inputs)
    validate_outputs([("--json", None), ("a", tmp_path / "x"), ("a", tmp_path / "x")], [("--list", None)])


def test_an_output_at_an_input_is_refused_with_both_names(tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    with pytest.raises(DataError, match=r"in: --json would be written over the photograph: give it another name"):
        validate_outputs([("--json", tmp_path / "in")], [("the photograph", tmp_path / "in")])


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_are_followed(tmp_path: Path, link) -> None:
    (tmp_path / "in").touch()
    link(tmp_path / "in", tmp_path / "other")
    with pytest.raises(DataError, match=r"other: --json would be written over the photograph '.*/in'"):
        validate_outputs([("--json", tmp_path / "other")], [("the photograph", tmp_path / "in")])
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"folder/in: "):
        validate_outputs([("--json", tmp_path / "folder" / "in")], [("the photograph", tmp_path / "in")])


def test_two_outputs_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(DataError, match=r"x: the labels would be written over --json '.*folder/x'"):
        validate_outputs([("--json", tmp_path / "folder" / "x"), ("the labels", tmp_path / "x")], [])
    (tmp_path / "one").mkdir()
    validate_outputs([("--json", tmp_path / "one" / "x"), ("the labels", tmp_path / "x")], [])


def test_devices_are_written_over_by_nobody() -> None:
    validate_outputs([("--json", "/dev/null"), ("--log", "/dev/null")], [("the list", "/dev/null")])
