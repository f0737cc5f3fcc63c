"""moto's S3 behind a check of signatures, with faults on request and a record of what was asked.

It runs in a thread of this process, because a fault is a Python function of the test. moto keeps its state per process:
two servers in one process share their buckets.
"""

import contextlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypeAlias
from urllib.parse import unquote
from xml.sax.saxutils import escape

from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from moto.backends import get_backend
from moto.core.request import Request
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug import Response
from werkzeug.serving import make_server

from tests.servers import S3Server
from tests.servers.signature import Refused, SignedRequest, verify

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Fault: TypeAlias = Callable[[str, str], tuple[int, str] | None]
"""From a method and a decoded path (`/bucket/key`) to the HTTP status and S3 error code of the answer, or None."""


class SeenRequest(NamedTuple):
    """One request that reached the server, refused or not. `path` is decoded (`/bucket/key`), `query` is as it came."""

    method: str
    path: str
    query: str


@dataclass(frozen=True)
class MotoServer(S3Server):
    """A running moto: put functions into `faults`, read `requests`; both are emptied after each test."""

    faults: list[Fault] = field(default_factory=list, compare=False)
    requests: list[SeenRequest] = field(default_factory=list, compare=False)

    def reset(self) -> None:
        """Forget faults and recorded requests."""
        self.faults.clear()
        self.requests.clear()


class _QuietHandler(MotoRequestHandler):
    """moto's own handler without a line per request; errors are still logged."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@dataclass(frozen=True)
class _Guard:
    """The WSGI application before moto: records, verifies, then fails on request, else passes on."""

    application: "WSGIApplication"
    server: MotoServer

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        arrived = Request(environ)
        body = arrived.get_data()
        environ["wsgi.input"] = io.BytesIO(body)  # for moto, which reads it again
        method, path, query = arrived.method, unquote(arrived.raw_path), environ["QUERY_STRING"]
        self.server.requests.append(SeenRequest(method, path, query))
        headers = HTTPHeaders.from_pairs(list(arrived.headers.items()))
        request = SignedRequest(method, arrived.raw_path, query, headers, body)
        try:
            verify(request, Credentials(self.server.access_key, self.server.secret_key), self.server.region)
            self._fail_on_request(method, path)
        except Refused as refusal:
            return _error_response(refusal, path)(environ, start_response)
        return self.application(environ, start_response)

    def _fail_on_request(self, method: str, path: str) -> None:
        for fault in tuple(self.server.faults):
            if answer := fault(method, path):
                raise Refused(*answer, message="This fault was asked for by the test.")


def _error_response(refusal: Refused, path: str) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(str(refusal))}</Message>"
        f"<Resource>{escape(path)}</Resource><RequestId>0</RequestId></Error>"
    )
    return Response(body, status=HTTPStatus(refusal.status), mimetype="application/xml")


def _moto_application() -> "WSGIApplication":
    application = create_backend_app("s3")
    for rule in list(application.url_map.iter_rules()):
        if '".+"' in rule.rule:  # a key may hold a newline, which moto's own rule does not match
            any_key = rule.rule.replace('".+"', '"(?s:.+)"')
            application.add_url_rule(any_key, endpoint=rule.endpoint, methods=rule.methods)
    return application


@contextlib.contextmanager
def moto_server(port: int = 0) -> Iterator[MotoServer]:
    """Serve S3 until the block ends; port 0 takes a free one."""
    application = _moto_application()
    http = make_server("127.0.0.1", port, application, threaded=True, request_handler=_QuietHandler)
    server = MotoServer(
        name="moto",
        endpoint_url=f"http://127.0.0.1:{http.server_port}",
        access_key="moto-access-key",
        secret_key="moto/secret+key=",
    )
    http.app = _Guard(application, server)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, name="moto-s3")
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        for account in get_backend("s3").values():
            account["aws"].reset()  # closes the temporary files of its objects
