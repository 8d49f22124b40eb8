"""Text files of other systems: UTF-8 with a byte order mark, and UTF-16, as Windows's Notepad and PowerShell write."""

from __future__ import annotations

import codecs

# UTF-32's mark comes first: for little-endian it begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Enough characters to tell UTF-16 without a mark from binary data.
_SEEN = 64


def utf8(content: bytes) -> bytes:
    """Return a text file's content in UTF-8 without a mark; content in other encodings is returned unchanged.

    Raises:
        ValueError: the content has a mark of UTF-16 or UTF-32, but cannot be decoded.
    """
    for mark, name in _MARKS:
        if content.startswith(mark):
            content = content[len(mark) :]
            return content if name == "utf-8" else _from(content, name)
    beginning = content[: 2 * _SEEN]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        letters = beginning[1 - first :: 2]
        if len(beginning) >= 4 and not any(beginning[first::2]) and all(letters):
            return _from(content, name)
    return content


def _from(content: bytes, name: str) -> bytes:
    try:
        return content.decode(name).encode("utf-8")
    except UnicodeError as error:
        raise ValueError(f"is damaged {name.upper()[:6]} text: save it as UTF-8") from error
