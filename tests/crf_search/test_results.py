from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.crf_search.results import ResultFile
from deeplab_caffe.errors import DataError

ONE = np.array([[5, 0], [1, 0]])
TWO = np.array([[0, 2], [0, 4]])


def test_results_come_back(tmp_path: Path) -> None:
    path = tmp_path / "made" / "results.jsonl"
    results = ResultFile(path)
    assert results.get("k", 0.1, 2) is None
    assert not path.parent.exists()
    results.add("k", {0.1: ONE, 5.0: TWO}, {"image": "näme"})
    results.add("other", {5.0: ONE}, {})
    for reader in (results, ResultFile(path)):
        np.testing.assert_array_equal(reader.get("k", 0.1, 2), ONE)
        np.testing.assert_array_equal(reader.get("k", 5, 2), TWO)
        np.testing.assert_array_equal(reader.get("other", 5, 2), ONE)
        assert reader.get("other", 0.1, 2) is None
    assert json.loads(path.read_text().splitlines()[0])["image"] == "näme"


def test_without_a_file() -> None:
    results = ResultFile(None)
    results.add("k", {1.0: ONE}, {})
    np.testing.assert_array_equal(results.get("k", 1, 2), ONE)


def test_a_line_cut_off_is_left_out_and_the_next_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = ResultFile(path)
    results.add("a", {1.0: ONE}, {})
    results.add("b", {1.0: ONE}, {})
    path.write_bytes(path.read_bytes()[:-9])
    results = ResultFile(path)
    assert results.get("a", 1, 2) is not None
    assert results.get("b", 1, 2) is None
    results.add("b", {1.0: TWO}, {})
    results.add("c", {1.0: TWO}, {})
    results = ResultFile(path)
    for key, counts in (("a", ONE), ("b", TWO), ("c", TWO)):
        np.testing.assert_array_equal(results.get(key, 1, 2), counts)


def test_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    lines = ["[]", "7", "{}", '{"key": "a", "counts": 3}', '{"key": "a", "counts": {"1.0": {"0": -1}}}', "\xff\x00"]
    lines += ['{"key": "a", "counts": {"1.0": {"4": 1}}}', '{"key": "a", "counts": {"2.0": {"3": 1}}}']
    huge = "1" + "0" * 19
    lines += [f'{{"key": "b", "counts": {{"1.0": {{"0": {count}}}}}}}' for count in (huge, "Infinity", "NaN")]
    path.write_bytes("\n".join(lines).encode("latin-1"))
    results = ResultFile(path)
    assert results.get("b", 1, 2) is None
    assert results.get("a", 1, 2) is None  # a fifth count of two classes
    np.testing.assert_array_equal(results.get("a", 2, 2), [[0, 0], [0, 1]])


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        ResultFile(tmp_path)
    results = ResultFile(tmp_path / "results.jsonl")
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        results.add("k", {1.0: ONE}, {})


def test_a_line_that_is_nested_without_end(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text("\n" + "[" * 100_000)
    with pytest.raises(DataError, match=r"results\.jsonl:2: expected results of crf-search"):
        ResultFile(path)
