"""A stand-in for the place where heads are published: it stands at the edge of the network and serves a few files."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.servers.quiet_http import QuietHTTPServer


@dataclass
class Home:
    """What the stand-in holds, how it behaves, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)  # by path
    redirect: str | None = None  # sends every request there
    silent: bool = False  # accepts connections and never answers
    asked: list[str] = field(default_factory=list)  # paths


class _Handler(BaseHTTPRequestHandler):
    home: Home
    closing: threading.Event

    def do_GET(self) -> None:
        self.home.asked.append(self.path)
        if self.home.silent:
            self.closing.wait()
            return
        content = self.home.files.get(self.path, b"")
        status = 302 if self.home.redirect else 200 if content else 404
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if self.home.redirect:
            self.send_header("Location", self.home.redirect)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def head_server() -> Iterator[Home]:
    """Serve on a free port of this machine."""
    closing = threading.Event()
    handler = type("Handler", (_Handler,), {"closing": closing})
    with QuietHTTPServer(("127.0.0.1", 0), handler) as server:
        home = handler.home = Home(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield home
        finally:
            closing.set()
            server.shutdown()
            thread.join()
