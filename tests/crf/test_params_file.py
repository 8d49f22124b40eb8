from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.crf import CRFParams
from deeplab_caffe.errors import CRFError, DataError


@pytest.mark.parametrize(
    "params",
    [
        CRFParams(),
        CRFParams.for_model("DeepLab-LargeFOV").replace(iterations=3),
        CRFParams((1, 2), (3, (4, 5)), (), (), ()),
        CRFParams(bi_rgb_std=((1.5, 2.5, 3.5),)),
    ],
)
def test_parameters_come_back(tmp_path: Path, params: CRFParams) -> None:
    params.to_file(tmp_path / "made" / "params.json")
    assert CRFParams.from_file(tmp_path / "made" / "params.json") == params


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"bi_w": 4, "bi_xy_std": 121}')
    assert CRFParams.from_file(tmp_path / "params.json") == CRFParams(bi_w=4, bi_xy_std=121)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no JSON file"),
        (b"\xff\xfe{", "no JSON file"),
        (b"[" * 100_000, "no JSON file"),
        (b"[]", "expected an object with pos_w"),
        (b'{"w1": 5}', "got w1"),
        (b'{"bi_w": "5"}', "bi_w"),
        (b'{"bi_rgb_std": 0}', "bi_rgb_std"),
        (b'{"iterations": -1}', "iterations"),
        (b'{"bi_w": NaN}', "bi_w"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.json"
    path.write_bytes(content)
    with pytest.raises(CRFError, match=message) as caught:
        CRFParams.from_file(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(CRFError, match="No such file"):
        CRFParams.from_file(tmp_path / "missing.json")
    with pytest.raises(DataError, match="is a folder"):
        CRFParams().to_file(tmp_path)
