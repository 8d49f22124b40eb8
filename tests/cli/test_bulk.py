from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deeplab_caffe.cli import bulk
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.segmentation.bulk import Network, Refine
from deeplab_caffe.zoo.default import DEMO_PHOTOS

Run = Callable[..., Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a cluster in Ray's place that does the second photograph first and fails at it; give what it was asked."""
    asked: dict[str, Any] = {}

    def segment_files(
        items: Sequence[WorkItem], network: Network, refine: Refine, *, address: str | None
    ) -> Iterator[dict[str, Any]]:
        asked.update(items=items, network=network, refine=refine, address=address)
        for index in reversed(range(len(items))):
            error = "is no picture" if index == 1 else ""
            described = json.dumps({"size": [1, 1], "classes": []})
            yield {"index": index, "error": error, "text": "cat 80 %", "described": "" if error else described}

    monkeypatch.setattr(bulk, "segment_files", segment_files)
    return asked


def test_segment_on_ray(run: Run, tmp_path: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        shutil.copy(DEMO_PHOTOS[0], tmp_path / f"{index}.jpg")
    outcome = run(
        "segment",
        *["0.jpg", "1.jpg", "2.jpg", "--engine", "ray", "--address", "auto", "--crf", "--jsonl", "areas.jsonl"],
    )
    assert outcome.status == 1
    assert outcome.out.index("2.jpg: cat 80 %") < outcome.out.index("0.jpg: cat 80 %") < outcome.out.index("2 done in")
    assert outcome.error_line() == "error: 1.jpg: is no picture"
    assert [json.loads(line)["photo"] for line in Path("areas.jsonl").read_text().splitlines()] == ["2.jpg", "0.jpg"]
    assert asked["address"] == "auto"
    assert [item.source for item in asked["items"]] == [str(tmp_path / f"{index}.jpg") for index in range(3)]
    assert asked["refine"].writer.folder == tmp_path / "out"
    assert asked["refine"].crf == asked["network"].options["crf"] is not None
    assert asked["network"].options["device"] == "auto"


def test_only_what_is_missing_is_asked_for(run: Run, tmp_path: Path, asked: dict[str, Any]) -> None:
    for index in range(2):
        shutil.copy(DEMO_PHOTOS[0], tmp_path / f"{index}.jpg")
    (tmp_path / "out").mkdir()
    for end in ("labels", "overlay"):
        (tmp_path / f"out/0_{end}.png").touch()
    outcome = run("segment", tmp_path, "--engine", "ray", "--skip-existing", "--out", tmp_path / "out")
    assert [item.name for item in asked["items"]] == ["1"]
    assert "1 were there" in outcome.out


@pytest.mark.parametrize(
    ("words", "told"),
    [("- --engine ray", "--engine ray is for image files"), ("x.jpg --address auto", "it goes with --engine ray")],
)
def test_what_does_not_go_together(run: Run, words: str, told: str) -> None:
    outcome = run("segment", *words.split())
    assert (outcome.status, told in outcome.err) == (2, True)


def test_how_far() -> None:
    assert bulk.how_far(120, 400, 10) == "120 of 400, 12.0 a second, 0:00:23 left"
