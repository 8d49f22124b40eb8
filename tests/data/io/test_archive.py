from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from deeplab_caffe.data.io.archive import check_torch_archive


def archive(path: Path, parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def test_what_torch_writes(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3), "b": [1, None]}, tmp_path / "x")
    check_torch_archive(tmp_path / "x")


def test_compressed_parts(tmp_path: Path) -> None:
    path = archive(tmp_path / "x", {"x/data/0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(ValueError, match="its parts are compressed"):
        check_torch_archive(path)


def test_parts_that_overlap(tmp_path: Path) -> None:
    path = archive(tmp_path / "x", {"a": bytes(1000), "b": bytes(1000)})
    content = bytearray(path.read_bytes())
    # Both entries of the directory, whose fields 20 and 24 are the sizes, claim 10,000 bytes.
    at = content.find(b"PK\x01\x02")
    for _ in range(2):
        content[at + 20 : at + 28] = struct.pack("<II", 10_000, 10_000)
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="claim more bytes than the file has"):
        check_torch_archive(path)


def test_a_pickle_of_nothing_but_opcodes(tmp_path: Path) -> None:
    # Each of these bytes makes a dict of 64 bytes.
    path = archive(tmp_path / "x", {"x/data.pkl": b"\x80\x02" + b"}" * 4_000_000 + b"."})
    with pytest.raises(ValueError, match=r"its pickle has 4,000,003 bytes"):
        check_torch_archive(path)


def test_a_pickle_that_is_most_of_a_file(tmp_path: Path) -> None:
    # 800 KiB and half of the file's bytes, which are a few more than the pickle's: 819,200 + 815,000 and some.
    check_torch_archive(archive(tmp_path / "x", {"x/data.pkl": bytes(1_630_000)}))
    with pytest.raises(ValueError, match=r"its pickle has 1,650,000 bytes"):
        check_torch_archive(archive(tmp_path / "y", {"x/data.pkl": bytes(1_650_000)}))


def test_a_flipped_bit(tmp_path: Path) -> None:
    path = archive(tmp_path / "x", {"x/data/0": b"weights" * 100})
    content = bytearray(path.read_bytes())
    content[200] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="the checksum of its part 'x/data/0' is wrong"):
        check_torch_archive(path)
