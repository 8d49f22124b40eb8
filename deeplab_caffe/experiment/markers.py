"""Record which steps are finished: a small JSON file for each, written atomically.

A step counts as finished only if its file says so for the same inputs, and all its outputs exist with their sizes. The
file of a step that was begun has the inputs, so that the step can be resumed or its outputs discarded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.errors import DataError


class Marker:
    """The file that records the state of a step.

    Args:
        path: the file.
        root: folder that the outputs' names are relative to.
    """

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.root = root

    def read(self) -> dict[str, Any]:
        """Read the file's content; empty if there is no file or it is damaged."""
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def finished(self, inputs: Mapping[str, str] | None = None) -> bool:
        """Return whether the step is finished with these inputs (None: any), and all its outputs exist."""
        content = self.read()
        if content.get("state") != "finished" or (inputs is not None and content.get("inputs") != dict(inputs)):
            return False
        outputs = content.get("outputs")
        if not isinstance(outputs, dict):
            return False
        return all(_size(self.root / name) == size for name, size in outputs.items())

    def begun(self, inputs: Mapping[str, str]) -> bool:
        """Return whether the step was begun with these inputs, so that its outputs, as far as they exist, are valid."""
        content = self.read()
        return content.get("inputs") == dict(inputs) and content.get("state") in ("begun", "finished")

    def intact(self, name: str) -> bool:
        """Return whether an output exists, with its recorded size if the step was finished."""
        outputs = self.read().get("outputs")
        size = _size(self.root / name)
        recorded = outputs.get(name, size) if isinstance(outputs, dict) else size
        return size is not None and size == recorded

    @property
    def half(self) -> bool:
        """Return whether the step was begun, with any inputs, but not finished."""
        return self.read().get("state") == "begun"

    @property
    def key(self) -> str:
        """Return a hash of the inputs, for the steps that depend on this one."""
        return digest(json.dumps(self.read().get("inputs"), sort_keys=True))

    def begin(self, inputs: Mapping[str, str]) -> None:
        """Record that the step is begun."""
        self._write({"state": "begun", "inputs": dict(inputs)})

    def finish(self, inputs: Mapping[str, str], outputs: Iterable[str]) -> None:
        """Record that the step is finished.

        Raises:
            DataError: an output does not exist: the step is not finished, even if its command succeeded.
        """
        sizes = {name: _size(self.root / name) for name in outputs}
        missing = [name for name, size in sizes.items() if size is None]
        if missing:
            raise DataError(f"was not written, nor were {len(missing) - 1} others", self.root / missing[0])
        self._write({"state": "finished", "inputs": dict(inputs), "outputs": sizes})

    def _write(self, content: dict[str, Any]) -> None:
        with atomic_write(self.path, make_folders=True, sync=True) as stream:
            stream.write((json.dumps(content, indent=1) + "\n").encode())


def digest(content: str | bytes) -> str:
    """Return the SHA-256 of a text or bytes."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        DataError: the file cannot be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                found.update(block)
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror}", path) from exc
    return found.hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
