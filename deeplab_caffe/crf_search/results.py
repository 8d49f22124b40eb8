"""Store the results of a parameter search on disk, so that an interrupted search can resume."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deeplab_caffe.errors import DataError

Counts = np.ndarray


class ResultFile:
    """Confusion counts by image and parameters, in a text file with one JSON object per line.

    Lines are appended, each by one system call; existing lines are never changed. Lines that a crash cut off, or that
    have another form, are skipped when the file is read.

    Args:
        path: the file, created with the first result; None: keep the results only in memory.

    Raises:
        DataError: the file exists but cannot be read, or a line is nested too deeply.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self._lock = threading.Lock()
        self._found: dict[tuple[str, float], dict[int, int]] = {}
        self._needs_newline = False
        if self.path is not None:
            try:
                content = self.path.read_bytes()
            except FileNotFoundError:
                content = b""
            except OSError as exc:
                raise DataError(f"cannot be read: {exc.strerror}", self.path) from exc
            self._needs_newline = bool(content) and not content.endswith(b"\n")
            for number, line in enumerate(content.split(b"\n"), 1):
                try:
                    self._read(line)
                except RecursionError:
                    raise DataError("expected results of crf-search, got nested JSON", self.path, number) from None

    def get(self, key: str, bi_w: float, num_classes: int) -> Counts | None:
        """Return the counts ``(K, K)`` of an image's ``key`` with the weight ``bi_w``; None if they are not known."""
        found = self._found.get((key, bi_w))
        if found is None or max(found, default=0) >= num_classes**2:
            return None
        counts = np.zeros(num_classes**2, np.int64)
        counts[list(found)] = list(found.values())
        return counts.reshape(num_classes, num_classes)

    def add(self, key: str, counts: Mapping[float, Counts], about: Mapping[str, object]) -> None:
        """Store counts ``(K, K)`` by bi_w.

        Args:
            key: key of everything else that the counts depend on.
            counts: confusion counts by bi_w.
            about: further fields of the line, for human readers.

        Raises:
            DataError: the line cannot be written.
        """
        sparse = {}
        for bi_w, matrix in counts.items():
            flat = matrix.reshape(-1)
            sparse[bi_w] = {int(index): int(flat[index]) for index in np.flatnonzero(flat)}
        line = json.dumps({**about, "key": key, "counts": {repr(bi_w): found for bi_w, found in sparse.items()}})
        with self._lock:
            for bi_w, found in sparse.items():
                self._found[key, bi_w] = found
            if self.path is not None:
                self._append(line)

    def _append(self, line: str) -> None:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                stream.write(("\n" * self._needs_newline + line + "\n").encode())
        except OSError as exc:
            raise DataError(f"cannot be written: {exc.strerror}", self.path) from exc
        self._needs_newline = False

    def _read(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            for bi_w, found in record["counts"].items():
                counts = {int(index): int(count) for index, count in found.items()}
                # JSON has no largest integer; the counts are int64.
                if min([0, *counts, *counts.values()]) < 0 or max([0, *counts.values()]) >= 2**63:
                    raise ValueError
                self._found[str(record["key"]), float(bi_w)] = counts
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):  # Infinity
            return
