"""Check zip archives written by torch before torch reads them, because it checks neither sizes nor checksums."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path

# A pickle of one-byte opcodes takes about 80 times its size in memory. It may be this large, plus a share of the file.
_FREE_PICKLE, _PICKLE_SHARE = 800 << 10, 0.5


def check_torch_archive(path: str | PathLike[str]) -> None:
    """Check that an archive is as ``torch.save`` writes it, complete, and does not unpack to more than its size.

    Raises:
        ValueError: its parts are compressed, overlap or have a wrong checksum, or its pickle is too large.
        OSError, RuntimeError, zipfile.BadZipFile, ...: it cannot be read, or is not an archive.
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
