"""The files that the original wrote or ran: the golden cases' and, beside this checkout, the shared models'."""

from __future__ import annotations

from pathlib import Path

from tests.goldens import BUNDLED_V2, GOLDEN_ROOTS, SHARED, SHARED_V2


def original_files(suffix: str) -> list[Path]:
    """All files of that suffix; a case that is in both golden roots counts once."""
    found: dict[tuple[str, str], Path] = {}
    for root in [*GOLDEN_ROOTS, SHARED.parent / "models"]:
        for path in sorted(root.rglob(f"*.{suffix}")):
            found.setdefault((path.parent.name, path.name), path)
    return list(found.values())


def v2_files(suffix: str) -> list[Path]:
    """Return all files of that suffix that DeepLab v2 wrote or ran."""
    found: dict[tuple[str, str], Path] = {}
    for root in (SHARED_V2, BUNDLED_V2):
        for path in sorted(root.rglob(f"*.{suffix}")):
            found.setdefault((path.parent.name, path.name), path)
    return list(found.values())


def file_id(path: Path) -> str:
    """Name of a file's test."""
    return f"{path.parent.name}-{path.name}"
