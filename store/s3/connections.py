"""GETs signed and carried by libcurl: no thread holds the interpreter's lock for it.

It needs the extra `[embed]`, as no other command reads so many objects.

https://curl.se/libcurl/c/libcurl-easy.html, https://curl.se/libcurl/c/CURLOPT_AWS_SIGV4.html
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pycurl
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.httpsession import get_cert_path

_BUFFER_BYTES = 1 << 17
"""An answer comes in pieces of so much at most; each takes the interpreter's lock for a moment."""

_NOT_REACHED = {pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT}
_BROKEN = {pycurl.E_SEND_ERROR, pycurl.E_RECV_ERROR, pycurl.E_GOT_NOTHING, pycurl.E_PARTIAL_FILE}


@dataclass(frozen=True)
class Said:
    """A server's whole answer. The names of the headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connections:
    """They stay open, one to each request in flight; for many threads at once."""

    def __init__(self, session: Any, base: str, region: str, agent: str) -> None:  # noqa: ANN401  # shows nothing
        """Verify, wait, and go through the proxy, as botocore's `session` does for URLs that begin with `base`."""
        proxies, timeout = session._proxy_config, session._timeout  # noqa: SLF001
        self._options: dict[int, Any] = {
            pycurl.AWS_SIGV4: f"aws:amz:{region}:s3",
            pycurl.BUFFERSIZE: _BUFFER_BYTES,
            pycurl.CONNECTTIMEOUT: math.ceil(timeout.connect_timeout),
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.LOW_SPEED_LIMIT: 1,  # bytes a second
            pycurl.LOW_SPEED_TIME: math.ceil(timeout.read_timeout),
            pycurl.NOSIGNAL: 1,  # threads
            pycurl.PROXY: proxies.proxy_url_for(base) or "",  # empty: none, whatever the environment says
            pycurl.USERAGENT: agent,
            **_trust(session),
        }
        self.is_like_botocores = not proxies.settings  # certificates for a proxy, and what else is rare
        self._idle: deque[pycurl.Curl] = deque()

    def get(self, url: str, headers: Sequence[str], credentials: ReadOnlyCredentials) -> Said | None:
        """Return what the server answers, whatever it is; raise what boto3 raises where it does not.

        None where boto3 has words for what went wrong, and libcurl has not: certificates, proxies. In the path of `url`
        no segment is `.` or `..`, which libcurl would resolve.
        """
        handle = self._handle()
        lines: list[bytes] = []
        pieces: list[bytes] = []
        token = [f"x-amz-security-token: {credentials.token}"] if credentials.token else []
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.USERNAME, credentials.access_key)
        handle.setopt(pycurl.PASSWORD, credentials.secret_key)
        handle.setopt(pycurl.HTTPHEADER, ["Accept:", *headers, *token])
        handle.setopt(pycurl.HEADERFUNCTION, lines.append)
        handle.setopt(pycurl.WRITEFUNCTION, pieces.append)
        try:
            handle.perform()
        except pycurl.error as error:
            if (failure := _failure(error, handle, url, answered=bool(lines))) is None:
                return None
            raise failure from error
        said = Said(handle.getinfo(pycurl.RESPONSE_CODE), _headers(lines), b"".join(pieces))
        pieces.clear()  # the handle keeps the list
        self._idle.append(handle)  # and with it the connection; after a failure both are new
        return said

    def _handle(self) -> pycurl.Curl:
        try:
            return self._idle.pop()
        except IndexError:
            handle = pycurl.Curl()
            for option, value in self._options.items():
                handle.setopt(option, value)
            return handle


def _trust(session: Any) -> dict[int, Any]:  # noqa: ANN401  # as above
    """Return whom to trust, and who we say we are: AWS_CA_BUNDLE and what else botocore found."""
    trusted, own, key = session._verify, session._cert_file, session._key_file  # noqa: SLF001
    if not trusted:
        return {pycurl.SSL_VERIFYPEER: 0, pycurl.SSL_VERIFYHOST: 0}
    said = {pycurl.CAINFO: get_cert_path(trusted), pycurl.SSLCERT: own, pycurl.SSLKEY: key}
    return {option: path for option, path in said.items() if path is not None}


def _headers(lines: list[bytes]) -> dict[str, str]:
    """Return the headers of the answer, before which a proxy's own may stand."""
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if colon:
            found[name.strip().lower()] = value.strip()
        elif name.startswith("HTTP/"):
            found.clear()
    return found


def _failure(error: pycurl.error, handle: pycurl.Curl, url: str, *, answered: bool) -> Exception | None:
    """Return what boto3 would have raised.

    https://curl.se/libcurl/c/libcurl-errors.html
    """
    code, message = error.args
    if code in _NOT_REACHED:
        return EndpointConnectionError(endpoint_url=url, error=message)
    if code == pycurl.E_OPERATION_TIMEDOUT:
        late = ReadTimeoutError if handle.getinfo(pycurl.CONNECT_TIME) else ConnectTimeoutError
        return late(endpoint_url=url, error=message)
    if code in _BROKEN:
        return ResponseStreamingError(error=message) if answered else ConnectionClosedError(endpoint_url=url)
    return None
