"""Locks that one holds at a time: a second handle of this process is refused as another process's is."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.data.io.lock import exclusive, folder_lock
from deeplab_caffe.errors import DataError

BUSY = DataError("is in use", "x.lock")


def test_one_holds_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    for _ in range(2):  # what has been given back can be had again
        with exclusive(path, BUSY), pytest.raises(DataError, match="is in use"), exclusive(path, BUSY):
            pytest.fail("two hold it")
    with pytest.raises(KeyError), exclusive(path, BUSY):
        raise KeyError
    with exclusive(path, BUSY):
        assert path.exists()


def test_a_file_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(DataError, match="x/y.lock: cannot be locked: "), exclusive(tmp_path / "x" / "y.lock", BUSY):
        pytest.fail("none can hold it")


def test_one_holds_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    for wait in (True, False):
        with folder_lock(tmp_path, wait=wait):
            with pytest.raises(BlockingIOError), folder_lock(tmp_path, wait=False):
                pytest.fail("two hold it")
            assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyError), folder_lock(tmp_path):
        raise KeyError
    with folder_lock(tmp_path, wait=False), pytest.raises(FileNotFoundError), folder_lock(tmp_path / "none"):
        pytest.fail("there is none")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("fcntl.flock", none)
    ran = []
    with folder_lock(tmp_path):
        ran.append(tmp_path)
    assert ran == [tmp_path]
