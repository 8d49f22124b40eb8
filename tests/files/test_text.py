from __future__ import annotations

import os

from deeplab_caffe.files.text import shown_text, text_bytes


def test_what_is_no_text_is_escaped() -> None:
    assert text_bytes("猫") == "猫".encode()
    assert text_bytes(os.fsdecode(b"caf\xe9")) == rb"caf\udce9"
    assert shown_text(os.fsdecode(b"caf\xe9")) == r"caf\udce9"
