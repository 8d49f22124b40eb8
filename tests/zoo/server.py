"""A host on the loopback that serves one file, and can be made to misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Host:
    """What the server answers with; change it between requests.

    Attributes:
        content: the file's bytes.
        breaks_after: the connection ends after this many bytes of an answer; None sends all of it.
        status: answer with this status and no file; None serves it.
        redirect: answer with this address; None serves the file.
        tells_length: whether the answer says how long it is.
        requests: the path of each request.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.breaks_after: int | None = None
        self.status: int | None = None
        self.redirect: str | None = None
        self.tells_length = True
        self.requests: list[str] = []
        self.url = ""


@contextmanager
def serving(content: bytes) -> Iterator[Host]:
    """A host that runs while the block does."""
    host = Host(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.requests.append(self.path)
            if host.status is not None:
                self.send_error(host.status)
                return
            self.send_response(302 if host.redirect else 200)
            if host.redirect:
                self.send_header("Location", host.redirect)
            if host.tells_length:
                self.send_header("Content-Length", str(len(host.content)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(host.content[: host.breaks_after])

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
