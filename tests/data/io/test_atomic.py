from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from deeplab_caffe.data import atomic_write
from deeplab_caffe.errors import DataError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic_write(target) as stream:
        stream.write(b"half")
        assert not target.exists()
        stream.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert names(tmp_path) == ["a.bin"]


def test_an_error_in_the_block_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_write(target, sync=True) as stream:
        stream.write(b"new" * (1 // 0))
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_full_disk_is_a_data_error_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(DataError, match=r"a\.bin: cannot be written: No space left on device"), atomic_write(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_what_the_system_finds_full_at_closing_time() -> None:
    with pytest.raises(DataError, match="No space left"), atomic_write("/dev/full") as stream:
        stream.write(b"x")


def test_missing_folders(tmp_path: Path) -> None:
    target = tmp_path / "one" / "two" / "a.bin"
    with pytest.raises(DataError, match="No such file"), atomic_write(target):
        pass
    assert names(tmp_path) == []
    with atomic_write(target, make_folders=True) as stream:
        stream.write(b"x")
    assert target.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["", "."])
def test_a_folder_is_not_overwritten(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="it is a folder"), atomic_write(tmp_path / name):
        pass


def test_a_file_in_the_way_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"), atomic_write(tmp_path / "file" / "a", make_folders=True):
        pass


def test_a_link_is_followed(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(real)
    with atomic_write(link) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_device_stays_a_device() -> None:
    with atomic_write(os.devnull) as stream:
        stream.write(b"x")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "atomic"):
        pass
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_name_as_long_as_the_system_allows(tmp_path: Path) -> None:
    name = "\u732b" * 85  # 255 bytes
    with atomic_write(tmp_path / name):
        assert all(len(os.fsencode(one)) <= 255 for one in names(tmp_path))
    assert names(tmp_path) == [name]


# Opens a file for writing, says so, and waits.
WRITER = """
import sys
from deeplab_caffe.data import atomic_write
with atomic_write(sys.argv[1]) as stream:
    print("open", flush=True)
    sys.stdin.read()
"""


def open_elsewhere(target: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, os.fspath(target)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "open\n"
    return process


def write_in_another_process(target: Path) -> None:
    assert open_elsewhere(target).communicate()[0] == ""


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / ".somebody.0123456789ab.tmp").write_bytes(b"another program's")
    killed, living = open_elsewhere(tmp_path / "a"), open_elsewhere(tmp_path / "b")
    assert len(names(tmp_path)) == 3
    killed.kill()
    killed.communicate()
    write_in_another_process(tmp_path / "c")
    assert len(names(tmp_path)) == 3
    assert [name.startswith(".b.") for name in names(tmp_path)] == [True, False, False]
    living.communicate()
    assert living.returncode == 0
    assert names(tmp_path) == [".somebody.0123456789ab.tmp", "b", "c"]


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time\n"
        "from deeplab_caffe.cli import _termination\n"
        "from deeplab_caffe.data import atomic_write\n"
        "with _termination(), atomic_write(sys.argv[1]):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "a"], check=False).returncode == 143
    assert names(tmp_path) == []


# Between the file's creation and the block, the signal's exception is raised where nobody catches it.
EARLY = """
import os, signal, sys, time
from deeplab_caffe.cli import _termination
from deeplab_caffe.data import atomic_write
from deeplab_caffe.files import atomic
def end():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
class File(atomic._File):
    def __init__(self, *words):
        super().__init__(*words)
        if sys.argv[2] == "created":
            end()
atomic._File = File
with _termination():
    writing = atomic_write(sys.argv[1])
    writing.__enter__()
    end()
"""


@pytest.mark.parametrize("moment", ["created", "entered"])
def test_sigterm_before_the_block_leaves_nothing(tmp_path: Path, moment: str) -> None:
    assert subprocess.run([sys.executable, "-c", EARLY, tmp_path / "a", moment], check=False).returncode == 143
    assert names(tmp_path) == []


def test_a_forked_process_leaves_its_parents_file_alone(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from deeplab_caffe.data import atomic_write\n"
        "with atomic_write(sys.argv[1]) as stream:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        import atexit\n"
        "        atexit._run_exitfuncs()\n"
        "        os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    stream.write(b'whole')\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "a"], check=True)
    assert names(tmp_path) == ["a"]


def test_a_short_write_of_numpys_names_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: No space left on device, or a limit"):  # noqa: SIM117
        with atomic_write(tmp_path / "a"):
            raise OSError("87120 requested and 70624 written")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_what_a_library_makes_of_a_full_disk_is_a_data_error_too() -> None:
    with pytest.raises(DataError, match="No space left"), atomic_write("/dev/full") as stream:  # noqa: PT012
        try:
            stream.write(bytes(1 << 20))
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598") from None
