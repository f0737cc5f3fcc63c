"""moto's S3 behind a check of signatures, with faults on request and a record of what was asked.

It runs in a thread of this process, because a fault is a Python function of the test. moto keeps its state per process:
two servers in one process share their buckets.
"""

import contextlib
import io
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
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
from tests.servers.actions import Permission, permissions, read_objects
from tests.servers.conditions import check_conditions, exists, is_tagged
from tests.servers.policy import Policy
from tests.servers.signature import Refused, SignedRequest, verify

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Wire(Enum):
    """A fault below HTTP, of a request that S3 would have answered."""

    RESET = "the connection is reset, without an answer"
    HALF = "the body ends in its middle, and the connection with it"


Answer: TypeAlias = tuple[int, str] | Wire | None
Fault: TypeAlias = Callable[[str, str], Answer]
"""From a method and a decoded path (`/bucket/key`) to HTTP status and S3 error code of the answer, a Wire, or None."""


class SeenRequest(NamedTuple):
    """One request that reached the server, refused or not. `path` is decoded (`/bucket/key`), `query` is as it came.

    The names of its headers are in lower case.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]


@dataclass(frozen=True)
class MotoServer(S3Server):
    """A running moto: put functions into the faults, read what was asked; all of it is emptied after each test.

    A request that meets one of `faults` is not carried out; one that meets one of `late_faults` is, and only its answer
    is lost. `needed` are the permissions that the requests would have needed on AWS; where there is a policy, it must
    allow them.
    """

    faults: list[Fault] = field(default_factory=list, compare=False)
    late_faults: list[Fault] = field(default_factory=list, compare=False)
    requests: list[SeenRequest] = field(default_factory=list, compare=False)
    needed: list[Permission] = field(default_factory=list, compare=False)
    policies: list[Policy] = field(default_factory=list, compare=False)

    def reset(self) -> None:
        """Forget faults and recorded requests."""
        for forgotten in (self.faults, self.late_faults, self.requests, self.needed, self.policies):
            forgotten.clear()


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
        seen = {name.lower(): value for name, value in arrived.headers.items()}
        self.server.requests.append(SeenRequest(method, path, query, seen))
        headers = HTTPHeaders.from_pairs(list(arrived.headers.items()))
        request = SignedRequest(method, arrived.raw_path, query, headers, body)
        needed = permissions(request, is_tagged)
        self.server.needed.extend(needed)
        try:
            verify(request, Credentials(self.server.access_key, self.server.secret_key), self.server.region)
            _fail_on_request(self.server.faults, method, path)
            self._deny(request, needed)
            check_conditions(request)
            if self.server.late_faults:
                answer = Response.from_app(self.application, environ)
                _fail_on_request(self.server.late_faults, method, path)
                return answer(environ, start_response)
        except Refused as refusal:
            return _error_response(refusal, path, self.server.region)(environ, start_response)
        except _Cut as cut:
            answer = Response.from_app(self.application, environ)
            return _cut(cut.wire, answer, environ, start_response)
        return self.application(environ, start_response)

    def _deny(self, request: SignedRequest, needed: list[Permission]) -> None:
        """Raise Refused where a policy is set that does not allow this.

        Who may not list a key is not told that it holds nothing: the prefix that counts there is the key itself.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
        """
        if not self.server.policies:
            return
        for path in read_objects(request):
            if not exists(path):
                bucket, _, key = path.partition("/")
                needed.append(Permission("s3:ListBucket", bucket, key))
                self.server.needed.append(needed[-1])
        if not all(policy.allows(one) for policy in self.server.policies for one in needed):
            raise Refused(403, "AccessDenied", "Access Denied")


def _fail_on_request(faults: Iterable[Fault], method: str, path: str) -> None:
    for fault in tuple(faults):
        answer = fault(method, path)
        if isinstance(answer, Wire):
            raise _Cut(answer)
        if answer:
            raise Refused(*answer, message="This fault was asked for by the test.")


class _Cut(Exception):
    def __init__(self, wire: Wire) -> None:
        super().__init__(wire.value)
        self.wire = wire


def _cut(wire: Wire, answer: Response, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
    """Send half of an answer that says it is whole, or nothing, and end the connection."""
    connection: socket.socket = environ["werkzeug.socket"]
    if wire is Wire.HALF:
        body = answer.get_data()
        start_response(answer.status, list(answer.headers.items()))
        yield body[: len(body) // 2]
    else:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError(wire.value)


def _error_response(refusal: Refused, path: str, region: str) -> Response:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(refusal.code)}</Code><Message>{escape(str(refusal))}</Message>"
        f"<Resource>{escape(path)}</Resource><RequestId>0</RequestId></Error>"
    )
    named = {"x-amz-bucket-region": region}  # as S3 does, also where it denies
    return Response(body, status=HTTPStatus(refusal.status), mimetype="application/xml", headers=named)


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
