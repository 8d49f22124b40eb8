from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.errors import DownloadError
from deeplab_caffe.zoo.paths import prototxt_path
from deeplab_caffe.zoo.starts import STARTS
from tests.cli.conftest import run

__all__ = ["run"]
PAGE = Path(__file__).parents[2] / "docs" / "start.md"


def test_the_page_has_all_starts() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for start in STARTS:
        assert f"| {start.title} | {start.licence} | {start.size} | {start.content} | `{start.network}` |" in page
        assert all(f"    {command}\n" in page for command in (*start.get, start.convert))
        assert prototxt_path(start.network, "train").is_file()


def test_where_the_host_is_gone(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise DownloadError("the host cannot be reached: it is gone")

    monkeypatch.setattr("deeplab_caffe.zoo.download.fetch_url", gone)
    outcome = run("download", "vgg16", "--cache", tmp_path)
    assert "the weights of vgg16 could not be fetched: https://www.robots.ox.ac.uk/" in outcome.error_line()
    for start in STARTS:
        assert (start.title in outcome.out) == ("deeplab-caffe download vgg16" not in start.get)
    assert "deeplab-caffe convert vgg16.pth --init-for deeplab_largefov" in outcome.out
    outcome = run("download", "deeplab_largefov", "--cache", tmp_path)
    assert "deeplab_largefov could not be fetched" in outcome.error_line()
    assert outcome.out == ""
