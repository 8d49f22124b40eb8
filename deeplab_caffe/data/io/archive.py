"""Zip archives as torch writes them, checked before torch reads them: it looks at neither sizes nor checksums."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path

# A pickle of one-byte opcodes takes some 80 times its size: it may be so large, and this share of the file more.
_FREE_PICKLE, _PICKLE_SHARE = 800 << 10, 0.5


def check_torch_archive(path: str | PathLike[str]) -> None:
    """Check that an archive is what ``torch.save`` writes, whole, and unpacks to no more than its size.

    Raises:
        ValueError: parts of it are compressed, overlap or have a wrong checksum, or its pickle is too large.
        OSError, RuntimeError, zipfile.BadZipFile, ...: it cannot be read, or is no archive.
    """
    size = Path(path).stat().st_size
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("its parts are compressed")
        if sum(part.file_size for part in parts) > size:
            raise ValueError("its parts claim more bytes than the file has")
        pickles = sum(part.file_size for part in parts if part.filename.endswith(".pkl"))
        if pickles > _FREE_PICKLE + _PICKLE_SHARE * size:
            raise ValueError(f"its pickle has {pickles:,} bytes of the file's {size:,}")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its part {damaged[:80]!r} is wrong")
