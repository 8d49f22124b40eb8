from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deeplab_caffe.errors import DownloadError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.zoo import Model, RemoteFile, find_model
from deeplab_caffe.zoo.download import _copy, _unpack, cache_folder, fetch, lock_file
from deeplab_caffe.zoo.transfer import fetch_url
from tests.zoo.server import Host, serving

FILE = "w.caffemodel"


def weights(count: int = 60_000, value: float = 1.0) -> bytes:
    net = caffe_pb2.NetParameter(name="w")
    layer = net.layers.add(name="fc", type=caffe_pb2.V1LayerParameter.CONVOLUTION)
    layer.blobs.add(num=1, channels=1, height=1, width=count, data=[value] * count)
    return net.SerializeToString()


CONTENT = weights()


@pytest.fixture
def host() -> Iterator[Host]:
    with serving(CONTENT) as host:
        yield host


def model(*urls: str, sha256: str | None = None) -> Model:
    file = RemoteFile(FILE, urls, sha256)
    return Model("w", "W", None, "nothing", None, file=file, pages=("http://example.org/w.html",))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_the_first_download_is_recorded_and_later_ones_need_no_host(host: Host, tmp_path: Path) -> None:
    path = fetch(model(host.url), cache=tmp_path)
    assert path == tmp_path / "w" / FILE
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {FILE, f"{FILE}.lock"}
    lock = json.loads(lock_file(path).read_text())
    assert lock == {"sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT), "from": host.url}

    host.status = 500
    assert fetch(model(host.url), cache=tmp_path) == path
    assert len(host.requests) == 1


def test_the_next_address_is_tried(host: Host, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:1/w.caffemodel"
    assert fetch(model(gone, host.url), cache=tmp_path).read_bytes() == CONTENT


def test_a_host_that_is_gone_is_named_with_what_to_do(host: Host, tmp_path: Path) -> None:
    host.status = 404
    with pytest.raises(DownloadError) as caught:
        fetch(model("http://127.0.0.1:1/w.caffemodel", host.url), cache=tmp_path)
    message = str(caught.value)
    assert "127.0.0.1:1/w.caffemodel: the host cannot be reached" in message
    assert "the host answered 404" in message
    assert "example.org/w.html" in message
    assert "deeplab-caffe download w --from DIR" in message
    assert "\n" not in message
    assert names(tmp_path / "w") == set()


def test_a_truncated_download_is_never_used(host: Host, tmp_path: Path) -> None:
    host.breaks_after = 100_000
    with pytest.raises(DownloadError, match=rf"truncated: [\d,]+ of {len(CONTENT):,} bytes"):
        fetch(model(host.url), cache=tmp_path)
    assert names(tmp_path / "w") == set()
    host.breaks_after = None
    assert fetch(model(host.url), cache=tmp_path).read_bytes() == CONTENT
    assert names(tmp_path / "w") == {FILE, f"{FILE}.lock"}


@pytest.mark.parametrize("content", [b"more", CONTENT + b"more"])
def test_what_an_earlier_process_left_is_written_over(host: Host, tmp_path: Path, content: bytes) -> None:
    part = tmp_path / "w" / f"{FILE}.part"
    part.parent.mkdir()
    part.write_bytes(content)
    assert fetch(model(host.url), cache=tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("told", [True, False])
def test_a_file_that_is_too_large_is_not_fetched(host: Host, tmp_path: Path, told: bool) -> None:
    host.content = bytes(1 << 20)
    host.tells_length = told
    host.breaks_after = None if told else 900_000
    with pytest.raises(DownloadError, match="more than the 500,000 bytes"):
        fetch_url(host.url, tmp_path / "part", limit=500_000)
    assert names(tmp_path) == set()


def test_a_zip_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE, bytes(50 << 20))
    with pytest.raises(DownloadError, match="unpacks to more than"):
        _unpack(tmp_path / "a.zip", tmp_path / FILE, 1 << 20)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("name", ["a.zip", FILE])
def test_sigterm_while_unpacking_or_copying_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def terminated(*_: object) -> None:
        (tmp_path / f"{FILE}.part").write_bytes(b"half")
        raise SystemExit(143)

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(FILE, CONTENT)
    monkeypatch.setattr(zipfile.ZipFile, "open", terminated)
    monkeypatch.setattr(shutil, "copyfile", terminated)
    with pytest.raises(SystemExit):
        _unpack(tmp_path / name, tmp_path / FILE) if name == "a.zip" else _copy(tmp_path / "a.zip", tmp_path / FILE)
    assert not (tmp_path / f"{FILE}.part").exists()


def test_a_malformed_redirect_is_an_error(host: Host, tmp_path: Path) -> None:
    host.redirect = "http://[::1/"
    with pytest.raises(DownloadError, match="the host's answer cannot be used"):
        fetch_url(host.url, tmp_path / "part")


def test_one_process_fetches_a_file(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    code = (
        "import sys, time; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire();"
        "print('locked', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(folder / f".{FILE}.busy")], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(DownloadError, match="another process is fetching"):
            fetch(model(host.url), cache=tmp_path)
    finally:
        other.kill()
        other.wait()
    # The lock file of a process that was killed is still there, and locks nothing.
    assert fetch(model(host.url), cache=tmp_path).read_bytes() == CONTENT


def test_a_file_that_changed_in_the_cache_is_not_used(host: Host, tmp_path: Path) -> None:
    path = fetch(model(host.url), cache=tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(DownloadError, match="has changed"):
        fetch(model(host.url), cache=tmp_path)
    path.unlink()
    assert fetch(model(host.url), cache=tmp_path).read_bytes() == CONTENT


def test_another_file_at_the_same_address_is_refused(host: Host, tmp_path: Path) -> None:
    path = fetch(model(host.url), cache=tmp_path)
    path.unlink()
    host.content = weights(value=2)
    with pytest.raises(DownloadError, match="it is another file"):
        fetch(model(host.url), cache=tmp_path)
    assert not path.exists()
    lock_file(path).unlink()
    assert fetch(model(host.url), cache=tmp_path).read_bytes() == host.content


def test_a_known_checksum_is_checked_at_once(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="recorded before"):
        fetch(model(host.url, sha256="0" * 64), cache=tmp_path)
    assert fetch(model(host.url, sha256=hashlib.sha256(CONTENT).hexdigest()), cache=tmp_path).is_file()


def test_how_a_checksum_begins_is_checked_at_once_and_later_all_of_it(host: Host, tmp_path: Path) -> None:
    """As torchvision's names tell it."""
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    with pytest.raises(DownloadError, match="should begin with 00000000: another file"):
        fetch(model(host.url, sha256="0" * 8), cache=tmp_path)
    known = model(host.url, sha256=digits)
    path = fetch(known, cache=tmp_path)
    assert json.loads(lock_file(path).read_text())["sha256"].startswith(digits)
    path.write_bytes(CONTENT + b"more")
    with pytest.raises(DownloadError, match="has changed"):
        fetch(known, cache=tmp_path)
    lock_file(path).unlink()
    with pytest.raises(DownloadError, match=f"recorded was {digits}"):
        fetch(known, cache=tmp_path)


def test_a_state_dict_is_known_by_its_checksum_alone(host: Host, tmp_path: Path) -> None:
    host.content = b"PK no caffemodel"
    digits = hashlib.sha256(host.content).hexdigest()[:8]
    known = replace(model(), file=RemoteFile(f"v3-{digits}.pth", (host.url,), digits))
    assert fetch(known, cache=tmp_path).read_bytes() == host.content


def test_an_archive_of_several_caffemodels(host: Host, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/train2.caffemodel", weights(5, 2))
        archive.writestr(f"a/{FILE}", CONTENT)
    host.content = packed.getvalue()
    url = host.url + ".zip"
    assert fetch(model(url), cache=tmp_path / "one").read_bytes() == CONTENT
    other = replace(model(), file=RemoteFile("init.caffemodel", (url,)))
    with pytest.raises(DownloadError, match=r"holds a/train2.caffemodel, a/w.caffemodel: .* the only init.caffemodel"):
        fetch(other, cache=tmp_path / "two")


def test_a_file_without_a_lock_is_fetched_again(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "w" / FILE
    path.parent.mkdir()
    path.write_bytes(CONTENT[:50_000])
    assert fetch(model(host.url), cache=tmp_path).read_bytes() == CONTENT


def test_a_lock_that_says_nothing_is_an_error(host: Host, tmp_path: Path) -> None:
    path = fetch(model(host.url), cache=tmp_path)
    lock_file(path).write_text("{}")
    with pytest.raises(DownloadError, match="holds no sha256"):
        fetch(model(host.url), cache=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"<!DOCTYPE html><p>moved</p>", "no caffemodel: a web page"), (CONTENT[:1000], "no caffemodel: .*byte")],
)
def test_what_is_no_caffemodel_is_not_kept(host: Host, tmp_path: Path, content: bytes, message: str) -> None:
    host.content = content
    with pytest.raises(DownloadError, match=message):
        fetch(model(host.url), cache=tmp_path)
    assert names(tmp_path / "w") == set()


def test_another_networks_weights_are_not_kept(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="another network than deeplab_largefov: layer 'conv1_1' needs 64 filters"):
        fetch(replace(model(host.url), network="deeplab_largefov"), cache=tmp_path)
    assert names(tmp_path / "w") == set()


def test_a_zip_archive_is_unpacked(host: Host, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("folder/w.caffemodel", CONTENT)
        archive.writestr("readme.txt", "hello")
    host.content = packed.getvalue()
    url = host.url + ".zip"
    assert fetch(model(url), cache=tmp_path).read_bytes() == CONTENT
    assert names(tmp_path / "w") == {FILE, f"{FILE}.lock"}


def damaged_zip(method: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("x.caffemodel", CONTENT[:5000])
    content = bytearray(stream.getvalue())
    content[60:90] = b"\xff" * 30
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04 and nothing else",
        damaged_zip(zipfile.ZIP_DEFLATED),
        damaged_zip(zipfile.ZIP_LZMA),
        damaged_zip(zipfile.ZIP_BZIP2),
    ],
)
def test_a_broken_zip_archive_is_not_kept(host: Host, tmp_path: Path, content: bytes) -> None:
    host.content = content
    with pytest.raises(DownloadError, match="no readable zip archive"):
        fetch(model(host.url + ".zip"), cache=tmp_path)
    assert names(tmp_path / "w") == set()


def test_from_a_users_folder(tmp_path: Path) -> None:
    source = tmp_path / "mine" / "DeepLab"
    source.mkdir(parents=True)
    (source / FILE).write_bytes(CONTENT)
    gone = model("http://127.0.0.1:1/w.caffemodel")
    path = fetch(gone, cache=tmp_path / "cache", source=tmp_path / "mine")
    assert path.read_bytes() == CONTENT
    assert fetch(gone, cache=tmp_path / "cache") == path


def test_a_model_without_an_address_takes_the_only_caffemodel(tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    unknown = replace(model(), file=None)
    with pytest.raises(DownloadError, match=r"no address of the weights of w is known.*--from DIR"):
        fetch(unknown, cache=tmp_path / "cache")
    with pytest.raises(DownloadError, match=r"holds no \*.caffemodel"):
        fetch(unknown, cache=tmp_path / "cache", source=source)
    (source / "train2_iter_8000.caffemodel").write_bytes(CONTENT)
    path = fetch(unknown, cache=tmp_path / "cache", source=source)
    assert path.name == "train2_iter_8000.caffemodel"
    assert fetch(unknown, cache=tmp_path / "cache") == path
    (source / "other.caffemodel").write_bytes(CONTENT)
    with pytest.raises(DownloadError, match="holds 2 .*--from FILE"):
        fetch(unknown, cache=tmp_path / "elsewhere", source=source)


def test_the_wrong_file_from_a_folder_leaves_the_cache_as_it_was(tmp_path: Path) -> None:
    source = tmp_path / FILE
    source.write_bytes(b"\x00" * 100)
    with pytest.raises(DownloadError, match="no caffemodel"):
        fetch(model(), cache=tmp_path / "cache", source=source)
    assert names(tmp_path / "cache" / "w") == set()
    assert source.is_file()
    with pytest.raises(DownloadError, match="no such file or folder"):
        fetch(model(), cache=tmp_path / "cache", source=tmp_path / "nowhere")


def test_progress_is_told(host: Host, tmp_path: Path) -> None:
    told = []
    fetch(model(host.url), cache=tmp_path, report=lambda there, total: told.append((there, total)))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DEEPLAB_CAFFE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "deeplab-caffe"
    monkeypatch.setenv("DEEPLAB_CAFFE_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_the_released_file_is_the_first_address() -> None:
    assert find_model("deeplab_largefov").file.urls[0].endswith("/DeepLab-LargeFOV/train2_iter_8000.caffemodel")
