"""A stand-in for the Hugging Face hub: it stands at the edge of the network and serves files, or refuses."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.servers.quiet_http import QuietHTTPServer

COMMIT = "c0ffee" * 6 + "c0de"


@dataclass
class Hub:
    """What the stand-in holds, how it behaves, and what it was asked."""

    url: str
    files: dict[str, Path] = field(default_factory=dict)  # "org/name/file" -> its bytes
    refusal: tuple[int, dict[str, str]] | None = None  # status and headers for every request
    silent: bool = False  # accepts connections and never answers
    requests: list[str] = field(default_factory=list)  # "METHOD path"


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    closing: threading.Event

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content = self._answer()
        if content is not None:
            self.wfile.write(content)

    def _answer(self) -> bytes | None:
        if "/resolve/" not in self.path:  # huggingface_hub's own business, such as /api/agent-harnesses
            return self._send(404, {}, b"")
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.silent:
            self.closing.wait()
            return None
        organisation, name, _, _, file = self.path.strip("/").split("/", 4)
        path = self.hub.files.get(f"{organisation}/{name}/{file}")
        if self.hub.refusal or path is None:
            status, headers = self.hub.refusal or (404, {"X-Error-Code": "EntryNotFound"})
            return self._send(status, headers, b"")
        etag = f"{path.stat().st_size:040x}"
        return self._send(200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, path.read_bytes())

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> bytes | None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        return content or None

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Run an empty hub on a free port of this machine."""
    closing = threading.Event()
    handler = type("Handler", (_Handler,), {"closing": closing})
    server = QuietHTTPServer(("127.0.0.1", 0), handler)
    hub = handler.hub = Hub(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
