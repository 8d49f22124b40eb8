"""Download of one file over HTTP, with pooch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from deeplab_caffe._version import __version__
from deeplab_caffe.errors import DownloadError

CHUNK = 1 << 16
TIMEOUT = 60.0

Report = Callable[[int, int | None], None]


class _Counted:
    """A file that counts written bytes and rejects too many; pooch also uses it as its progress bar.

    Attributes:
        total: expected bytes, set by pooch; 0 if the host does not send the size.
        there: received bytes.
    """

    def __init__(self, file: BinaryIO, report: Report | None, limit: int | None) -> None:
        self.total = 0
        self.there = 0
        self._file = file
        self._report = report
        self._limit = limit

    def write(self, content: bytes) -> None:
        """Write and report.

        Raises:
            DownloadError: the file is larger than the limit.
        """
        self.there += len(content)
        if self._limit is not None and max(self.there, self.total) > self._limit:
            raise DownloadError(f"the host sends more than the {self._limit:,} bytes that the file may have")
        self._file.write(content)
        if self._report is not None:
            self._report(self.there, self.total or None)

    def flush(self) -> None:
        """Leave it to the file when to flush."""

    def update(self, _: int) -> None:
        """Ignore a step of the bar: pooch counts whole chunks."""

    def reset(self) -> None:
        """Ignore the bar's end."""

    def close(self) -> None:
        """Ignore the bar's end."""


def fetch_url(url: str, part: Path, report: Report | None = None, *, limit: int | None = None) -> None:
    """Download ``url`` into the file ``part``; an incomplete file is removed.

    Args:
        url: http or https.
        part: the file.
        report: called with the number of received bytes and the total, which is None if the host does not send it.
        limit: largest allowed size in bytes; None for no limit.

    Raises:
        DownloadError: the host is gone or refuses, the connection broke, or the file is too large.
    """
    try:
        with part.open("wb") as file:
            _fetch(url, _Counted(file, report, limit))
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DownloadError(f"the transfer to {part} failed: {error.strerror or error}") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _fetch(url: str, file: _Counted) -> None:
    import requests
    from pooch import HTTPDownloader

    headers = {"User-Agent": f"deeplab-caffe/{__version__}", "Accept-Encoding": "identity"}
    try:
        HTTPDownloader(file, CHUNK, headers=headers, timeout=TIMEOUT)(url, file, None)
    except requests.HTTPError as error:
        status, reason = getattr(error.response, "status_code", ""), getattr(error.response, "reason", "")
        raise DownloadError(f"the host answered {status} {reason}") from error
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        reason = _cause(error)
        if file.total:
            raise DownloadError(f"truncated: {file.there:,} of {file.total:,} bytes came: {reason}") from error
        raise DownloadError(f"the host cannot be reached: {reason}") from error
    # A malformed redirect, or a Content-Length that is not a number, is a ValueError.
    except (requests.RequestException, ValueError) as error:
        raise DownloadError(f"the host's answer cannot be used: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """Return the message of the first cause in one line: requests wraps urllib3's errors, which wrap the system's."""
    while error.__context__ is not None:
        error = error.__context__
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).partition("\n")[0]
