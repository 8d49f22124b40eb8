from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe.errors import DataError
from deeplab_caffe.files import child
from deeplab_caffe.files.hdf5 import Dataset, close, find_all, find_datasets, read_dataset, read_rows

h5py = pytest.importorskip("h5py")

VALUES = np.arange(24).reshape(6, 4)


def rows(found: Dataset, start: int, stop: int, dtype: object = None) -> np.ndarray:
    out = np.empty((stop - start, *found.shape[1:]), dtype or found.dtype)
    read_rows(found, start, out)
    return out


def only(path: Path, name: str = "x"):
    return find_datasets(path, [name])[0][name]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "|u1", ">i8"])
@pytest.mark.parametrize("userblock", [0, 512])
def test_a_dataset_in_one_piece_is_read_without_the_library(tmp_path: Path, dtype: str, userblock: int) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=userblock) as file:
        file["x"] = VALUES.astype(dtype)
    found = only(tmp_path / "a.h5")
    assert found.offset is not None
    assert (found.shape, found.dtype) == ((6, 4), np.dtype(dtype))
    np.testing.assert_array_equal(read_dataset(found), VALUES)
    for wanted in (None, np.float32):
        np.testing.assert_array_equal(rows(found, 2, 4, wanted), [[8, 9, 10, 11], [12, 13, 14, 15]])


@pytest.mark.parametrize("kept", [{"chunks": (4, 3), "compression": "gzip"}, {"maxshape": (None, 4)}])
def test_chunks_come_from_the_child(tmp_path: Path, kept: dict[str, object]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=VALUES.astype(np.float32), **kept)
    found = only(tmp_path / "a.h5")
    assert found.offset is None
    np.testing.assert_array_equal(read_dataset(found), VALUES)
    np.testing.assert_array_equal(rows(found, 3, 6), VALUES[3:])
    close(tmp_path / "a.h5")
    np.testing.assert_array_equal(rows(found, 0, 1), VALUES[:1])


def test_a_float_of_other_bits_is_not_taken_for_numpys(tmp_path: Path) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(31, 24, 7, 0, 24)  # 7 bits of exponent and 24 of mantissa
    kind.set_ebias(63)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((2,))
        h5py.h5d.create(file.id, b"x", kind, space).write(space, space, np.array([1.5, -3.0]))
    found = only(tmp_path / "a.h5")
    assert found.offset is None
    assert read_dataset(found).tolist() == [1.5, -3.0]


def test_all_datasets_of_all_groups(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data/conv1/0"], file["data/conv1/1"], file["iter"] = np.ones((2, 1)), np.ones(2), 7
        file.create_group("empty")
    groups, found = find_all(tmp_path / "a.h5")
    assert groups == ["data", "data/conv1", "empty"]
    assert {name: one.shape for name, one in found.items()} == {
        "data/conv1/0": (2, 1),
        "data/conv1/1": (2,),
        "iter": (),
    }
    assert read_dataset(found["iter"]).item() == 7


def test_single_values_and_strings_come_from_the_child(tmp_path: Path) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["text"], file["texts"] = np.array(b"ab", "S5"), np.array([b"ab", b"c"], "S5")
        kind, space = h5py.h5t.NATIVE_INT32, h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(file.id, b"number", kind, space, plist).write(space, space, np.array(7, np.int32))
    found = find_all(tmp_path / "a.h5")[1]
    assert [found[name].offset for name in ("text", "texts", "number")] == [None] * 3
    assert (read_dataset(found["text"]).item(), read_dataset(found["number"]).item()) == (b"ab", 7)
    assert read_dataset(found["texts"]).tolist() == [b"ab", b"c"]


def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with h5py.File(tmp_path / name / "a.h5", "w") as file:
            file.create_dataset("x", data=[len(name), ord(name[0])], chunks=(1,))
            file["plain"] = [ord(name[0])]
    for name in ("one", "two"):
        monkeypatch.chdir(tmp_path / name)
        found = find_all(Path("a.h5"))[1]
        monkeypatch.chdir(tmp_path)
        assert read_dataset(found["x"]).tolist() == [3, ord(name[0])]
        assert read_dataset(found["plain"]).tolist() == [ord(name[0])]


def test_what_lies_in_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(96))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = VALUES
    layout = h5py.VirtualLayout((6, 4), "i8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (6, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["link"] = h5py.ExternalLink("other.h5", "/x")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (6, 4), "f4", external=[(os.fspath(tmp_path / "secret"), 0, 96)])
    for name in ("link", "virtual", "raw"):
        with pytest.raises(DataError, match=rf"a\.h5: dataset '{name}' lies in other files"):
            only(tmp_path / "a.h5", name)


def test_sizes_that_the_file_cannot_fill_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (1 << 40,), "f4", chunks=(1 << 10,))
        file.create_dataset("chunk", (4, 4), "f4", chunks=(1 << 14, 1 << 14), maxshape=(None, None))
        file.create_dataset("zeros", (10,), "f4")
    with pytest.raises(DataError, match="'x': its values claim more than 67,108,864 bytes: 4,398,046,511,104"):
        only(tmp_path / "a.h5")
    with pytest.raises(DataError, match="'chunk': its chunks claim more than 67,108,864 bytes: 1,073,741,824"):
        only(tmp_path / "a.h5", "chunk")
    assert read_dataset(only(tmp_path / "a.h5", "zeros")).tolist() == [0] * 10


@pytest.mark.parametrize("kept", [{}, {"chunks": (4, 3)}])
def test_a_file_that_changes_meanwhile(tmp_path: Path, kept: dict[str, object]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=VALUES, **kept)
    found = only(tmp_path / "a.h5")
    os.truncate(tmp_path / "a.h5", 2000)
    with pytest.raises(DataError, match=r"a\.h5: has changed since it was opened"):
        read_dataset(found)


@pytest.mark.parametrize("kept", [{}, {"chunks": (4, 3)}, {"chunks": (4, 3), "compression": "gzip"}])
def test_a_file_that_is_written_again_in_its_place(tmp_path: Path, kept: dict[str, object]) -> None:
    found = []
    for number in range(3):
        # "w" truncates the file: another name of the old content would keep it.
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file.create_dataset("x", data=VALUES[number:] * 10**number, **kept)
        os.utime(tmp_path / "a.h5", ns=(number, number))  # a clock may tick slowly
        found.append(only(tmp_path / "a.h5"))
        np.testing.assert_array_equal(read_dataset(found[-1]), VALUES[number:] * 10**number)
        with pytest.raises(DataError, match=r"a\.h5: has changed since it was opened") if number else nullcontext():
            read_dataset(found[0])


def test_a_child_that_dies_is_a_data_error_and_the_next_one_goes_on(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(4, 3))
    found = only(tmp_path / "a.h5")
    process = child._running()
    process.send_signal(signal.SIGSEGV)
    process.wait()
    with pytest.raises(DataError, match=r"a\.h5: the HDF5 file is damaged: the library .* ended by SIGSEGV"):
        read_dataset(found)
    np.testing.assert_array_equal(read_dataset(found), VALUES)
    # One that ended in peace, as after a minute without work, is no news. Here its input ends.
    process = child._running()
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), process.stdin.fileno())
    process.wait()
    np.testing.assert_array_equal(read_dataset(found), VALUES)


def test_a_forked_process_has_a_child_of_its_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=VALUES, chunks=(4, 3))
    found = only(tmp_path / "a.h5")
    number = os.fork()
    if number == 0:
        os._exit(0 if not child.is_running() and (read_dataset(found) == VALUES).all() else 1)
    assert os.waitpid(number, 0)[1] == 0
    np.testing.assert_array_equal(read_dataset(found), VALUES)


def test_the_child_ends_with_its_parent_and_reading_needs_no_torch(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = VALUES
    program = (
        "import os, sys\n"
        "from deeplab_caffe.files import child, hdf5\n"
        "hdf5.find_datasets(sys.argv[1], ['x'])\n"
        "assert 'torch' not in sys.modules and 'h5py' not in sys.modules\n"
        "print(child._running().pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    # communicate() waits for the end of stdout, which the child must not hold.
    end = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.h5"], capture_output=True, text=True, check=False
    )
    assert end.returncode == -9, end.stderr
    while runs(int(end.stdout)):
        time.sleep(0.01)


def runs(number: int) -> bool:
    """Whether a process is there, and no corpse that nobody has buried."""
    stat = Path(f"/proc/{number}/stat")
    try:
        os.kill(number, 0)
        return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
