"""A file server on this machine that can be made to fail in the ways that servers do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Served:
    """What is served under a path, and how.

    `cuts` are numbers of body bytes after which the next answers break off, one an answer; `fails`
    are status codes that the next answers have instead. `delay_s` is waited before an answer,
    `pause_s` every 64 KiB of it.
    """

    body: bytes
    tag: str | None = '"1"'
    modified: str | None = None
    ranges: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    fails: list[int] = field(default_factory=list)
    redirect: str | None = None
    delay_s: float = 0.0
    pause_s: float = 0.0


class Loopback:
    """The server. `files` are what it has, by path; `requests` the path and Range of each GET."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[tuple[str, str | None]] = []
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                loopback.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"

    def add(self, path: str, body: bytes, **how: Any) -> str:
        """Serves `body` under `path`; returns its URL."""
        self.files[path] = Served(body, **how)
        return self.base + path

    def gets(self, path: str) -> list[str | None]:
        """The Range of every request for `path`, in order."""
        return [wanted for asked, wanted in self.requests if asked == path]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append((handler.path, wanted))
        handler.close_connection = True
        served = self.files.get(handler.path)
        code = 404 if served is None else served.fails.pop(0) if served.fails else 200
        if served is None or code != 200:
            handler.send_error(code)
            return
        time.sleep(served.delay_s)
        if served.redirect:
            handler.send_response(302)
            handler.send_header("Location", served.redirect)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = 0
        version = handler.headers.get("If-Range")
        if wanted and served.ranges and version in (None, served.tag, served.modified):
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(served.body):
                handler.send_response(416)
                handler.send_header("Content-Range", f"bytes */{len(served.body)}")
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
        handler.send_response(206 if start else 200)
        if start:
            last = len(served.body) - 1
            handler.send_header("Content-Range", f"bytes {start}-{last}/{len(served.body)}")
        if served.length:
            handler.send_header("Content-Length", str(len(served.body) - start))
        for name, value in (("ETag", served.tag), ("Last-Modified", served.modified)):
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        body = served.body[start:]
        if served.cuts:
            body = body[: served.cuts.pop(0)]
        try:
            for first in range(0, len(body), 1 << 16):
                handler.wfile.write(body[first : first + (1 << 16)])
                handler.wfile.flush()
                time.sleep(served.pause_s)
        except OSError:
            pass  # who asked has gone


@contextmanager
def serving() -> Iterator[Loopback]:
    """A server that runs for the length of a block."""
    loopback = Loopback()
    thread = threading.Thread(target=loopback.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        loopback.server.shutdown()
        loopback.server.server_close()


def wait_for(what: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns once `what()` holds; fails where it does not come to."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
