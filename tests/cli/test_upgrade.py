from __future__ import annotations

from pathlib import Path

from tests.proto.test_upgrade_file import V1


def test_upgrades(run, tmp_path: Path) -> None:
    old, new = tmp_path / "old.prototxt", tmp_path / "new.prototxt"
    old.write_text(V1)
    assert run("upgrade", old, new).out == f"{new}: written from a net of the V1 layout\n"
    assert run("upgrade", old, new, "--dialect", "bvlc").status == 0
    assert "cannot be read" in run("upgrade", tmp_path / "none", new).error_line()
