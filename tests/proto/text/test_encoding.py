from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.proto import read_net
from deeplab_caffe.proto.text.encoding import utf8


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_of_other_systems(tmp_path: Path, encoding: str) -> None:
    text = 'name: "two"\ninput: "data"\ninput_dim: 1 input_dim: 3 input_dim: 4 input_dim: 5\n'
    assert utf8(text.encode(encoding)).decode("utf-8") == text
    (tmp_path / "net.prototxt").write_bytes(text.encode(encoding))
    assert read_net(tmp_path / "net.prototxt").name == "two"


def test_other_bytes_stay() -> None:
    for content in (b"", b"a", b"caf\xe9\n", b"\x01\x00\x00\x00", bytes(200), b"a\0"):
        assert utf8(content) == content


def test_utf_16_without_a_mark_shows_in_the_first_64_letters() -> None:
    assert utf8(b"a\0b\0") == utf8(b"\0a\0b") == b"ab"
    for name in ("utf-16-le", "utf-16-be"):
        # Chinese letters use both bytes.
        late, early = ("a" * count + "\u6ce8" for count in (64, 63))
        assert utf8(late.encode(name)).decode() == late
        assert utf8(early.encode(name)) == early.encode(name)
    for content in (b"\0\0a\0", b"\0\0\0a"):  # no text has a NUL
        assert utf8(content) == content


def test_damaged_utf_16() -> None:
    with pytest.raises(ValueError, match="damaged UTF-16"):
        utf8(b"\xff\xfea\0b")
