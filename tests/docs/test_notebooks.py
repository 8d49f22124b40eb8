"""The notebooks of examples/notebooks run, each in a folder of its own, and hold no outputs."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

NOTEBOOKS = sorted(ROOT.glob("examples/notebooks/*.ipynb"))


def cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cells run in order; without a kernel, which takes longer to start than they take."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    # training_curve reads a log of the repository, which it looks for above its folder.
    tmp_path.joinpath("examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, code in enumerate(cells(notebook)):
        exec(compile(code, f"{notebook.name}, cell {number}", "exec"), names)
    with contextlib.suppress(ImportError):
        import matplotlib.pyplot as plt

        plt.close("all")
    if notebook.stem == "own_network":
        assert names["solver"].losses[-1] < names["solver"].losses[0]
    print(capsys.readouterr().out)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_no_outputs(notebook: Path) -> None:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in found if cell.get("outputs") or cell.get("execution_count")] == []
