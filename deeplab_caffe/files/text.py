"""Text for files and pictures: names may hold bytes that are no UTF-8, which Python keeps as lone surrogates."""

from __future__ import annotations


def text_bytes(text: str) -> bytes:
    r"""Return a text in UTF-8; what is no text in it is escaped, ``\udce9``, as at the command line's stdout."""
    return text.encode("utf-8", "backslashreplace")


def shown_text(text: str) -> str:
    """Return a text that can be drawn: what :func:`text_bytes` writes."""
    return text_bytes(text).decode()
