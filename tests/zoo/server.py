"""A host on the loopback that serves one file, and can be made to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Host:
    """What the server answers with; change it between requests.

    Attributes:
        content: the file's bytes.
        etag: the file's ETag; None sends none.
        breaks_after: the connection ends after this many bytes of an answer; None sends all of it.
        status: answer with this status and no file; None serves it.
        ranges: whether the host knows Range.
        if_range: whether it knows If-Range.
        unasked_part: send the second half where all of it is asked for.
        requests: the Range header of each request, None where it had none.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"1"'
        self.breaks_after: int | None = None
        self.status: int | None = None
        self.ranges = True
        self.if_range = True
        self.unasked_part = False
        self.requests: list[str | None] = []
        self.url = ""


@contextmanager
def serving(content: bytes) -> Iterator[Host]:
    """A host that runs while the block does."""
    host = Host(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            host.requests.append(asked)
            if host.status is not None:
                self.send_error(host.status)
                return
            start = len(host.content) // 2 if host.unasked_part else 0
            same = not host.if_range or self.headers.get("If-Range") == host.etag
            if asked and host.ranges and same:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(host.content):
                    self.send_error(416)
                    return
            body = host.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(host.content) - 1}/{len(host.content)}")
            if host.etag is not None:
                self.send_header("ETag", host.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: host.breaks_after])

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_address[1]}/w.caffemodel"
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
