"""The log of a training run: Caffe's lines, JSON lines in a file, TensorBoard."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from deeplab_caffe.errors import DataError, SolverError, how_to_install, printable

# Takes an event ("train", "test", "snapshot", ...), its iteration, and its numbers by name: {"loss": 1.5, "lr": 0.1}.
Callback = Callable[[str, int, Mapping[str, float]], None]


def to_stderr(line: str) -> None:
    """Write a line to stderr; training goes on if the terminal was closed."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


class TrainingLog:
    """The log of a solver.

    Args:
        echo: function that gets each of Caffe's lines, without its newline; None: drop these lines.
        path: file for JSON lines, one per iteration, test and snapshot; lines are appended to an existing file.
        tensorboard: folder for TensorBoard's event files; needs the package ``tensorboard``.
        callbacks: functions that get each event, its iteration and its numbers by name, as TensorBoard does:
            ``callback("train", 20, {"loss": 1.5, "lr": 0.001})``. If one has a method ``close``, closing the log calls
            it.

    Raises:
        DataError: the file cannot be opened.
        SolverError: TensorBoard is not installed.
    """

    def __init__(
        self,
        echo: Callable[[str], None] | None = to_stderr,
        path: str | PathLike[str] | None = None,
        tensorboard: str | PathLike[str] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self._echo = echo
        self._path = path
        self._file = None if path is None else _open_for_lines(Path(path))
        self._board = None if tensorboard is None else _summary_writer(tensorboard)
        self._callbacks = callbacks

    def line(self, text: str) -> None:
        """Write one of Caffe's lines."""
        if self._echo is not None:
            self._echo(printable(text))

    def outputs(self, kind: str, rows: Iterable[tuple[str, list[float], float]]) -> None:
        """Write a net's outputs as Caffe does.

        Args:
            kind: ``"Train"`` or ``"Test"``.
            rows: name, numbers and loss weight of each output.
        """
        index = 0
        for name, numbers, weight in rows:
            for number in numbers:
                loss = f" (* {weight:g} = {weight * number:g} loss)" if weight else ""
                self.line(f"    {kind} net output #{index}: {name} = {number:g}{loss}")
                index += 1

    def record(self, event: str, iteration: int, **values: Any) -> None:
        """Write one JSON line, and give its numbers to TensorBoard and the callbacks.

        If the file can no longer be written, a warning is printed and training goes on without it.
        """
        if self._file is not None:
            try:
                entry = {"event": event, "iteration": iteration, **values}
                self._file.write(json.dumps(_plain(entry), allow_nan=False) + "\n")
                self._file.flush()
            except OSError as error:
                self.line(f"warning: {self._path}: cannot be written, going on without: {error.strerror or error}")
                # Closing would fail too: it writes what is still in the buffer.
                with contextlib.suppress(OSError):
                    self._file.close()
                self._file = None
        if self._board is None and not self._callbacks:
            return
        numbers = dict(_scalars(values))
        if self._board is not None:
            for name, number in numbers.items():
                self._board.add_scalar(f"{event}/{name}", number, iteration)
        for callback in self._callbacks:
            callback(event, iteration, numbers)

    def close(self) -> None:
        """Close the files and the callbacks."""
        for callback in self._callbacks:
            if hasattr(callback, "close"):
                callback.close()
        self._callbacks = ()
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._board is not None:
            self._board.close()
            self._board = None


def read_log(path: str | PathLike[str]) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file, without those that a resumed run repeated.

    A run that was resumed from a snapshot repeats the iterations since the snapshot; the earlier records of these are
    left out. Lines that were cut off when a run was killed are left out too.

    Raises:
        DataError: the file cannot be read, or has no record.
    """
    records: list[dict[str, Any]] = []
    try:
        with Path(path).open(encoding="utf-8") as file:
            for entry in filter(None, map(_record, file)):
                if entry["event"] == "start":
                    records = [record for record in records if record["iteration"] < entry["iteration"]]
                records.append(entry)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {getattr(error, 'strerror', None) or error}", path) from None
    if not records:
        raise DataError("holds no record of a training run", path)
    return records


def _record(line: str) -> dict[str, Any] | None:
    """Return a line's record; None if it is cut off, another program's, or has values of other types."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        return None
    iteration, outputs = entry.get("iteration"), entry.get("outputs", {})
    # "net" is the number of a test net, but the net's name in a "start" record.
    net = 0 if entry["event"] == "start" else entry.get("net", 0)
    if type(iteration) is not int or type(net) is not int or not 0 <= iteration < 2**31:
        return None
    if not isinstance(outputs, dict) or not all(isinstance(values, list) for values in outputs.values()):
        return None
    numbers = [entry.get(name) for name in ("loss", "lr", "seconds", "smoothed_loss")]
    for values in outputs.values():
        numbers += values
    return entry if all(map(_is_number, numbers)) else None


def _is_number(value: Any) -> bool:
    """Return whether a value is a number as :func:`_plain` writes it: finite, or None."""
    with contextlib.suppress(OverflowError):
        return value is None or (type(value) in (int, float) and math.isfinite(value))
    return False


def _open_for_lines(path: Path) -> Any:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = False
        if path.exists() and path.stat().st_size:
            with path.open("rb") as before:
                before.seek(-1, os.SEEK_END)
                torn = before.read(1) != b"\n"
        file = path.open("a", encoding="utf-8")
        if torn:
            file.write("\n")
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror or error}", path) from None
    return file


def _summary_writer(folder: str | PathLike[str]) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SolverError(f"--tensorboard needs: {how_to_install('tensorboard')} ({error})") from None
    return SummaryWriter(os.fspath(folder))


def _plain(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _scalars(values: dict[str, Any]) -> Iterable[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, bool) or value is None or isinstance(value, str):
            continue
        if isinstance(value, (int, float)):
            yield name, float(value)
        elif isinstance(value, dict):
            yield from ((f"{name}/{key}", number) for key, number in _scalars(value))
        elif isinstance(value, (list, tuple)):
            numbers = dict(enumerate(value))
            if len(numbers) == 1:
                yield from ((name, number) for _, number in _scalars({"0": numbers[0]}))
            else:
                yield from ((f"{name}/{key}", n) for i, v in numbers.items() for key, n in _scalars({str(i): v}))
