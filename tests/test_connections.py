"""How libcurl reaches S3: with whom botocore would trust, over the proxy that it would take, and with its errors."""

import http.client
import socket
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ConnectionClosedError, EndpointConnectionError, ReadTimeoutError

from store.s3 import S3Options
from store.s3.connections import Connections, Said
from store.s3.gets import Gets
from tests.servers import S3Server
from tests.servers.certificates import Certificate, for_this_machine
from tests.servers.moto_server import MotoServer, Wire
from tests.servers.quiet_http import QuietHTTPServer
from tests.servers.rclone_server import rclone_server


class Recorder(BaseHTTPRequestHandler):
    """Answers every GET; a proxy where it is asked for a whole URL. Each connection is noted, and each request."""

    protocol_version = "HTTP/1.1"
    server: "Recording"

    def setup(self) -> None:
        """Note the connection."""
        super().setup()
        self.server.opened += 1

    def do_GET(self) -> None:
        """Pass a request on as it came, or answer it."""
        self.server.asked.append(self.path)
        url = urlsplit(self.path)
        if url.netloc:
            onward = http.client.HTTPConnection(url.netloc)
            onward.request("GET", url.path, headers=dict(self.headers.items()))
            said = onward.getresponse()
            status, body, headers = said.status, said.read(), {"ETag": said.headers["ETag"]}
            onward.close()
        else:
            status, body, headers = 200, self.server.body, {"ETag": '"e"'}
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.closes

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Recording(QuietHTTPServer):
    """What came, and whether each connection ends after its answer, without a word of it."""

    closes = False
    body = b"body"

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), Recorder)
        self.opened = 0
        self.asked: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def http_server() -> Iterator[Recording]:
    """A server that keeps its connections open."""
    with Recording() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def connections_to(base: str) -> Connections:
    """What boto3's client would be followed by."""
    client: Any = S3Options(endpoint_url=base, region="us-east-1").client(attempts=1)
    return Connections(client._endpoint.http_session, base, "us-east-1", "tests/1")


def ask(of: Connections, url: str) -> Said | None:
    """Ask as somebody whom no server knows."""
    return of.get(url, [], ReadOnlyCredentials("nobody", "nothing", None))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of a server on this machine."""
    return for_this_machine(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def tls(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """An S3 server that speaks TLS, set as the one that boto3 finds, which knows nobody who signed its certificate."""
    with rclone_server(certificate) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        yield server


def test_tls(tls: S3Server, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whom AWS_CA_BUNDLE names is trusted by libcurl too, and nobody else: there boto3 is left to say why."""
    strangers = connections_to(tls.endpoint_url)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.certificate))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    plain = Config(request_checksum_calculation="when_required")  # rclone cannot read what boto3 else sends over TLS
    writing = tls.client(config=plain)
    writing.create_bucket(Bucket="photos")
    writing.put_object(Bucket="photos", Key="a", Body=b"body")
    gets = Gets(S3Options().client(attempts=1))
    bodies = [gets.get(Bucket="photos", Key="a")[1] for _ in range(3)]
    assert bodies == [b"body"] * 3
    assert gets._road is not None
    url = f"{tls.endpoint_url}/photos/a"
    assert ask(gets._road.connections, url) is not None  # refused, but answered
    assert ask(strangers, url) is None


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
@pytest.mark.parametrize("spared", [False, True])
def test_proxies(
    s3: MotoServer, bucket: str, http_server: Recording, monkeypatch: pytest.MonkeyPatch, *, spared: bool
) -> None:
    """Requests take the proxy that the environment names, and no proxy where it says so, as boto3's do."""
    s3.client().put_object(Bucket=bucket, Key="a", Body=b"body")
    monkeypatch.setenv("HTTP_PROXY", http_server.url)  # which libcurl itself would not read
    monkeypatch.setenv("NO_PROXY", "127.0.0.1" if spared else "")
    gets = Gets(S3Options().client(attempts=1))
    assert [gets.get(Bucket=bucket, Key="a")[1] for _ in range(3)] == [b"body"] * 3
    assert gets._road is not None
    assert http_server.asked == ([] if spared else [f"{s3.endpoint_url}/{bucket}/a"] * 3)


@pytest.mark.parametrize("closes", [False, True])
def test_connections_are_kept(http_server: Recording, *, closes: bool) -> None:
    """One connection serves many requests; one that the server has closed meanwhile is replaced unseen."""
    http_server.closes = closes
    kept = connections_to(http_server.url)
    answers = [ask(kept, f"{http_server.url}/{i}") for i in range(4)]
    assert [answer and (answer.status, answer.headers["etag"], answer.body) for answer in answers] == [
        (200, '"e"', b"body")
    ] * 4
    assert http_server.asked == [f"/{i}" for i in range(4)]
    assert http_server.opened == (4 if closes else 1)


def test_bodies_are_not_kept(http_server: Recording) -> None:
    """A connection that waits for its next request keeps nothing of the last answer."""
    http_server.body = bytes(8 << 20)
    kept = connections_to(http_server.url)
    ask(kept, http_server.url)
    tracemalloc.start()
    try:
        said = ask(kept, http_server.url)
        assert said is not None
        assert len(said.body) == 8 << 20
        del said
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()


def test_nobody_listens() -> None:
    """A port where nobody listens is what boto3 calls it."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(EndpointConnectionError):
            ask(connections_to(url), url)


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes a request and says nothing is not waited for without end."""
    monkeypatch.setattr("store.s3.client.READ_TIMEOUT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ReadTimeoutError):
            ask(connections_to(url), url)


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_a_connection_that_breaks(s3: MotoServer, bucket: str) -> None:
    """A connection that ends without an answer is what boto3 calls it."""
    s3.client().put_object(Bucket=bucket, Key="a", Body=b"body")
    gets = Gets(S3Options().client(attempts=1))
    gets.get(Bucket=bucket, Key="a")
    assert gets._road is not None
    s3.faults.append(lambda _method, _path: Wire.RESET)
    with pytest.raises(ConnectionClosedError):
        gets._road.ask({"Bucket": bucket, "Key": "a"})


def test_what_a_proxy_is_asked_for_stays_boto3s(tmp_path: Path) -> None:
    """Where a proxy has certificates of its own, libcurl is not asked."""
    client: Any = S3Options(endpoint_url="http://127.0.0.1:9", region="us-east-1").client(attempts=1)
    session = client._endpoint.http_session
    assert Connections(session, "http://127.0.0.1:9", "", "").is_like_botocores
    session._proxy_config.settings["proxy_ca_bundle"] = str(tmp_path)
    assert not Connections(session, "http://127.0.0.1:9", "", "").is_like_botocores
