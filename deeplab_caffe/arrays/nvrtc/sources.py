"""The source text for NVRTC: a kernel's source with all of its includes."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from deeplab_caffe.errors import KernelError

_INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def csrc_folder() -> Path:
    """Return ``csrc/``: inside an installed package, or at the root of a checkout.

    Raises:
        KernelError: the folder is in neither place.
    """
    package = Path(str(files("deeplab_caffe")))
    for folder in (package / "csrc", package.parent / "csrc"):
        if (folder / "nvrtc").is_dir():
            return folder
    raise KernelError(f"the folder csrc is missing: expected it in {package} or beside it")


@lru_cache
def program(source: str) -> str:
    """Return a source with its includes inserted, because CuPy's cache on disk identifies a program by its text only.

    ``#include "file"`` is searched beside the including file; ``<name>`` is searched in csrc/nvrtc, which replaces the
    standard library, and otherwise left to NVRTC.

    Args:
        source: a path within csrc, with slashes.

    Raises:
        KernelError: a file is missing.
    """
    root = csrc_folder()
    lines: list[str] = []
    _put_in(root, root / source, (), lines)
    return "\n".join(lines) + "\n"


def _put_in(root: Path, path: Path, above: tuple[Path, ...], lines: list[str]) -> None:
    path = path.resolve()
    if path in above:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise KernelError(f"a kernel's source cannot be read: {exc}") from exc
    # The preprocessor removes repeated text: only it knows whether an #if removed the first copy.
    shown = path.relative_to(root.resolve()).as_posix()
    guard = "DEEPLAB_ONCE_" + re.sub(r"\W", "_", shown)
    lines += [f"#ifndef {guard}", f"#define {guard}", f'#line 1 "{shown}"']
    for number, line in enumerate(text.splitlines(), 1):
        found = _INCLUDE.match(line)
        target = found and _target(root, path, *found.groups())
        if target:
            _put_in(root, target, (*above, path), lines)
            lines.append(f'#line {number + 1} "{shown}"')
        elif line.strip() != "#pragma once":
            lines.append(line)
        else:
            lines.append("")
    lines.append("#endif")


def _target(root: Path, including: Path, bracket: str, name: str) -> Path | None:
    if bracket == '"':
        return including.parent / name
    stand_in = root / "nvrtc" / name
    return stand_in if stand_in.is_file() else None
