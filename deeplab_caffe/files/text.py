"""Text for files and pictures: names may have bytes that are not UTF-8, which Python keeps as lone surrogates."""

from __future__ import annotations


def text_bytes(text: str) -> bytes:
    r"""Return a text in UTF-8; lone surrogates are escaped, ``\udce9``, as on the command line's stdout."""
    return text.encode("utf-8", "backslashreplace")


def shown_text(text: str) -> str:
    """Return a text that can be drawn: the text that :func:`text_bytes` encodes."""
    return text_bytes(text).decode()
