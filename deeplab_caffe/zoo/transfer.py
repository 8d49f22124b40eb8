"""One file over HTTP, resumed where an earlier try broke off."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from deeplab_caffe._version import __version__
from deeplab_caffe.data.atomic import atomic_write
from deeplab_caffe.errors import DownloadError

CHUNK = 1 << 18
TIMEOUT = 60.0


class _ChangedError(Exception):
    """The host has another file now than the one that a part is there of."""


def fetch_url(url: str, part: Path, report: Callable[[int, int | None], None] | None = None) -> None:
    """Fetches ``url`` into ``part``, going on where an earlier call left off.

    What is there already is kept only if the host says that the file is still the same one (ETag or Last-Modified, by
    If-Range); ``<part>.json`` remembers what it was. On success the file is whole, as far as the host told its size.

    Args:
        url: http or https.
        part: the partial file.
        report: called with the bytes that are there and the total, None where the host does not tell.

    Raises:
        DownloadError: the host is gone or refuses, or the connection broke: what came stays, for the next call.
    """
    memory = part.with_name(f"{part.name}.json")
    start, validator = _earlier(url, part, memory)
    headers = {"User-Agent": f"deeplab-caffe/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            if answer.status == 206 and not start:
                raise DownloadError("the host sent a part of the file where all of it was asked for")
            if answer.status == 206 and not _continues(answer, start, validator):
                raise _ChangedError
            start = start if answer.status == 206 else 0
            total = _total(answer, start)
            with part.open("r+b" if start else "wb") as file:
                file.seek(start)
                # Only now that nothing of an earlier version is left may the part be taken for one of this.
                _remember(url, answer, memory)
                there = start
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    there += len(chunk)
                    if report is not None:
                        report(there, total)
    except _ChangedError:
        _forget(part, memory)
        fetch_url(url, part, report)
        return
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:
            _forget(part, memory)
            fetch_url(url, part, report)
            return
        raise DownloadError(f"the host answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DownloadError(f"the host cannot be reached: {error.reason}") from error
    except (HTTPException, TimeoutError, ConnectionError) as error:
        raise DownloadError(f"the connection broke: {error or type(error).__name__}; call again to go on") from error
    except OSError as error:
        raise DownloadError(f"the transfer to {part} failed: {error.strerror or error}") from error
    if total is not None and there != total:
        if there > total:
            _forget(part, memory)
        raise DownloadError(f"truncated: {there:,} of {total:,} bytes came; call again to go on")
    memory.unlink(missing_ok=True)


def _earlier(url: str, part: Path, memory: Path) -> tuple[int, str]:
    """Size of what an earlier call left and can be continued, and how the host tells that version of the file."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
        if known["url"] == url and known["validator"]:
            return part.stat().st_size, known["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    _forget(part, memory)
    return 0, ""


def _validator(answer: HTTPResponse) -> str:
    """How the host tells this version of the file from others; empty if it does not."""
    tag = answer.headers.get("ETag", "")
    # A weak tag says that the file means the same, not that it is the same bytes.
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _remember(url: str, answer: HTTPResponse, memory: Path) -> None:
    with atomic_write(memory) as file:
        file.write(json.dumps({"url": url, "validator": _validator(answer)}).encode())


def _forget(part: Path, memory: Path) -> None:
    part.unlink(missing_ok=True)
    memory.unlink(missing_ok=True)


def _continues(answer: HTTPResponse, start: int, validator: str) -> bool:
    """Whether a part of the file is the one that was asked for: some hosts do not look at If-Range."""
    sent = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return sent is not None and int(sent[1]) == start and _validator(answer) in ("", validator)


def _total(answer: HTTPResponse, start: int) -> int | None:
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else None
