from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.errors import DataError
from deeplab_caffe.experiment.summary import read_evaluations, table

NUMBERS = '"mean_iou": 5.5, "pixel_accuracy": 7, "mean_class_accuracy": null'


def test_a_table_of_evaluations(tmp_path: Path) -> None:
    path = tmp_path / "eval.json"
    path.write_text(f'{{{NUMBERS}, "trimap": {{"1": {{{NUMBERS}}}}}}}')
    found = read_evaluations([("val", path), ("test", tmp_path / "none.json")])
    assert list(found) == ["val"]
    assert "| val | 5.500 | 7.000 | - |" in table(found)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 99,  # after a power failure
        b'{"mean_iou": \xff}',
        b"[1]",
        b"7",
        b"[" * 100_000,
        b"{}",
        f"{{{NUMBERS}}}".replace("7", '"7 %"').encode(),
        f"{{{NUMBERS}}}".replace("7", "1" + "0" * 400).encode(),
        f"{{{NUMBERS}}}".replace("7", "NaN").encode(),
        f'{{{NUMBERS}, "trimap": {{"one": {{{NUMBERS}}}}}}}'.encode(),
        f'{{{NUMBERS}, "trimap": {{"1": {{}}}}}}'.encode(),
        f'{{{NUMBERS}, "trimap": [1]}}'.encode(),
    ],
    ids=lambda content: repr(content[-20:]),
)
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "eval.json").write_bytes(content)
    with pytest.raises(DataError, match=r"eval\.json: expected the numbers that eval --json writes"):
        read_evaluations([("val", tmp_path / "eval.json")])
