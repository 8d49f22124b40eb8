"""``deeplab-caffe page``: what it says before it serves anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from deeplab_caffe.cli import main
from deeplab_caffe.page import app
from deeplab_caffe.zoo import CAMVID_MODEL, DEFAULT_MODEL, DEMO_PHOTOS

PHOTO = str(DEMO_PHOTOS[0])


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(app, "build", lambda *given, **more: found.update(more, given=given))
    monkeypatch.setattr(app, "launch", lambda _, **more: found.update(more))
    return found


def test_it_listens_on_this_machine_alone(served: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    main(["page", PHOTO, "--crf", "deeplab_largefov"])
    assert (served["host"], served["port"], served["share"], served["browser"]) == ("127.0.0.1", None, False, False)
    assert served["given"] == (PHOTO, None)
    assert served["crf"].bi_xy_std == 121
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "name", "own"),
    [
        ([], DEFAULT_MODEL.name, False),
        (["--model", CAMVID_MODEL.name], CAMVID_MODEL.name, False),
        (["--model", "a/deploy.prototxt", "--weights", "b.caffemodel"], "a/deploy.prototxt", True),
    ],
)
def test_the_network_it_begins_with(served: dict[str, Any], words: list[str], name: str, own: bool) -> None:
    main(["page", PHOTO, *words])
    assert (served["network"].name, served["network"].own) == (name, own)


@pytest.mark.parametrize("flags", [["--host", "0.0.0.0"], ["--share"]])
def test_it_warns_where_others_can_reach_it(
    served: dict[str, Any], capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    main(["page", *flags])
    assert "others can reach this page" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.jpg"], "missing.jpg: cannot be read"),
        (["--mask", PHOTO], "--mask goes with a photo"),
        ([PHOTO, "--crf", "nothing_like_it"], "no CRF parameters are known"),
        ([PHOTO, "--port", "0"], "--port"),
        ([PHOTO, "--weights", "x.caffemodel"], "--model and --weights go together"),
    ],
)
def test_bad_arguments(served: dict[str, Any], capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    with pytest.raises(SystemExit):
        main(["page", *words])
    assert said in capsys.readouterr().err
    assert not served


def test_without_gradio_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit):
        main(["page"])
    assert "pip install 'deeplab-caffe[page]'" in capsys.readouterr().err
